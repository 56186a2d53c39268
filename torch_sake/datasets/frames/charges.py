r"""What files say of total charges and spins."""

import warnings
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.loader import DataLoader

from torch_sake.datasets.frames.initial_charges import CHARGES
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.utils.messages import in_words

# What files call the multiplicity 2S + 1:
SPINS = ('spin', 'multiplicity', 'spin_multiplicity', 'total_spin')
NEUTRAL = (0, 1)  # what is not said
BATCH_SIZE = 64

Pairs = list[list[int]]


class NoMultiplicity(ValueError):
    r"""What is called a spin is something else."""


class State(NamedTuple):
    r"""Total charge and multiplicity, as far as they are said."""
    charge: int | None = None
    spin: int | None = None

    @property
    def full(self) -> tuple[int, int]:
        r"""Both, those of a neutral singlet where they are not said."""
        return (NEUTRAL[0] if self.charge is None else self.charge,
                NEUTRAL[1] if self.spin is None else self.spin)


def state_of(info: Mapping[str, Any], where: str) -> State:
    r"""Returns what is said of a structure.

    Args:
        info (dict): All that is said, by name.
        where (str): What messages call the structure.

    Raises:
        ValueError: If a charge is no integer, a multiplicity no positive
            integer, or two names of one of them contradict each other.
    """
    charge = _find(info, CHARGES, where)
    try:
        spin = _find(info, SPINS, where)
    except _NoInteger as error:
        raise NoMultiplicity(str(error)) from None
    if spin is not None and spin[1] < 1:
        raise NoMultiplicity(f"{where}: '{spin[0]}' must be a multiplicity "
                             f"2S + 1, from 1 on, 1 for a singlet "
                             f"(got {spin[1]})")
    return State(*(None if found is None else found[1]
                   for found in (charge, spin)))


class _NoInteger(ValueError):
    pass


def _find(info: Mapping[str, Any], names: tuple[str, ...],
          where: str) -> tuple[str, int] | None:
    found = {name: _integer(name, info[name], where) for name in names
             if name in info}
    first = next(iter(found), '')
    for name, value in found.items():
        if value != found[first]:
            raise ValueError(f"{where}: '{first}' and '{name}' must be the "
                             f"same (got {found[first]} and {value})")
    return next(iter(found.items()), None)


def _integer(name: str, value: Any, where: str) -> int:
    is_one = isinstance(value, Tensor) and value.numel() == 1 or (
        getattr(value, 'size', 0) == 1)
    number = value.item() if is_one else value
    try:
        number = float(number) if isinstance(number, str) else number
    except ValueError:
        pass
    if isinstance(number, bool) or not isinstance(number, Real) or not (
            abs(number) < 1e6 and float(number).is_integer()):
        raise _NoInteger(f"{where}: '{name}' must be an integer "
                         f"(got {in_words(value)})")
    return int(number)


def frame_states(frames: AnyFrames, embed_charge: bool) -> list[State]:
    r"""Returns what is said of each frame. Entries of the frames called
    :obj:`charge` and :obj:`spin` come first, then what their files say. What
    is no multiplicity is left out with a warning if it is not embedded.

    Raises:
        ValueError: As :func:`state_of`. The error names the frame.
    """
    given = {name: frames.entries[name][torch.as_tensor(frames.indices())]
             for name in State._fields if name in frames.entries}
    names = {*(() if 'charge' in given else CHARGES),
             *(() if 'spin' in given else SPINS)}
    names = {name for name in names if frames.mentions(name)}
    if not (names or given):  # without a look at each frame
        return [State()] * len(frames)
    states, warned = [], False
    for index in range(len(frames)):
        info = frames.info(index) if names else {}
        info = {key: info[key] for key in info.keys() & names}
        info.update((key, value[index].item())
                    for key, value in given.items())
        try:
            states.append(state_of(info, frames.where(index)) if info else
                          State())
        except NoMultiplicity as error:
            if embed_charge:
                raise
            if not warned:
                warnings.warn(f"{error}: It is left out, as it is not "
                              f"embedded. This warning is for the first such "
                              f"frame")
            warned = True
            states.append(state_of({key: info[key] for key in
                                    info.keys() - {*SPINS}},
                                   frames.where(index)))
    return states


def charge_of(frames: AnyFrames, index: int) -> int:
    r"""Returns the total charge of a frame, zero if it does not say it."""
    if 'charge' in frames.entries:
        return int(frames.entries['charge'][int(frames.indices()[index])])
    info = frames.info(index) if frames.has_infos else {}
    said = {name: info[name] for name in CHARGES if name in info}
    return state_of(said, frames.where(index)).full[0]


def with_states(frames: AnyFrames,
                embed_charge: bool) -> tuple[AnyFrames, Pairs]:
    r"""Returns frames whose batches have total charges :obj:`charge` and
    multiplicities :obj:`spin`, if these are to be embedded. If they are not,
    there must not be several, and the pair of both comes along, or none if
    nothing is said of any frame. Neutral atoms alone do not count then: they
    are references, with a spin of their own.

    Args:
        frames (Frames, FramesOnDisk or JoinedFrames): The frames.
        embed_charge (bool): Whether they are to be embedded.

    Raises:
        ValueError: If there are several, with two frames.
    """
    states = frame_states(frames, embed_charge)
    if not embed_charge and all(state == State() for state in states):
        return frames, []
    warn_of_parity(frames, states, embed_charge)
    if embed_charge:
        return with_entries(frames, states), []
    full = [state.full for state in states]
    check_one_state(frames, full)
    return frames, [list(full[counting(frames, full)[0]])]


def learned_states(frames: AnyFrames) -> Pairs:
    r"""Returns all pairs of charge and multiplicity that training frames have
    in their batches. If there is but one, there is a warning.
    """
    indices = torch.as_tensor(frames.indices())
    charge, spin = (frames.entries[name][indices].int().tolist()
                    for name in State._fields)
    pairs = sorted({*zip(charge, spin)})
    if len(pairs) == 1:
        warnings.warn(f"'embed_charge' can teach nothing: all training frames "
                      f"of {frames.source} have charge {pairs[0][0]} and spin "
                      f"{pairs[0][1]}, which they have if nothing is said "
                      f"of them, too")
    return [list(pair) for pair in pairs]


def with_entries(frames: AnyFrames, states: list[State]) -> AnyFrames:
    r"""Returns frames whose batches have charges and spins."""
    charge, spin = torch.tensor([state.full for state in states],
                                dtype=torch.float).t()
    return frames.with_entries(charge=charge, spin=spin)


def check_one_state(frames: AnyFrames, full: list[tuple[int, int]]) -> None:
    r"""Checks that all frames have the same charge and spin.

    Raises:
        ValueError: If they have not, with the first two that differ.
    """
    rows = counting(frames, full)
    for index in rows[1:]:
        for name, first, other in zip(State._fields, full[rows[0]],
                                      full[index]):
            if first != other:
                raise ValueError(
                    f"'{name}' must be the same in all frames, unless "
                    f"'embed_charge' is set (got {first} in "
                    f"{frames.where(rows[0])} and {other} in "
                    f"{frames.where(index)})")


def counting(frames: AnyFrames, full: list[tuple[int, int]]) -> list[int]:
    r"""Returns the frames that are no neutral atoms alone, or all if there are
    no others."""
    return [index for index, number in enumerate(frames.num_atoms.tolist())
            if number > 1 or full[index][0] != 0] or [*range(len(frames))]


def warn_of_parity(frames: AnyFrames, states: list[State],
                   embed_charge: bool) -> None:
    r"""Warns of the first frame with a number of electrons that its
    multiplicity cannot have. One that is not said counts if it is embedded.
    Neutral atoms alone do not count.
    """
    counts = {*counting(frames, [state.full for state in states])}
    start = 0
    for data in DataLoader(frames, batch_size=BATCH_SIZE):
        protons = sum_edges(data.z, Segments(data.batch, data.num_graphs))
        for index, number in enumerate(protons.tolist(), start):
            charge, spin = states[index].full
            said = states[index].spin is not None
            if index in counts and (said or embed_charge) and (
                    not is_possible(number, states[index])):
                says = f'a spin of {spin}' if said else (
                    'no spin, which counts as 1')
                warnings.warn(
                    f"{frames.where(index)}: {number - charge} "
                    f"electrons cannot have the multiplicity 2S + 1 = {spin} "
                    f"(the frame says a charge of {charge} and {says}; this "
                    f"warning is for the first such frame)")
                return
        start += data.num_graphs


def is_possible(protons: int, state: State) -> bool:
    r"""Whether a number of electrons can have a multiplicity."""
    charge, spin = state.full
    return (protons - charge + 1 - spin) % 2 == 0


def names_of(pairs: Any) -> str:
    r"""Returns pairs in words."""
    return ', '.join(f'{charge:+d} and {spin}' if charge else f'0 and {spin}'
                     for charge, spin in sorted(pairs))
