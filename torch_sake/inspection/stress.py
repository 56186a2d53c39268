r"""Units and signs of stresses."""

import math

import torch

from torch_sake.inspection.pairs import Pairs, joint_slope, stress_slope
from torch_sake.inspection.remark import Remark
from torch_sake.inspection.sample import Sample
from torch_sake.inspection.units import (
    ALL_ENERGIES,
    ATOMIC_UNITS,
    in_digits,
    is_sure,
)
from torch_sake.utils.units import ENERGIES, LENGTHS

GPA = 6.241509074e-3  # in eV/Angstrom^3
PRESSURES = {'GPa': GPA, 'kbar': 0.1 * GPA, 'Pa': 1e-9 * GPA,
             **{f'{name}/Bohr^3': ALL_ENERGIES[name] / LENGTHS['Bohr']**3
                for name in ATOMIC_UNITS}}
FITS, USUAL = 1.35, 2.0
# Where atoms move far, so that factors are less exact:
LOOSE_FITS, LOOSE_USUAL = 2.0, 4.0
LARGE = 3.0  # eV/Angstrom^3


def stress_remarks(sample: Sample, pairs: Pairs,
                   by_force: float) -> list[Remark]:
    r"""Returns remarks on the units and the sign of stresses.

    Args:
        sample (Sample): The frames.
        pairs (Pairs): Those that are near to each other.
        by_force (float): How much of a difference of energies there is for
            what forces say.
    """
    if sample.stress is None:
        return []
    known = ~sample.stress.isnan().flatten(1).any(dim=1)
    if not bool(known.any()):
        return []
    energy, length = sample.units['energy'], sample.units['length']
    scale = ENERGIES[energy] / LENGTHS[length]**3
    unit = f'{energy}/{length}^3'
    slope = stress_slope(sample, pairs, by_force)
    is_exact = slope is not None and is_sure(slope)
    if not is_exact:
        slope = joint_slope(sample, pairs, by_force)
    if slope is not None:
        size, wrong_sign = abs(slope.slope), slope.slope < 0
        volume = float(torch.linalg.det(sample.cell[known]).abs().median())
        name = _name(size, scale, volume, FITS if is_exact else LOOSE_FITS)
        usual = USUAL if is_exact else LOOSE_USUAL
        if 1 / usual < size < usual:
            name = ''
        what = 'Stresses do not fit to energies: where a cell is strained, '
        facts, advice = [], []
        if wrong_sign:
            facts.append('energies fall where stresses say that they rise')
            advice.append("Multiply them by -1: they are positive where the "
                          "cell wants to shrink, unlike in VASP's output")
        if name != '':
            facts.append(f'energies change {in_digits(size)} times as much as '
                         f'stresses say')
            advice.append(name or f'Convert them to {unit}')
        if not facts:
            return []
        return [Remark(f'{what}{" and ".join(facts)}. {". ".join(advice)}',
                       label='stress')]
    sizes = sample.stress[known].square().mean(dim=(1, 2)).sqrt()
    half = float(sizes.median())
    if half < LARGE:
        return []
    return [Remark(
        f'Stresses do not look like {unit}: half of them are above '
        f'{half / scale:.3g} on average, and those of solids '
        f'below {0.5 / scale:.2g}. They are likely in kbar or GPa: 1 GPa is '
        f'{GPA / scale:.6g} {unit}', label='stress')]


def _name(size: float, scale: float, volume: float,
          fits: float) -> str | None:
    r"""Returns what to do about stresses by how much too small energies are
    for them, which is known up to a factor.
    """
    def error(value: float) -> float:
        return abs(math.log(size / value))
    factors = {name: value / scale for name, value in PRESSURES.items()}
    name = min(factors, key=lambda name: error(factors[name]))
    if error(factors[name]) < math.log(fits) and (
            fits == FITS or error(factors[name]) < error(1 / volume)):
        return (f'They are likely in {name}, of which 1 is '
                f'{factors[name]:.6g} in the unit of the others')
    if error(1 / volume) < math.log(fits):
        return 'They are likely virials, which are stresses times the volume'
    return None
