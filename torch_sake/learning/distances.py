r"""How far structures are from each other, whatever their place, their
orientation and the order of their atoms.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy
import torch

from torch_sake.neighbors import neighbor_list


class Shape(NamedTuple):
    r"""What stays of a structure when it moves and turns, and when equal atoms
    change places: the atomic numbers and the periodic directions, and all
    interatomic distances (to the closest image), sorted for each pair of
    elements, behind lengths that fix the cell.

    Shapes:
        - lengths :math:`(K)`
    """
    kind: tuple[tuple[int, ...], tuple[bool, ...]]
    lengths: numpy.ndarray


def shape_of(atoms: Any) -> Shape:
    r"""Returns the shape of a structure.

    Args:
        atoms (ase.Atoms): The structure.
    """
    numbers, pbc = atoms.numbers, atoms.pbc
    first, second = numpy.triu_indices(len(atoms), 1)
    dist = atoms.get_all_distances(mic=bool(pbc.any()))[first, second]
    low = numpy.minimum(numbers[first], numbers[second])
    high = numpy.maximum(numbers[first], numbers[second])
    dist = dist[numpy.lexsort((dist, high, low))]
    cell = atoms.cell.array if pbc.any() else numpy.zeros((3, 3))
    sides = numpy.concatenate([cell, cell + numpy.roll(cell, 1, axis=0)])
    kind = (tuple(sorted(numbers.tolist())), tuple(pbc.tolist()))
    return Shape(kind, numpy.concatenate([
        numpy.linalg.norm(sides, axis=1), dist]))


def distance(one: Shape, other: Shape) -> float:
    r"""Returns the root mean square of the differences of the lengths of two
    structures, which is infinite if they have other atoms.
    """
    if one.kind != other.kind:
        return numpy.inf
    return float(numpy.sqrt(numpy.square(one.lengths - other.lengths).mean()))


def largest_difference(one: Shape, other: Shape) -> float:
    r"""Returns the largest difference of a length, in the same way."""
    if one.kind != other.kind:
        return numpy.inf
    return float(numpy.abs(one.lengths - other.lengths).max())


def closest(shape: Shape, others: Iterable[Shape],
            measure: Any = distance) -> tuple[float, int]:
    r"""Returns the distance of a structure from the closest of others, and
    which one that is; infinity and -1 if there is none of its kind.
    """
    found = (numpy.inf, -1)
    for index, other in enumerate(others):
        found = min(found, (measure(shape, other), index),
                    key=lambda pair: pair[0])
    return found if found[0] < numpy.inf else (numpy.inf, -1)


def num_edges(atoms: Any, cutoff: float | None) -> int:
    r"""Returns how many neighbors all atoms of a structure have together."""
    if cutoff is None:
        return len(atoms) * (len(atoms) - 1)
    cell = torch.from_numpy(atoms.cell.array) if atoms.pbc.any() else None
    edge_index, _ = neighbor_list(torch.tensor(atoms.positions), cutoff,
                                  cell=cell, pbc=torch.from_numpy(atoms.pbc))
    return edge_index.size(1)
