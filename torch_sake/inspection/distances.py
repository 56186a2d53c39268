r"""The nearest neighbors of atoms, and what they say of lengths."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_sake.inspection.remark import Remark, as_numbers
from torch_sake.inspection.sample import Sample
from torch_sake.neighbors import neighbor_list
from torch_sake.potentials.zbl import COVALENT_RADII
from torch_sake.utils.units import LENGTHS

NOBLE = (2, 10, 18, 36, 54, 86)  # without bonds
REACH = (3.5, 7.0, 14.0)  # of searches in cells, in Angstrom
FURTHER = 100  # frames of the last one, which takes longer
MOST_PAIRS = 1 << 22
LARGEST = 256  # atoms of which all pairs are tested
# In units of the sum of the covalent radii:
BONDED = (0.75, 1.4)
TOO_CLOSE = 0.4
FAR = 6.0  # Angstrom


class Nearest(NamedTuple):
    r"""Of each atom the distance to the nearest other one, infinite if there
    is none, and the smallest distance in units of the sum of two covalent
    radii.
    """
    dist: Tensor
    ratio: Tensor


def nearest(sample: Sample) -> Nearest:
    r"""Returns the distances of nearest neighbors.

    Shapes:
        - **output:** :math:`(N)`, :math:`(N)`
    """
    out = Nearest(*torch.full((2, sample.z.numel()), torch.inf,
                              dtype=torch.double))
    sizes, periodic = sample.sizes, sample.pbc.any(dim=1)
    small = ~periodic & (sizes <= LARGEST)
    for size in sizes[small & (sizes > 1)].unique().tolist():
        frames = (small & (sizes == size)).nonzero()[:, 0]
        for part in frames.split(max(MOST_PAIRS // size**2, 1)):
            atoms = sample.ptr[part, None] + torch.arange(size)
            dist = torch.cdist(
                sample.pos[atoms], sample.pos[atoms],
                compute_mode='donot_use_mm_for_euclid_dist')
            dist.diagonal(dim1=1, dim2=2).fill_(torch.inf)
            radii = _radii(sample.z[atoms])
            out.dist[atoms] = dist.amin(dim=2)
            out.ratio[atoms] = (dist / (
                radii[:, :, None] + radii[:, None])).amin(dim=2)
    rest = (~small).nonzero()[:, 0]
    for reach in REACH:
        if reach == REACH[-1]:
            rest = rest[:FURTHER]
        if rest.numel() > 0:
            rest = _search(sample, rest, reach, out)
    return out


def _search(sample: Sample, frames: Tensor, reach: float,
            out: Nearest) -> Tensor:
    r"""Fills in what is within reach and returns the frames that have atoms
    with nothing there.
    """
    part, atoms = sample.select(frames), sample.atoms_of(frames)
    if reach == REACH[0] and part.cell is not None and bool(
            part.pbc.all(dim=1).any()):
        # Where lengths are in nm, there would be millions of neighbors.
        spacing = (torch.linalg.det(part.cell).abs() / part.sizes)**(1 / 3)
        reach = min(reach, 1.6 * float(spacing[part.pbc.all(dim=1)].median()))
    edge_index, shift = neighbor_list(
        part.pos, reach, part.batch, part.cell,
        None if part.cell is None else part.pbc)
    source, target = edge_index
    dist = (part.pos[source] - part.pos[target] + shift).norm(dim=1)
    radii = _radii(part.z)
    found = torch.full_like(part.pos[:, 0], torch.inf)
    ratio = found.scatter_reduce(
        0, target, dist / (radii[source] + radii[target]), 'amin')
    found = found.scatter_reduce(0, target, dist, 'amin')
    out.dist[atoms], out.ratio[atoms] = found, ratio
    lonely = torch.zeros(len(part), dtype=torch.bool)
    lonely[part.batch[found.isinf()]] = True
    return frames[lonely & (part.pbc.any(dim=1) | (part.sizes > 1))]


def _radii(z: Tensor) -> Tensor:
    radii = torch.tensor((1.0, *COVALENT_RADII), dtype=torch.double)
    return radii[z.clamp(max=len(radii) - 1)]


def likely_length(sample: Sample, near: Nearest) -> str | None:
    r"""Returns the unit of length in which nearly all atoms have a neighbor
    about where bonds are, if it is not the one that is declared.
    """
    counts = near.ratio.isfinite() & ~torch.isin(
        sample.z, torch.tensor(NOBLE))
    if int(counts.sum()) < 2:
        return None
    ratio = near.ratio[counts].sort().values
    low, middle, high = (float(ratio[int(share * (len(ratio) - 1))])
                         for share in (0.1, 0.5, 0.9))
    declared = sample.units['length']
    if low < BONDED[1] and high > BONDED[0]:
        return None  # some are where bonds are: it is the right unit
    for unit, length in LENGTHS.items():
        factor = LENGTHS[declared] / length
        if (BONDED[0] * factor < low and high < BONDED[1] * factor
                and 0.8 * factor < middle < 1.25 * factor):
            return unit
    return None


def distance_remarks(sample: Sample, near: Nearest,
                     cutoff: float | None = None) -> list[Remark]:
    r"""Returns remarks on atoms that are too close to each other or far from
    all others.

    Args:
        sample (Sample): The frames.
        near (Nearest): Their nearest neighbors.
        cutoff (float, optional): That of the model. (default: :obj:`None`)
    """
    unit, remarks = sample.units['length'], []
    scale = LENGTHS[unit]
    ratio = sample.per_frame(near.ratio, 'amin')
    close = (ratio < TOO_CLOSE).nonzero()[:, 0]
    if close.numel() > 0:
        frame = int(close[0])
        atom, dist = _at(sample, near.ratio, frame, near.dist)
        remarks.append(Remark(
            f'atom {atom} is {dist / scale:.3g} {unit} from another, less '
            f'than half of any bond: look at the positions and the cell',
            as_numbers(sample.numbers[close]), True))
    far = FAR if cutoff is None else max(FAR, cutoff * scale)
    alone = near.dist > far
    alone &= (sample.sizes > 1)[sample.batch]
    lonely = (sample.per_frame(alone.double()) > 0).nonzero()[:, 0]
    if lonely.numel() > 0:
        frame = int(lonely[0])
        atom, dist = _at(sample, -near.dist, frame, near.dist)
        away = (f'{dist / scale:.3g} {unit}' if dist < torch.inf else
                f'more than {REACH[-1] / scale:.3g} {unit}')
        remarks.append(Remark(
            f'atom {atom} is {away} from all others, beyond the cutoff: it '
            f'feels nothing there; look at the positions, the cell and '
            f"'pbc'", as_numbers(sample.numbers[lonely])))
    return remarks


def _at(sample: Sample, values: Tensor, frame: int,
        dist: Tensor) -> tuple[int, float]:
    r"""Returns the atom of the smallest value of a frame, and its distance."""
    begin, end = sample.ptr[frame:frame + 2].tolist()
    atom = int(values[begin:end].argmin())
    return atom, float(dist[begin + atom])
