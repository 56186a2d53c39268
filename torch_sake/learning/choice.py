r"""Which structures of simulations are labeled."""

import os.path as osp
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy

from torch_sake.datasets.frames.charges import CHARGES, SPINS
from torch_sake.learning.config import LearnConfig
from torch_sake.learning.distances import Shape, closest, shape_of
from torch_sake.learning.walks import Outcome, Walk, seed_of
from torch_sake.simulation.records import FORCES_STD, trajectory_name
from torch_sake.simulation.soundness import closest_pair

# Frames of each simulation that may be labeled: the last ones before the doubt
# and, of equal parts of the time before, the least certain one of each.
NUM_LAST, NUM_EARLIER = 3, 4
# Of the sum of covalent radii. Where atoms are closer, forces are so large
# that they hide all others, and no potential is to learn them:
MIN_BOND = 0.65
CHOICE = 1 << 20  # of seeds, beside those of simulations


def choose(config: LearnConfig, number: int, walks: Sequence[Walk],
           outcomes: Sequence[Outcome], known: Sequence[Shape]) -> list[Any]:
    r"""Returns the structures to label, :class:`ase.Atoms` without labels.
    They are spread over the structures that simulations started from, then
    over temperatures, then over simulations; of each, that of the doubt comes
    first. Who is close to another one, or to those that are known, is left
    out.

    Args:
        config (LearnConfig): The loop.
        number (int): The number of the round.
        walks ([Walk]): The simulations.
        outcomes ([Outcome]): What came of them.
        known ([Shape]): The structures that are labeled already.
    """
    chosen: list[Any] = []
    shapes = list(known)
    for atoms in in_turns(walks, [
            candidates(*pair) for pair in zip(walks, outcomes)],
            seed_of(config.seed, number, CHOICE)):
        shape = shape_of(atoms)
        if closest(shape, shapes)[0] < config.min_distance:
            continue
        atoms.info['config_type'] = f'learn_{number}'
        chosen.append(atoms)
        shapes.append(shape)
        if len(chosen) == config.num_labels:
            break
    return chosen


def in_turns(walks: Sequence[Walk], found: Sequence[Sequence[Any]],
             seed: int) -> Iterator[Any]:
    r"""Yields the candidates of all simulations: one of each structure, then
    of each at another temperature, then of other simulations, and then the
    same again. The order of structures, of temperatures and of simulations is
    random.

    Args:
        walks ([Walk]): The simulations.
        found ([list]): The candidates of each, the best first.
        seed (int): The seed of the order.
    """
    rng = numpy.random.default_rng(seed)
    tree: dict[int, dict[float, list[int]]] = {}
    for index, walk in enumerate(walks):
        if found[index]:
            tree.setdefault(walk.structure, {}).setdefault(
                walk.temperature, []).append(index)

    def shuffled(items: Any) -> list[Any]:
        items = list(items)
        return [items[place] for place in rng.permutation(len(items))]

    def merged(lists: list[list[int]]) -> list[int]:
        return [item for row in zip_longest(*lists) for item in row
                if item is not None]

    order = merged([merged([shuffled(tree[structure][temperature])
                            for temperature in shuffled(tree[structure])])
                    for structure in shuffled(tree)])
    for rank in range(max(map(len, found), default=0)):
        for index in order:
            if rank < len(found[index]):
                yield found[index][rank]


def candidates(walk: Walk, outcome: Outcome) -> list[Any]:
    r"""Returns the frames of a simulation that ended with doubt which may be
    labeled, the best first.
    """
    import ase.io
    if outcome.reason is None:
        return []
    frames = ase.io.read(osp.join(walk.folder, trajectory_name('extxyz')),
                         f':{outcome.num_frames}')
    frames = [atoms for atoms in frames if not is_too_close(atoms)]
    if not frames:
        return []
    uncertain = [uncertainty_of(atoms) for atoms in frames]
    last = [*range(len(frames))][-NUM_LAST:]
    earlier = [
        int(part[numpy.argmax([uncertain[index] for index in part])])
        for part in numpy.array_split(numpy.arange(last[0]), NUM_EARLIER)
        if len(part)]
    return [bare(frames[index], walk, uncertain[index])
            for index in [*last[::-1], *earlier[::-1]]]


def uncertainty_of(atoms: Any) -> float:
    r"""Returns the largest uncertainty of a force in eV/Angstrom."""
    return float(numpy.linalg.norm(atoms.arrays[FORCES_STD], axis=1).max())


def is_too_close(atoms: Any) -> bool:
    r"""Whether two atoms are closer than any bond."""
    _, _, dist, bond = closest_pair(atoms, MIN_BOND)
    return dist < MIN_BOND * bond


def bare(atoms: Any, walk: Walk, uncertainty: float) -> Any:
    r"""Returns a structure without labels and velocities, with where it comes
    from.
    """
    import ase
    return ase.Atoms(
        atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc,
        info={**{name: value for name, value in atoms.info.items()
                 if name in (*CHARGES, *SPINS)},
              'structure': walk.structure, 'temperature': walk.temperature,
              # A number might be taken for an energy by who reads it:
              'uncertainty': f'{uncertainty:.4g} eV/Angstrom'})
