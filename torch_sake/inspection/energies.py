r"""Energies and forces far outside of the rest."""

import torch
from torch import Tensor

from torch_sake.inspection.remark import Remark, as_numbers
from torch_sake.inspection.sample import Sample
from torch_sake.utils.units import ENERGIES, LENGTHS

# Smaller singular values, relative to the largest one, are rounding:
RCOND = 1e-10
ROBUST = 1.4826  # of a normal distribution, by the median deviation
# What is outside, by the width of the rest, and at least, in eV per atom:
WIDTHS, FLOOR = 20, 0.5
ZERO_WIDTHS, ZERO_FLOOR = 8, 0.05
# Outliers are few, or they are a kind of structures of its own:
SHARE = 0.02
FEWEST = 10  # frames that tell what is usual
LARGE_FORCE = 50.0  # eV/Angstrom
# That energies or forces are, in eV per atom and eV/Angstrom, where the
# others are exactly zero in at least some frames:
SOME_ENERGY, SOME_FORCE, FEW_ZEROS = 1e-4, 1e-2, 3
TIMES = 5  # the largest usual force
ITERATIONS = 30


def energies_per_atom(sample: Sample) -> Tensor:
    r"""Returns what the elements leave of the energies, per atom, by a fit of
    least absolute deviations, to which wrong energies matter little. It is NaN
    of energies that are not known and of atoms that are alone.

    Shapes:
        - **output:** :math:`(M)`
    """
    counts, energy = _compositions(sample), sample.energy
    sizes = sample.sizes.double()
    use = ~energy.isnan() & ~sample.is_alone
    usual = use & (energy != 0)
    if int(usual.sum()) == 0:
        usual = use
    rows, right = (counts / sizes[:, None])[usual], (energy / sizes)[usual]
    if right.numel() > 0:
        fit = _least(rows, right, torch.ones_like(right))
        for _ in range(ITERATIONS if rows.size(1) < rows.size(0) else 0):
            rest = (right - rows @ fit).abs()
            floor = 1e-9 + 0.01 * rest.median()
            fit = fit + _least(rows, right - rows @ fit,
                               1 / rest.clamp(min=floor))
        rest = energy / sizes - counts @ fit / sizes
    else:
        rest = torch.full_like(energy, torch.nan)
    return torch.where(use, rest, torch.nan)


def _compositions(sample: Sample) -> Tensor:
    elements, column = sample.z.unique(return_inverse=True)
    counts = torch.zeros(len(sample), len(elements), dtype=torch.double)
    return counts.index_put_((sample.batch, column), torch.ones(
        (), dtype=torch.double), accumulate=True)


def _least(rows: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    weight = weight.sqrt()[:, None]
    # The normal equations of few unknowns; what they lose by rounding, the
    # next ones for the rest bring back.
    rows, right = rows * weight, right[:, None] * weight
    return torch.linalg.lstsq(rows.mT @ rows, rows.mT @ right, rcond=RCOND,
                              driver='gelsd').solution[:, 0]


def spread(values: Tensor) -> tuple[float, float]:
    r"""Returns the median and a width that outliers do not change."""
    middle = values.median()
    return float(middle), ROBUST * float((values - middle).abs().median())


def energy_remarks(sample: Sample, rest: Tensor) -> list[Remark]:
    r"""Returns remarks on energies that are zero, or far outside."""
    known = ~rest.isnan()
    usual = known & (sample.energy != 0)
    if int(known.sum()) >= FEWEST and not bool(usual.any()):
        return [Remark('All energies are exactly 0: they were likely not '
                       'computed')]
    if int(known.sum()) >= FEW_ZEROS and not bool(usual.any()) and bool(
            (_largest_forces(sample)[known] > SOME_FORCE).any()):
        return [Remark('All energies are exactly 0, while forces are not: '
                       'they were likely not written')]
    if int(usual.sum()) < FEWEST:
        return []
    remarks, unit = [], sample.units['energy']
    scale = ENERGIES[unit]
    middle, width = spread(rest[usual])
    away = (rest - middle).abs()
    zero = known & ~usual & (away > max(ZERO_WIDTHS * width, ZERO_FLOOR))
    if zero.any():
        first = int(zero.nonzero()[0])
        usual_one = (middle - float(rest[first])) * int(sample.sizes[first])
        remarks.append(Remark(
            f'the energy is exactly 0, where the other frames suggest about '
            f'{usual_one / scale:.5g} {unit}: it was likely not computed',
            as_numbers(sample.numbers[zero]), True))
    far = usual & (away > max(WIDTHS * width, FLOOR))
    if 0 < int(far.sum()) <= max(SHARE * int(usual.sum()), 1):
        first = int(far.nonzero()[0])
        remarks.append(Remark(
            f'the energy is {float(rest[first] - middle) / scale:+.3g} {unit} '
            f'per atom from the usual one of these elements, while others '
            f'differ by {width / scale:.2g}: look at it',
            as_numbers(sample.numbers[far]), True))
    return remarks


def _largest_forces(sample: Sample) -> Tensor:
    r"""Returns the largest force of each frame, NaN if it is not known."""
    if sample.force is None:
        return torch.full_like(sample.energy, torch.nan)
    return sample.per_frame(sample.force.norm(dim=1))


def all_forces_are_zero(sample: Sample) -> bool:
    r"""Returns whether the forces of all molecules are exactly zero, while
    those of the same atoms have energies that differ. In crystals they may be
    zero by symmetry, and in single frames that are relaxed by rounding.
    """
    largest, energy = _largest_forces(sample), sample.energy
    use = ~sample.pbc.any(dim=1) & (sample.sizes > 1) & ~largest.isnan()
    if int(use.sum()) < FEW_ZEROS or bool((largest[use] > 0).any()):
        return False
    use &= ~energy.isnan()
    kind = _compositions(sample)[use].unique(dim=0, return_inverse=True)[1]
    first = torch.full((len(sample), ), torch.inf, dtype=torch.double)
    first = first.scatter_reduce(0, kind, energy[use], 'amin')
    gap = (energy[use] - first[kind]) / sample.sizes[use]
    return int((gap > SOME_ENERGY).sum()) >= FEW_ZEROS - 1


def force_remarks(sample: Sample) -> list[Remark]:
    r"""Returns remarks on forces that are zero, or far outside."""
    if sample.force is None:
        return []
    if all_forces_are_zero(sample):
        return [Remark('All forces of molecules are exactly 0, while their '
                       'energies differ: they were likely not written')]
    largest = _largest_forces(sample)
    known = ~largest.isnan() & ~sample.is_alone
    if int(known.sum()) < FEWEST:
        return []
    remarks = []
    unit, length = sample.units['energy'], sample.units['length']
    scale = ENERGIES[unit] / LENGTHS[length]
    sizes = largest[known].sort().values
    number = len(sizes) - max(int(SHARE * len(sizes)), 1)
    usual = float(sizes[number - 1])
    far = known & (largest > max(LARGE_FORCE, TIMES * usual))
    if far.any():
        first = int(far.nonzero()[0])
        remarks.append(Remark(
            f'a force is {float(largest[first]) / scale:.3g} {unit}/{length}, '
            f'while nearly all other frames have none above '
            f'{usual / scale:.2g}: look at the structure, or whether its '
            f'calculation converged',
            as_numbers(sample.numbers[far]), True))
    # In crystals they may be zero by symmetry.
    zero = known & (largest == 0) & (sample.sizes > 2) & ~sample.pbc.any(dim=1)
    if zero.any() and float(largest[known & ~zero].median() if (
            known & ~zero).any() else 0) > 0.05:
        remarks.append(Remark(
            'all forces are exactly 0: they were likely not computed',
            as_numbers(sample.numbers[zero]), True))
    return remarks
