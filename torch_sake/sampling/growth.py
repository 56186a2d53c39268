from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from torch_sake.datasets.frames.charges import frame_states
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.sampling.moves import (
    dimer,
    piece,
    rattle,
    strain,
    stretch_bond,
    turn_bonds,
)
from torch_sake.sampling.structure import Structure
from torch_sake.utils.plain_checks import (
    check_positive_float,
    check_positive_int,
    check_seed,
    require,
)

TEMPERATURES = (300.0, 600.0, 1000.0, 1500.0)  # K
# Shares of the frames of neutral molecules, and what they are called:
SHARES = {'dynamics': 0.35, 'turned': 0.25, 'stretched': 0.15,
          'compressed': 0.07, 'piece': 0.08, 'dimer': 0.10}
# What a charge would have to be shared by, or needs another multiplicity:
NEUTRAL_ONLY = ('stretched', 'piece', 'dimer')
PERIODIC = ('dynamics', 'compressed')
DYNAMICS = dict(num_steps=40, interval=8)  # 5 frames
SHORT = dict(num_steps=16, interval=8)  # 2 frames

Move = Callable[[Structure, np.random.Generator], Structure | None]


def grow(frames: AnyFrames, num_frames: int = 4000, seed: int = 0,
         temperatures: Sequence[float] = TEMPERATURES) -> list[Structure]:
    r"""Returns structures beyond those that are given, for :func:`label`: what
    the labels of the given ones do not tell.

    Of molecules, these are short dynamics at several temperatures
    (:obj:`'dynamics'`), turned bonds (:obj:`'turned'`), stretched and pressed
    bonds (:obj:`'stretched'`), molecules that are pressed together
    (:obj:`'compressed'`), pieces of molecules (:obj:`'piece'`), two molecules
    at many distances (:obj:`'dimer'`) and an isolated atom of each element
    (:obj:`'IsolatedAtom'`). Where something does not apply there is more of
    the rest: structures with a charge or a given multiplicity stay whole, and
    periodic ones are strained and moved.

    Args:
        frames (Frames or FramesOnDisk): The structures. Their labels are not
            used.
        num_frames (int, optional): About how many frames :func:`label` is to
            return. (default: :obj:`4000`)
        seed (int, optional): The seed. (default: :obj:`0`)
        temperatures ([float], optional): Temperatures of the dynamics in K.
            (default: :obj:`(300, 600, 1000, 1500)`)

    Raises:
        ValueError: If an argument is out of range, or the unit of length is
            not known.
    """
    check_positive_int('num_frames', num_frames)
    seed = check_seed('seed', seed)
    require(len(temperatures) > 0, "'temperatures' must not be empty")
    for temperature in temperatures:
        check_positive_float('temperatures', temperature)
    starts = list(_starts(frames))
    require(len(starts) > 0, f"{frames.source}: There must be a structure that "
                             f"is no isolated atom (got {len(frames)} frames)")
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    order = _shuffled(len(starts), rng)
    grown = isolated_atoms(starts)
    number = len(grown)
    for kind, share in SHARES.items():
        last = number + round(share * num_frames)
        while number < last:
            made = _make(kind, starts, order, rng, temperatures)
            grown.append(made)
            number += made.num_frames
    return grown


def isolated_atoms(starts: Sequence[Structure]) -> list[Structure]:
    r"""Returns an isolated atom of each element."""
    elements = {int(z) for start in starts for z in np.unique(start.z)}
    return [Structure(np.array([z]), np.zeros((1, 3)),
                      config_type='IsolatedAtom') for z in sorted(elements)]


def _make(kind: str, starts: Sequence[Structure], order: Iterator[int],
          rng: np.random.Generator,
          temperatures: Sequence[float]) -> Structure:
    r"""Returns a structure of a kind, of dynamics where it does not apply."""
    start = starts[next(order)]
    temperature = float(temperatures[rng.integers(len(temperatures))])
    applies = (kind in PERIODIC if start.is_periodic else
               kind not in NEUTRAL_ONLY or _is_neutral(start))
    made: Structure | None = None
    if applies and kind == 'dimer':
        other = starts[next(order)]
        if _is_neutral(other) and not other.is_periodic:
            made = dimer(start, other, rng)
    elif applies and kind != 'dynamics':
        moves: dict[str, Move] = {
            'turned': turn_bonds, 'stretched': stretch_bond,
            'compressed': strain, 'piece': piece}
        made = moves[kind](start, rng)
    if made is None:
        return replace(rattle(start, rng), config_type='dynamics',
                       temperature=temperature, **DYNAMICS)
    made = replace(made, config_type=kind)
    # Every other one moves on: what was moved stiffly relaxes a little.
    if kind in ('turned', 'piece', 'dimer') and rng.integers(2):
        made = replace(made, temperature=temperature, **SHORT)
    return made


def _is_neutral(start: Structure) -> bool:
    return start.charge == 0 and start.spin in (None, 1)


def _shuffled(number: int, rng: np.random.Generator) -> Iterator[int]:
    r"""Yields all numbers in turns, in another order each time."""
    while True:
        yield from rng.permutation(number).tolist()


def _starts(frames: AnyFrames) -> Iterator[Structure]:
    frames = frames.in_units({'length': 'Angstrom', 'energy': 'eV'}) if (
        frames.label == 'energy') else frames
    require(frames.units['length'] == 'Angstrom',
            f"{frames.source}: The unit of length must be Angstrom "
            f"(got {frames.units['length']})")
    for frame, state in zip(frames, frame_states(frames, False)):
        cell = frame.get('cell')
        periodic = cell is not None and bool(frame.pbc.any())
        if len(frame.z) == 1 and not periodic:
            continue  # an isolated atom
        yield Structure(
            frame.z.numpy(), frame.pos.double().numpy(),
            cell[0].double().numpy() if periodic else None,
            frame.pbc[0].numpy() if periodic else None,
            charge=state.charge or 0, spin=state.spin)
