r"""The labels of a round: computed, or read from a file that the user wrote.
"""

from collections.abc import Sequence
from typing import Any

import torch
from ase.calculators.singlepoint import SinglePointCalculator

from torch_sake.datasets.frames.charges import State, frame_states, state_of
from torch_sake.datasets.frames.config import label_options
from torch_sake.datasets.frames.load import (
    AnyFrames,
    load_frames,
    options_of,
)
from torch_sake.datasets.frames.to_ase import to_atoms
from torch_sake.learning.config import LearnConfig
from torch_sake.learning.distances import closest, largest_difference, shape_of
from torch_sake.learning.files import TO_LABEL, find_labeled
from torch_sake.sampling import Structure, label
from torch_sake.utils.plain_checks import require, to_list
from torch_sake.utils.units import ASE_UNITS

# By which a length of a structure may differ in a file, in Angstrom:
TOLERANCE = 0.01
NUM_NAMED = 5  # structures in a message


def compute_labels(config: LearnConfig, folder: str,
                   asked: Sequence[Any]) -> list[Any]:
    r"""Returns the structures that a calculator could label, in the order in
    which they are asked for.

    Args:
        config (LearnConfig): The loop.
        folder (str): The folder of what is computed.
        asked ([ase.Atoms]): The structures.

    Raises:
        ValueError: If there is none.
    """
    try:
        frames = label([structure_of(atoms, atoms.info['config_type'])
                        for atoms in asked], config.label, folder=folder,
                       num_processes=config.num_processes)
    except RuntimeError as error:
        raise ValueError(f"'label' must label structures ({error})") from error
    places = match(config.label, frames, asked)
    return [labeled(frames, places.index(number), atoms)
            for number, atoms in enumerate(asked) if number in places]


def structure_of(atoms: Any, config_type: str) -> Structure:
    r"""Returns a structure that is to be labeled."""
    charge, spin = state_of(atoms.info, 'A structure')
    periodic = {'cell': atoms.cell.array, 'pbc': atoms.pbc} if (
        atoms.pbc.any()) else {}
    return Structure(atoms.numbers, atoms.positions, charge=charge or 0,
                     spin=spin, config_type=config_type, **periodic)


def read_labels(config: LearnConfig, folder: str,
                asked: Sequence[Any]) -> list[Any] | None:
    r"""Returns the structures that the user has labeled, in the order in which
    they are asked for, or :obj:`None` if there is no file yet. Those without
    labels are left out, with a line that counts them.

    Args:
        config (LearnConfig): The loop.
        folder (str): The folder of the round.
        asked ([ase.Atoms]): The structures.

    Raises:
        ValueError: If the file cannot be read, or its structures are not those
            that are asked for, each of them once.
    """
    path = find_labeled(folder)
    if path is None:
        return None
    every = [path, *([] if config.data is None else
                     to_list('data', config.data))]
    frames = load_frames(path, **options_of(path, every,
                                            label_options(vars(config))))
    require(frames.label == 'energy',
            f"'{path}' must have energies (got '{frames.label}')")
    frames = frames.in_units(ASE_UNITS)
    places = match(path, frames, asked)
    missing = [number for number in range(len(asked))
               if number not in places]
    require(not missing, f"'{path}' must have all {len(asked)} structures of "
                         f"'{TO_LABEL}', without labels where there are none "
                         f"(there is no number {_named(missing)})")
    check_states(frames, places, asked)
    known = frames.known('energy') & frames.known('force')
    found = [labeled(frames, places.index(number), atoms)
             for number, atoms in enumerate(asked)
             if known[places.index(number)]]
    require(found, f"'{path}' must have structures with energies and forces "
                   f"(got {len(asked)} without)")
    if len(found) < len(asked):
        print(f"'{path}': {len(asked) - len(found)} of {len(asked)} "
              f"structures lack energy or forces and are left out")
    return found


def match(source: str, frames: AnyFrames, asked: Sequence[Any]) -> list[int]:
    r"""Returns the number of the structure that each frame is. Frames may be
    in another order, have moved and turned as a whole, and have equal atoms in
    another order.

    Args:
        source (str): What messages call the frames.
        frames (Frames): The frames, in Angstrom.
        asked ([ase.Atoms]): The structures.

    Raises:
        ValueError: If one is none of the structures, or two are the same one.
    """
    shapes = [shape_of(atoms) for atoms in asked]
    places: list[int] = []
    for index in range(len(frames)):
        shape = shape_of(to_atoms(frames[index]))
        nearest, number = closest(shape, shapes, largest_difference)
        why = 'there is none with its atoms' if number < 0 else (
            f"its interatomic distances differ by up to {nearest:.3g} "
            f"Angstrom from those of number {number}, the closest one")
        require(nearest <= TOLERANCE,
                f"'{source}', frame {index}: The structure must be one of "
                f"'{TO_LABEL}' ({why})")
        require(number not in places,
                f"'{source}', frame {index}: The structure must be there once "
                f"(it is number {number} of '{TO_LABEL}', as is frame "
                f"{places.index(number) if number in places else None})")
        places.append(number)
    return places


def check_states(frames: AnyFrames, places: Sequence[int],
                 asked: Sequence[Any]) -> None:
    r"""Raises an error if a frame says another charge or multiplicity than its
    structure has.
    """
    for index, (state, number) in enumerate(zip(
            frame_states(frames, False), places)):
        atoms = asked[number]
        charge, spin = state_of(atoms.info, 'A structure')
        electrons = int(atoms.numbers.sum()) - (charge or 0)
        # What is not given is neutral, and has the lowest multiplicity:
        wanted = State(charge or 0, spin or 1 + electrons % 2)
        for name, said, value in zip(State._fields, state, wanted):
            require(said in (None, value),
                    f"{frames.where(index)}: '{name}' must be that of the "
                    f"structure in '{TO_LABEL}', {value} (got {said})")


def check_exchanged(source: str, found: Sequence[Any],
                    forces: Sequence[torch.Tensor]) -> None:
    r"""Raises an error if the forces of two frames look as if each had those
    of the other: both are at less than half the distance from what the
    potential says of the other one. Lengths are compared, as structures may
    have turned.

    Args:
        source (str): What messages call the frames.
        found ([ase.Atoms]): The labeled structures.
        forces ([torch.Tensor]): What the potential says of them.
    """
    lengths = [torch.from_numpy(atoms.get_forces()).norm(dim=1)
               for atoms in found]
    guesses = [force.norm(dim=1) for force in forces]
    for one in range(len(found)):
        for two in range(one + 1, len(found)):
            if found[one].numbers.tolist() != found[two].numbers.tolist():
                continue
            kept, exchanged = (
                (lengths[one] - guesses[first]).norm() +
                (lengths[two] - guesses[second]).norm()
                for first, second in ((one, two), (two, one)))
            require(kept <= 2 * exchanged,
                    f"'{source}': The forces of structures {one} and {two} "
                    f"(of those with labels) seem to be exchanged: each is "
                    f"far closer to what the potential says of the other one. "
                    f"If they are right, give both without labels")


def labeled(frames: AnyFrames, index: int, asked: Any) -> Any:
    r"""Returns a frame with its labels and all that is known of its structure,
    as :class:`ase.Atoms`.
    """
    data = frames[index]
    atoms = to_atoms(data)
    atoms.info = dict(asked.info)
    results = {'energy': float(data.energy), 'forces': data.force.numpy()}
    if 'stress' in data and not bool(data.stress.isnan().any()):
        results['stress'] = data.stress[0].numpy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _named(numbers: Sequence[int]) -> str:
    more = f' and {len(numbers) - NUM_NAMED} more' if (
        len(numbers) > NUM_NAMED) else ''
    return ', '.join(map(str, numbers[:NUM_NAMED])) + more
