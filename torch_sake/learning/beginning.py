r"""What a loop begins with, and what is refused before anything runs."""

import os.path as osp
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets.frames.ase_structures import ase_structures
from torch_sake.datasets.frames.charges import (
    frame_states,
    names_of,
    state_of,
)
from torch_sake.datasets.frames.fingerprint import frames_fingerprint
from torch_sake.datasets.frames.load import AnyFrames, load_config_frames
from torch_sake.datasets.frames.split import Split
from torch_sake.learning.config import FILES, LearnConfig
from torch_sake.potentials.electrons import any_embeds_charge
from torch_sake.potentials.load import load_predictor
from torch_sake.sampling import check_calculator
from torch_sake.simulation.soundness import Soundness
from torch_sake.simulation.structures import read_structure
from torch_sake.utils.elements import symbols_of
from torch_sake.utils.fingerprint import digest, fingerprint
from torch_sake.utils.inputs import find_structure
from torch_sake.utils.messages import errors_name
from torch_sake.utils.plain_checks import require
from torch_sake.utils.released import is_released
from torch_sake.utils.units import ASE_UNITS, check_units

USUAL_VAL = 50


@dataclass
class Beginning:
    r"""What a loop begins with: the structures, :class:`ase.Atoms`, the frames
    and their split, if there are some, the units that it learns in, whether
    the first potential is yet to learn the frames, and what tells all of this
    from others.
    """
    starts: list[Any]
    frames: AnyFrames | None
    split: Split | None
    units: dict[str, str]
    learns: bool
    marks: dict[str, Any]


def begin(config: LearnConfig) -> Beginning:
    r"""Returns what a loop begins with.

    Raises:
        ValueError: If a file cannot be read, a structure has an element that
            nothing teaches or that cannot be labeled, or a charge or a
            multiplicity that is none of the data.
    """
    starts, where = read_starts(config)
    found = [load_predictor(path, 'potential') for path in config.init or ()]
    descriptions = [description for _, _, description in found]
    units = descriptions[0]['units'] if found else ASE_UNITS
    for path, description in zip(config.init or (), descriptions):
        require(description['units'] == units,
                f"'{path}' must have the units of the first potential of "
                f"'init', {units} (got {description['units']})")
    check_units(units)
    elements: set[int] = set.intersection(*(
        {*description['elements']} for description in descriptions)) if (
            found) else set()
    frames = split = None
    mark, learns = None, not found
    if config.data is not None:
        frames = load_config_frames(vars(config), units)
        require(frames.label == 'energy', f"'data' must have energies "
                                          f"(got '{frames.label}')")
        mark = frames_fingerprint(frames)
        splits = [split_of_run(one, mark) for one in found]
        say_unknown(config, splits)
        split = common_split([one for one in splits if one is not None])
        learns = split is None or any(one is None for one in splits)
        split = split or draw_split(config, frames, splits)
        elements |= {*frames.elements}
    check_uncertainty(config, [potential for potential, _, _ in found],
                      frames if learns else None)
    check_elements(starts, where, elements, config)
    states = {state_of(atoms.info, name)
              for atoms, name in zip(starts, where)}
    if config.label != FILES:
        check_calculator(config.label, sorted(
            {int(z) for atoms in starts for z in atoms.numbers}),
            {(charge or 0, spin) for charge, spin in states}, 'label')
    embeds = config.embed_charge or any(
        any_embeds_charge(potential) for potential, _, _ in found)
    if frames is not None and not embeds:
        check_states(starts, where, frames)
    return Beginning(starts, frames, split, units, learns, {
        'data': mark, 'structures': digest_of(starts),
        'init': [fingerprint([load_checkpoint(path)[0]])
                 for path in config.init or ()]})


def read_starts(config: LearnConfig) -> tuple[list[Any], list[str]]:
    r"""Returns the structures that simulations start from, at rest, and what
    messages call them.
    """
    starts, where = [], []
    for path in config.structures:
        name, index = find_structure(path, 'structures')
        numbers: Iterable[int] = [index]
        if osp.exists(path):  # all that the file has
            numbers = range(sum(1 for _ in ase_structures(name)))
        for number in numbers:
            atoms = read_structure(f'{name}@{number}', '')
            atoms.arrays.pop('momenta', None)
            starts.append(atoms)
            where.append(f"'{name}', structure {number}")
            with errors_name(where[-1]):
                Soundness(atoms, None)
    return starts, where


def split_of_run(found: tuple[Any, Any, Any], mark: str) -> Split | None:
    r"""Returns the split of the frames that a potential was trained with, if
    it was trained on these frames.
    """
    _, tensors, description = found
    names = [f'split.{part}' for part in ('train', 'val', 'test')]
    if description.get('fingerprint') != mark or not (
            {*names} <= tensors.keys()):
        return None
    return Split(*(tensors[name] for name in names))


def say_unknown(config: LearnConfig, splits: Sequence[Split | None]) -> None:
    r"""Prints a line if the user's potentials may know validation frames."""
    others = [path for path, split in zip(config.init or (), splits)
              if split is None and not is_released(path)]
    if others:
        print(f"'data' has not the frames of the run of {others}, or the run "
              f"kept no split: if it has learned some of them, errors on "
              f"validation frames, and the uncertainty at which simulations "
              f"stop, are too small")


def common_split(splits: Sequence[Split]) -> Split | None:
    r"""Returns the split of the frames that is right for all potentials that
    were trained on them: validation frames are those of all, and test frames
    are those of any. It is :obj:`None` if there are no potentials, or no
    validation frames, which a line says.
    """
    if not splits:
        return None
    if all(torch.equal(one, other) for split in splits[1:] for one, other in
           zip(vars(splits[0]).values(), vars(split).values())):
        return splits[0]
    test = torch.cat([split.test for split in splits]).unique()
    val = splits[0].val
    for split in splits[1:]:
        val = val[torch.isin(val, split.val)]
    val = val[~torch.isin(val, test)]
    if len(val) == 0:
        warnings.warn("The potentials of 'init' have no validation frames in "
                      "common, and some are drawn that they have learned: "
                      "errors on them, and the uncertainty at which "
                      "simulations stop, are too small")
        return None
    rest = torch.cat([part for split in splits
                      for part in (split.train, split.val)]).unique()
    return Split(rest[~torch.isin(rest, torch.cat([val, test]))], val, test)


def draw_split(config: LearnConfig, frames: AnyFrames,
               splits: Sequence[Split | None] = ()) -> Split:
    r"""Returns a random split of all frames into those for training and for
    validation. Test frames of other splits, and those that are published as
    such, stay out of it, and atoms on their own are for training.
    """
    indices = numpy.arange(len(frames))
    if frames.test_start is not None:
        indices = indices[:frames.test_start]
    for split in splits:
        if split is not None:
            indices = numpy.setdiff1d(indices, split.test.numpy())
    rng = numpy.random.default_rng(config.seed)
    drawn = rng.permutation(indices[frames.num_atoms.numpy()[indices] > 1])
    num_val = config.num_val
    if num_val is None:
        num_val = min(USUAL_VAL, len(indices) // 10) or 1
    require(num_val < len(drawn),
            f"'num_val' must leave frames of 'data' for training (got "
            f"{num_val} of {len(drawn)} with more than one atom)")
    val = torch.from_numpy(drawn[:num_val])
    rest = torch.from_numpy(rng.permutation(indices))
    return Split(train=rest[~torch.isin(rest, val)], val=val, test=rest[:0])


def check_uncertainty(config: LearnConfig, potentials: Sequence[Any],
                      frames: AnyFrames | None) -> None:
    r"""Raises an error if nothing will say how unsure a potential is.

    Args:
        config (LearnConfig): The loop.
        potentials ([Potential]): Those that there are.
        frames (Frames, optional): Those that are learned first, if so.
    """
    if config.size > 1:
        return
    if frames is not None:
        require(bool(frames.known('force').any()),
                f"'data' must have forces, which the uncertainties of one "
                f"potential follow from: 'num_members' makes several (got "
                f"{frames.source} without)")
    else:
        require(potentials[0].has_force_uncertainty,
                f"'init' must have uncertainties of forces, or be several "
                f"(got {config.init}: 'torch_sake.fit_uncertainty' finds "
                f"them)")


def check_elements(starts: Sequence[Any], where: Sequence[str],
                   elements: set[int], config: LearnConfig) -> None:
    r"""Raises an error if a structure has an element that nothing teaches."""
    source = ' and '.join(f"'{name}'" for name in ('data', 'init')
                          if getattr(config, name) is not None)
    for atoms, name in zip(starts, where):
        unknown = sorted({*atoms.numbers.tolist()} - elements)
        require(not unknown,
                f"{name} has {symbols_of(unknown)}, atomic numbers {unknown}, "
                f"which {source} do not have (only "
                f"{symbols_of(sorted(elements))})")


def check_states(starts: Sequence[Any], where: Sequence[str],
                 frames: AnyFrames) -> None:
    r"""Raises an error if a structure has another charge or multiplicity than
    the frames, for a potential that knows of none.
    """
    known = {state.full for state in frame_states(frames, False)}
    for atoms, name in zip(starts, where):
        state = state_of(atoms.info, name).full
        require(state in known or len(atoms) == 1,
                f"{name} must have a charge and a spin of 'data', "
                f"{names_of(known)}, unless 'embed_charge' is set "
                f"(got {names_of({state})})")


def digest_of(starts: Sequence[Any]) -> str:
    r"""Returns what tells structures from others."""
    return digest({f'{index}.{key}': value for index, atoms in
                   enumerate(starts) for key, value in (
                       ('z', atoms.numbers), ('pos', atoms.positions),
                       ('cell', atoms.cell.array), ('pbc', atoms.pbc))})
