r"""Frames of isolated atoms, and the energies of the elements that they, or a
setting, give.
"""

import re
import warnings

import torch
from torch import Tensor

from torch_sake.datasets.frames.charges import charge_of
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.models.readout import NUM_ELEMENTS
from torch_sake.training.config import TrainConfig
from torch_sake.utils.elements import number_of, symbol_of
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import check_units

# What 'config_type' says of them, but for case and what stands between words:
MARK = 'isolatedatom'
# Energies of one atom are the same up to these parts of them, and of a unit:
SAME = 1e-9, 1e-5


def find_isolated(frames: AnyFrames) -> Tensor:
    r"""Returns which frames are isolated atoms: those of one neutral atom that
    is not periodic, or whose :obj:`config_type` says so.

    Shapes:
        - **output:** :math:`(M)`

    Raises:
        ValueError: If one that is said to be an isolated atom has several, or
            a charge.
    """
    isolated = torch.zeros(len(frames), dtype=torch.bool)
    is_single = frames.num_atoms == 1
    for index in is_single.nonzero().flatten().tolist():
        pbc = frames[index].get('pbc')
        isolated[index] = (pbc is None or not bool(pbc.any())) and (
            charge_of(frames, index) == 0)
    for index in range(len(frames)) if frames.mentions('config_type') else ():
        if is_mark(frames.info(index).get('config_type')):
            require(is_single[index],
                    f"{frames.where(index)}: An isolated atom, as "
                    f"'config_type' calls it, must be one atom "
                    f"(got {int(frames.num_atoms[index])})")
            charge = charge_of(frames, index)
            require(charge == 0,
                    f"{frames.where(index)}: An isolated atom, as "
                    f"'config_type' calls it, must be neutral (got a charge "
                    f"of {charge})")
            isolated[index] = True
    return isolated


def marked_isolated(frames: AnyFrames) -> list[int]:
    r"""Returns the frames of one atom that are said to be isolated atoms."""
    if frames.label != 'energy' or not frames.has_infos:
        return []
    return [index for index in (frames.num_atoms == 1).nonzero().flatten()
            .tolist() if is_mark(frames.info(index).get('config_type'))]


def references_in(frames: AnyFrames, config: TrainConfig) -> Tensor | None:
    r"""Returns which frames are isolated atoms, where a run does not train on
    them, or :obj:`None`.
    """
    if config.atomic_energies == 'fit':
        require(int(frames.num_atoms.max()) > 1
                or len(marked_isolated(frames)) < len(frames),
                f"There must be frames of several atoms to train on: all "
                f"{len(frames)} frames of {frames.source} are isolated atoms")
        return None
    require(frames.label == 'energy',
            f"'atomic_energies' must be 'fit' for data of '{frames.label}', "
            f"which is no energy (got {config.atomic_energies!r})")
    check_units(frames.units)
    return find_isolated(frames)


def is_mark(config_type: object) -> bool:
    r"""Whether a :obj:`config_type` is that of isolated atoms."""
    return re.sub('[-_ ]', '', str(config_type)).lower() == MARK


def isolated_energies(frames: AnyFrames,
                      isolated: Tensor) -> dict[int, tuple[float, int]]:
    r"""Returns the energies of isolated atoms, by atomic number, and the
    frames that have them.

    Args:
        frames (Frames or FramesOnDisk): All frames.
        isolated (torch.Tensor): Which of them are isolated atoms,
            :obj:`[M]`.

    Raises:
        ValueError: If the energies of two atoms of an element differ.
    """
    energies: dict[int, tuple[float, int]] = {}
    known = frames.known(frames.label)
    for index in (isolated & known).nonzero().flatten().tolist():
        frame = frames[index]
        number, energy = int(frame.z), float(frame[frames.label])
        other, first = energies.setdefault(number, (energy, index))
        require(is_same(energy, other),
                f"{frames.source}: The isolated atoms of "
                f"{symbol_of(number)} must have one energy (got {other} in "
                f"{frames.where(first)} and {energy} in "
                f"{frames.where(index)})")
    return energies


def is_same(energy: float, other: float) -> bool:
    relative, absolute = SAME
    return abs(energy - other) <= absolute + relative * abs(other)


def find_references(frames: AnyFrames, config: TrainConfig,
                    isolated: Tensor, elements: list[int]) -> Tensor:
    r"""Returns the energies of the elements of the training frames that a run
    is given, by atomic number, :obj:`[100]`.

    Args:
        frames (Frames or FramesOnDisk): All frames.
        config (TrainConfig): The run.
        isolated (torch.Tensor): Which of them are isolated atoms,
            :obj:`[M]`.
        elements (list of int): The atomic numbers.

    Raises:
        ValueError: If the energy of an element is missing, or isolated atoms
            contradict each other.
    """
    given, name = config.atomic_energies, 'atomic_energies'
    if isinstance(given, str):
        found = isolated_energies(frames, isolated)
        energies = {number: energy for number, (energy, _) in found.items()}
        hint = (f"'{name}: isolated' needs an isolated atom of each element, "
                f"a frame of one atom that is not periodic, or with "
                f"config_type=IsolatedAtom, and its energy (got none of "
                f"{{}} in {frames.source})")
    else:
        energies = {number_of(name, symbol): energy
                    for symbol, energy in given.items()}
        hint = (f"'{name}' must have all elements of the training frames "
                f"(got none of {{}})")
        warn_of_others(frames, isolated, energies)
    missing = [symbol_of(number) for number in elements
               if number not in energies]
    require(not missing, hint.format(', '.join(missing)))
    out = torch.zeros(NUM_ELEMENTS, dtype=torch.double)
    for number in elements:
        out[number] = energies[number]
    return out


def warn_of_others(frames: AnyFrames, isolated: Tensor,
                   energies: dict[int, float]) -> None:
    r"""Warns where isolated atoms have other energies than are given."""
    known = frames.known(frames.label)
    others = []
    for index in (isolated & known).nonzero().flatten().tolist():
        frame = frames[index]
        number, energy = int(frame.z), float(frame[frames.label])
        if number in energies and not is_same(energy, energies[number]):
            others.append(f'{energy} of {symbol_of(number)} in '
                          f'{frames.where(index)}')
    if others:
        warnings.warn(f"{frames.source}: Isolated atoms have other energies "
                      f"than 'atomic_energies' gives: {', '.join(others)}")
