r"""Frames that occur twice."""

import torch
from torch import Tensor

from torch_sake.datasets.frames.charges import CHARGES, SPINS
from torch_sake.inspection.remark import Remark, as_numbers
from torch_sake.inspection.sample import Sample
from torch_sake.utils.units import ENERGIES, LENGTHS

SAME = 1e-6  # Angstrom
# What labels of the same structure differ by, in eV per atom and eV/Angstrom:
ENERGY, FORCE = 1e-4, 1e-2


def find_twins(sample: Sample) -> Tensor:
    r"""Returns pairs of frames with the same atoms at the same places in the
    same cell, the first one of each frame before it.

    Shapes:
        - **output:** :math:`(2, P)`
    """
    # Sums with weights that nothing follows from: they are close if the
    # frames are. Of those that are, all numbers are compared.
    size = int(sample.sizes.max())
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(size + 3, 4, generator=generator, dtype=torch.double)
    place = torch.arange(sample.z.numel()) - sample.ptr[sample.batch]
    rows = (sample.pos * weight[place, :3]).sum(dim=1) + (
        sample.z * weight[place, 3])
    key = sample.pos.new_zeros(len(sample)).index_add_(0, sample.batch, rows)
    if sample.cell is not None:
        key = key + (sample.cell * weight[-3:, :3]).sum(dim=(1, 2))
    key, order = key.sort(stable=True)
    reach = SAME * float(weight.abs().sum())
    pairs, step = [], 1
    first, second = torch.arange(len(key) - 1), torch.arange(1, len(key))
    while first.numel() > 0 and step < 8:  # others may lie between
        near = key[second] - key[first] < reach
        first, second = first[near], second[near]
        pair = torch.stack([order[first], order[second]]).sort(dim=0).values
        pairs.append(pair[:, _are_same(sample, pair)])
        step += 1
        second = second + 1
        inside = second < len(key)
        first, second = first[inside], second[inside]
    if not pairs:
        return torch.empty(2, 0, dtype=torch.long)
    found = torch.cat(pairs, dim=1)
    found = found[:, found[0].argsort(stable=True)]
    # Each frame once, with the first one that it is the same as:
    found = found[:, found[1].argsort(stable=True)]
    begins = torch.ones(found.size(1), dtype=torch.bool)
    begins[1:] = found[1, 1:] != found[1, :-1]
    return found[:, begins]


def _are_same(sample: Sample, pair: Tensor) -> Tensor:
    one, two = pair
    same = sample.sizes[one] == sample.sizes[two]
    if sample.cell is not None:
        same &= ((sample.cell[one] - sample.cell[two]).abs() < SAME).flatten(
            1).all(dim=1) & (sample.pbc[one] == sample.pbc[two]).all(dim=1)
    rest = same.nonzero()[:, 0]
    atoms = sample.atoms_of(one[rest]), sample.atoms_of(two[rest])
    differ = ((sample.pos[atoms[0]] - sample.pos[atoms[1]]).abs().amax(
        dim=1) >= SAME) | (sample.z[atoms[0]] != sample.z[atoms[1]])
    number = torch.arange(len(rest)).repeat_interleave(sample.sizes[one[rest]])
    same[rest[number[differ]]] = False
    return same


def twin_remarks(sample: Sample) -> list[Remark]:
    r"""Returns remarks on frames that occur twice, with the same labels or
    with others.
    """
    pairs = find_twins(sample)
    numbers = sample.numbers[pairs].t().tolist()
    charges = [{key: sample.info(index).get(key) for key in (*CHARGES, *SPINS)}
               for one in numbers for index in one]
    pairs = pairs[:, [charges[2 * index] == charges[2 * index + 1]
                      for index in range(len(numbers))]]
    one, two = pairs
    energies = sample.energy[pairs]
    other = (energies[0] - energies[1]).abs() > ENERGY * sample.sizes[one]
    apart = torch.zeros(len(one), dtype=torch.double)
    if sample.force is not None and len(one) > 0:
        gap = (sample.force[sample.atoms_of(one)] -
               sample.force[sample.atoms_of(two)]).norm(dim=1)
        apart = sample.select(one).per_frame(gap.nan_to_num())
    other_force = ~other & (apart > FORCE)
    unit, length = sample.units['energy'], sample.units['length']
    scale = ENERGIES[unit]
    remarks = []
    for found in (other, other_force):
        if not found.any():
            continue
        first = int(found.nonzero()[0])
        before = sample.name_beside(int(one[first]), int(two[first]))
        values = (energies[:, first] / scale).tolist()
        gap = float(apart[first]) / scale * LENGTHS[length]
        text = (f'energies {values[0]:.9g} and {values[1]:.9g} {unit}'
                if found is other else
                f'forces that differ by {gap:.3g} {unit}/{length}')
        remarks.append(Remark(
            f'the same structure as {before}, with another label ({text}): '
            f'one of them is wrong', as_numbers(sample.numbers[two[found]]),
            True))
    copies = ~other & ~other_force & ~sample.is_alone[one]
    if copies.any():
        first = int(copies.nonzero()[0])
        before = sample.name_beside(int(one[first]), int(two[first]))
        remarks.append(Remark(
            f'the same as {before}'
            f'{" and others" if int(copies.sum()) > 1 else ""}, once more: a '
            f'copy in a test set makes its errors look small',
            as_numbers(sample.numbers[two[copies]]), True))
    return remarks
