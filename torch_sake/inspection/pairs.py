r"""Frames that are close to each other, and whether their energies differ by
what forces and stresses say.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from torch_sake.inspection.sample import Sample

MOST_ROWS = 20_000  # pairs of frames in a row
MOST_NEAR = 800  # frames of one kind among which the nearest are searched
MOST_NUMBERS = 2_000_000  # in the positions of these
KINDS = 6  # of frames with the same atoms
LONGEST = 0.5  # Angstrom that an atom moves from one to the other
LARGEST = 0.15  # strain
FEWEST = 8  # pairs that tell
JOINT_FEWEST, JOINT_SHARE = 10, 0.2  # of those that move the least
JOINT_SURE, JOINT_FIT = 5, 0.85  # standard errors, and what is explained


class Slope(NamedTuple):
    r"""How much of the difference of energies there is for what was expected,
    which is one if all is well.

    Args:
        slope (float): The factor.
        correlation (float): How well a factor describes it.
        number (int): Of how many pairs of frames.
    """
    slope: float
    correlation: float
    number: int


class Pairs(NamedTuple):
    r"""Pairs of frames, and what is expected of the difference of their
    energies from half the labels of each.

    Shapes:
        - **one**, **two:** :math:`(P)`
        - **by_force**, **by_stress:** in eV, NaN where they are not known
          :math:`(P)`
        - **moved:** largest displacement of an atom, in Angstrom :math:`(P)`
    """
    one: Tensor
    two: Tensor
    by_force: Tensor
    by_stress: Tensor
    moved: Tensor


def near_pairs(sample: Sample) -> Pairs:
    r"""Returns pairs of frames of the same atoms in the same order: those in a
    row, as in a trajectory, and those that are the nearest ones.
    """
    found = [_in_a_row(sample), *_nearest(sample)]
    pairs = torch.cat(found, dim=1).sort(dim=0).values.unique(dim=1)
    return _expected(sample, pairs)


def _kinds(sample: Sample) -> Tensor:
    r"""Returns a number that frames of the same atoms in the same order have
    in common.
    """
    place = torch.arange(sample.z.numel()) - sample.ptr[sample.batch]
    # Whole numbers that do not get as large as to be rounded:
    keys = (sample.z + 1) * ((place + 1) * 7919 % 104729)
    key = sample.z.new_zeros(len(sample)).index_add_(0, sample.batch, keys)
    key = torch.stack([sample.sizes, key, sample.pbc.sum(dim=1)])
    return key.unique(dim=1, return_inverse=True)[1]


def _in_a_row(sample: Sample) -> Tensor:
    kind = _kinds(sample)
    first = torch.arange(len(sample) - 1)
    first = first[kind[:-1] == kind[1:]]
    first = first[::len(first) // MOST_ROWS + 1]
    return torch.stack([first, first + 1])


def _nearest(sample: Sample) -> Iterator[Tensor]:
    kind = _kinds(sample)
    common = kind.bincount().argsort(descending=True, stable=True)
    for number in common[:KINDS].tolist():
        frames = (kind == number).nonzero()[:, 0]
        size = int(sample.sizes[frames[0]])
        most = max(min(MOST_NEAR, MOST_NUMBERS // (3 * size)), 2)
        frames = frames[::-(-len(frames) // most)]
        if len(frames) < 2:
            continue
        rows = sample.pos[sample.atoms_of(frames)].view(len(frames), -1)
        if sample.cell is not None:
            cells = sample.cell[frames].flatten(1)
            rows = torch.cat([rows, size**0.5 * cells], dim=1)
        dist = torch.cdist(rows, rows)
        dist.fill_diagonal_(torch.inf)
        yield torch.stack([frames, frames[dist.argmin(dim=1)]])


def _expected(sample: Sample, pairs: Tensor) -> Pairs:
    one, two = pairs
    atoms = sample.atoms_of(one), sample.atoms_of(two)
    number = torch.arange(len(one)).repeat_interleave(sample.sizes[one])
    start, end = sample.pos[atoms[0]], sample.pos[atoms[1]]
    strain = torch.zeros(len(one), 3, 3, dtype=torch.double)
    if sample.cell is None:
        moved = end - start
    else:
        moved, strain = _without_strain(sample, one, two, start, end, number)
    work = torch.full_like(moved[:, 0], torch.nan)
    if sample.force is not None:
        mean = 0.5 * (sample.force[atoms[0]] + sample.force[atoms[1]])
        work = -(mean * moved).sum(dim=1)
    zeros = torch.zeros(len(one), dtype=torch.double)
    largest = zeros.scatter_reduce(0, number, moved.norm(dim=1), 'amax')
    by_stress = torch.full_like(zeros, torch.nan)
    if sample.stress is not None:
        volume = torch.linalg.det(sample.cell).abs()
        virial = sample.stress * volume[:, None, None]
        by_stress = (0.5 * (virial[one] + virial[two]) * strain).sum(
            dim=(1, 2))
    by_force = zeros.index_add(0, number, work)
    gone = (largest > LONGEST) | (strain.abs().amax(dim=(1, 2)) > LARGEST)
    keep = ~gone & (sample.energy[one] - sample.energy[two]).isfinite()
    return Pairs(one[keep], two[keep], by_force[keep], by_stress[keep],
                 largest[keep])


def _without_strain(sample: Sample, one: Tensor, two: Tensor, start: Tensor,
                    end: Tensor, number: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns how atoms moved beside what the strain of the cell moves them,
    and that strain.
    """
    eye = torch.eye(3, dtype=torch.double)
    cells = [torch.where(sample.pbc[frames].all(dim=1)[:, None, None],
                         sample.cell[frames], eye) for frames in (one, two)]
    middle = 0.5 * (cells[0] + cells[1])
    strain = torch.linalg.solve(middle, cells[1] - cells[0])
    places = [torch.linalg.solve(cell[number].mT, pos[:, :, None])[:, :, 0]
              for cell, pos in zip(cells, (start, end))]
    moved = places[1] - places[0]
    moved = moved - moved.round() * sample.pbc[one][number].all(
        dim=1)[:, None]
    return torch.einsum('ni,nij->nj', moved, middle[number]), 0.5 * (
        strain + strain.mT)


def force_slope(sample: Sample, pairs: Pairs) -> Slope | None:
    r"""Returns by what factor energies differ from what forces say, or
    :obj:`None` if no frames are near enough to tell.
    """
    still = pairs.by_stress.isnan()
    if sample.cell is not None:
        change = (sample.cell[pairs.one] - sample.cell[pairs.two]).abs()
        still = change.amax(dim=(1, 2)) < 1e-6
    gap = sample.energy[pairs.two] - sample.energy[pairs.one]
    return _slope(pairs.by_force[still], gap[still], pairs.moved[still])


def stress_slope(sample: Sample, pairs: Pairs,
                 by_force: float = 1.0) -> Slope | None:
    r"""Returns by what factor energies differ from what stresses say.

    Args:
        sample (Sample): The frames.
        pairs (Pairs): Those that are near to each other.
        by_force (float, optional): The factor of forces. (default: :obj:`1.0`)
    """
    gap = sample.energy[pairs.two] - sample.energy[pairs.one]
    gap = gap - by_force * pairs.by_force.nan_to_num()
    change = torch.full_like(gap, torch.inf)
    if sample.cell is not None:
        change = -(sample.cell[pairs.one] - sample.cell[pairs.two]).abs(
            ).amax(dim=(1, 2))
    strained = change < -1e-4
    return _slope(pairs.by_stress[strained], gap[strained],
                  pairs.moved[strained])


def joint_slope(sample: Sample, pairs: Pairs,
                by_force: float = 1.0) -> Slope | None:
    r"""Returns by what factor energies differ from what stresses say, where
    atoms move so far that what forces say is not exact: both have a factor,
    that of stresses far from zero, and that of forces about as given. It is
    right up to a factor of about two.

    Args:
        sample (Sample): The frames.
        pairs (Pairs): Those that are near to each other.
        by_force (float, optional): The factor of forces. (default: :obj:`1.0`)
    """
    gap = sample.energy[pairs.two] - sample.energy[pairs.one]
    rows = torch.stack([by_force * pairs.by_force, pairs.by_stress], dim=1)
    use = rows.isfinite().all(dim=1) & (rows != 0).all(dim=1)
    rows, gap, moved = rows[use], gap[use], pairs.moved[use]
    number = max(JOINT_FEWEST, int(JOINT_SHARE * len(gap)))
    if len(gap) < number:
        return None
    near = moved.argsort()[:number]
    size = rows[near].square().mean(dim=0).sqrt()
    rows, gap = rows[near] / size, gap[near]
    inverse = torch.linalg.pinv(rows.mT @ rows, hermitian=True)
    found = inverse @ (rows.mT @ gap)
    rest = float((gap - rows @ found).square().sum())
    error = (inverse.diagonal() * rest / (number - 2)).sqrt()
    explained = 1 - rest / float(gap.square().sum())
    force, stress = (found / size).tolist()
    if not (explained > JOINT_FIT and 0.5 < force < 1.5
            and abs(float(found[1])) > JOINT_SURE * float(error[1])):
        return None
    return Slope(stress, explained**0.5, number)


def _slope(expected: Tensor, found: Tensor, moved: Tensor) -> Slope | None:
    use = expected.isfinite() & (expected != 0)
    expected, found, moved = expected[use], found[use], moved[use]
    best = None
    for share in (1.0, 0.5, 0.2):  # the nearest ones may tell more
        if len(expected) * share < FEWEST:
            break
        near = moved <= moved.quantile(share) if len(moved) < 1e6 else (
            moved >= 0)
        x, y = expected[near], found[near]
        # Of a few wrong labels, neither is changed:
        usual = (x.abs() <= 20 * x.abs().median()) & (
            y.abs() <= 20 * y.abs().median())
        x, y = x[usual], y[usual]
        norm = (x.square().sum() * y.square().sum()).sqrt()
        if len(x) < FEWEST or norm == 0:
            continue
        product = float((x * y).sum())
        # Both errors are alike: the slope of the principal axis.
        slope = Slope(float((y.square().sum() / x.square().sum()).sqrt()) * (
            1 if product > 0 else -1), abs(product) / float(norm), len(x))
        if best is None or slope.correlation > best.correlation:
            best = slope
    return best
