r"""The units that labels are likely in: of all combinations the simplest one
with which everything that is known fits.
"""

import math
from itertools import product
from typing import NamedTuple

import torch

from torch_sake.inspection.hydrogen import USUAL, bond_stiffness
from torch_sake.inspection.pairs import Pairs, Slope, force_slope
from torch_sake.inspection.remark import Remark
from torch_sake.inspection.sample import Sample
from torch_sake.utils.units import ENERGIES, LENGTHS

HARTREE = ENERGIES['Hartree']
ALL_ENERGIES = {**ENERGIES, 'Ry': 0.5 * HARTREE}
# Of atoms with all electrons, in Hartree, from hydrogen on:
ATOMS = (-0.5, -2.904, -7.478, -14.667, -24.654, -37.845, -54.589, -75.067,
         -99.734, -128.94, -162.25, -200.05, -242.35, -289.36, -341.26,
         -398.11, -460.15, -527.54)
BOUND = (0.985, 1.035)  # a molecule, in units of its atoms
# By what factor each observation may miss what is usual:
STIFFNESS, FITS = 1.65, 1.25
# Where nothing fits, as frames are so far from each other:
LOOSE_FIT = 1.5
# Up to where nothing is said, the first one where lengths are as declared:
USUAL_STIFFNESS, TIGHT_STIFFNESS, USUAL_FIT = 2.5, 1.4, 1.6
# Of both, where each may be a chance, but hardly both are:
USUAL_BOTH = 2.2
# What programs write beside energies per Angstrom:
ATOMIC_UNITS = ('Hartree', 'Ry')
# Root mean square forces of the usual frame, in eV/Angstrom:
LARGE_FORCE, COMMON_FORCE = 15.0, 1.5


class Units(NamedTuple):
    r"""What data may be in: the unit of energies, that of the energy in forces
    and that of the length in forces.
    """
    energy: str
    force: str
    per: str

    def __str__(self) -> str:
        return f'{self.energy} and {self.force}/{self.per}'


class Evidence(NamedTuple):
    r"""What tells units.

    Args:
        stiffness (float, optional): Of bonds to hydrogen, in what the data are
            said to be in.
        fit (float, optional): How much of a difference of energies there is
            for what forces say.
        total (float, optional): Energies in units of those of the atoms with
            all electrons, in Hartree.
        is_total (bool, optional): Whether that is no chance, as it may be of
            few compositions with other energies: those of the GFN2-xTB of
            ethanol in eV are twice the total ones in Hartree.
            (default: :obj:`False`)
    """
    stiffness: float | None
    fit: float | None
    total: float | None
    is_total: bool = False


def find_evidence(sample: Sample, pairs: Pairs,
                  length: float) -> tuple[Evidence, list[Remark]]:
    r"""Returns what tells the units, and remarks on signs.

    Args:
        sample (Sample): The frames.
        pairs (Pairs): Those that are near to each other.
        length (float): What a length of 1 in the sample is in Angstrom.
    """
    bonds, fit = bond_stiffness(sample, length), force_slope(sample, pairs)
    bonds = bonds if bonds and bonds.correlation > 0.8 else None
    fit = fit if fit and is_sure(fit) else None
    remarks, sure = [], [slope.slope for slope in (bonds, fit) if slope]
    if sure and max(sure) < 0:
        remarks.append(Remark(
            'Forces have the wrong sign: they point to where the energy '
            'rises. They are likely gradients: multiply them by -1'))
    return Evidence(abs(bonds.slope) if bonds else None,
                    abs(fit.slope) if fit else None,
                    *total_energies(sample)), remarks


def is_sure(slope: Slope) -> bool:
    r"""Returns whether a factor describes what it is about."""
    return slope.correlation > 0.95


def total_energies(sample: Sample) -> tuple[float | None, bool]:
    r"""Returns energies in units of those of the atoms with all electrons, in
    Hartree, if there is one factor for all frames, and whether there are so
    many compositions that this is no chance.
    """
    known = ~sample.energy.isnan() & ~sample.is_alone
    largest = int(sample.z.max())
    if not bool(known.any()) or largest == 1 or largest > len(ATOMS):
        return None, False
    atoms = torch.tensor((0.0, *ATOMS), dtype=torch.double)[sample.z]
    total = torch.zeros(len(sample), dtype=torch.double).index_add_(
        0, sample.batch, atoms)[known]
    ratio = sample.energy[known] / total
    middle = float(ratio.median())
    if middle <= 0 or float(
            ((ratio / middle - 1).abs() > 0.02).double().mean()) > 0.05:
        return None, False
    kinds = torch.stack([total, sample.sizes[known].double()]).round(
        decimals=3).unique(dim=1)
    heavy = total / sample.sizes[known]  # differs if the elements' shares do
    return middle, kinds.size(1) >= 4 and float(
        heavy.max() - heavy.min()) > 0.2 * float(heavy.abs().mean())


def find_units(evidence: Evidence, sample: Sample,
               length: str) -> list[Units] | None:
    r"""Returns the units that the data are likely in, the simplest ones, which
    may be several that cannot be told apart, or :obj:`None` if those that they
    are said to be in fit. There may be none that fit.

    Args:
        evidence (Evidence): What tells.
        sample (Sample): The frames.
        length (str): The unit of their lengths.
    """
    declared = sample.units['energy']
    said = Units(declared, declared, length)
    candidates = [said, *(Units(energy, *force) for energy, force in product(
        ALL_ENERGIES, _force_units(length)))]
    errors = {units: _errors(units, evidence, sample.units, length)
              for units in candidates}
    stiffness, fit, _ = errors[said]
    totals = [units for units in candidates if errors[units][2] == 0]
    wrong = evidence.is_total and len(totals) > 0 and said not in totals
    usual = (USUAL_STIFFNESS if length == sample.units['length'] else
             TIGHT_STIFFNESS)
    if (stiffness < math.log(usual) and fit < math.log(USUAL_FIT)
            and stiffness + fit < math.log(USUAL_BOTH) and not wrong):
        return None
    if evidence.stiffness is None and not evidence.is_total:
        # Nothing tells both: one is as it is said, or both are atomic units.
        candidates = [units for units in candidates if declared in units[:2]
                      or units[0] == units[1] in ATOMIC_UNITS]
    right: list[Units] = []
    for fits in (FITS, LOOSE_FIT):
        right = right or [units for units in candidates
                          if errors[units][0] < math.log(STIFFNESS)
                          and errors[units][1] < math.log(fits)]
    if evidence.total is not None:
        right = [units for units in right if errors[units][2] == 0] or right
    simple = {units: _complexity(units, said) for units in right}
    least = min(simple.values(), default=0)
    return sorted((units for units in dict.fromkeys(right)
                   if simple[units] == least),
                  key=lambda units: sum(errors[units][:2]))[:2]


def _force_units(length: str) -> list[tuple[str, str]]:
    r"""Returns the units of forces that there are in practice."""
    return [(energy, per) for energy, per in product(ALL_ENERGIES, LENGTHS)
            if per in (length, 'Angstrom') or per == 'Bohr'
            and energy in ATOMIC_UNITS or per == 'nm' and energy == 'kJ/mol']


def _errors(units: Units, evidence: Evidence, said: dict[str, str],
            length: str) -> tuple[float, float, float]:
    r"""Returns by how much, as logarithms, units miss the stiffness and the
    fit of energies and forces, and whether they miss the total energies.
    """
    longer = LENGTHS[length] / LENGTHS[said['length']]
    energy = ALL_ENERGIES[units.energy] / ENERGIES[said['energy']]
    force = ALL_ENERGIES[units.force] / ENERGIES[said['energy']] * (
        LENGTHS[said['length']] / LENGTHS[units.per])
    stiffness = fit = total = 0.0
    if evidence.stiffness is not None:
        stiffness = abs(math.log(evidence.stiffness * force / longer / USUAL))
    if evidence.fit is not None:
        fit = abs(math.log(evidence.fit * energy / (force * longer)))
    if evidence.total is not None:
        total = float(units.energy == 'Ry' or not BOUND[0] <
                      evidence.total * energy / HARTREE < BOUND[1])
    return stiffness, fit, total


def _complexity(units: Units, said: Units) -> tuple[int, int, int]:
    mixed = int(units.energy != units.force)
    return (mixed + int(units.per != said.per), mixed,
            int(said.energy not in units[:2]))


def unit_remark(units: list[Units], evidence: Evidence, sample: Sample,
                length: str) -> Remark:
    r"""Returns the remark on labels in other units than they are said to be
    in.
    """
    said = sample.units['energy']
    facts = []
    longer = LENGTHS[length] / LENGTHS[sample.units['length']]
    if evidence.stiffness is not None:
        times = evidence.stiffness / USUAL / longer**2
        if not 1 / STIFFNESS < times < STIFFNESS:
            facts.append(f'forces are about {in_digits(times)} times the '
                         f'usual, by the stiffness of bonds to hydrogen')
    if evidence.fit is not None:
        if 1 / USUAL_FIT < evidence.fit < USUAL_FIT:
            facts.append('energies go with them')
        else:
            facts.append(f'differences of energies are '
                         f'{in_digits(evidence.fit)} times what forces say')
    if units and evidence.is_total and _errors(
            units[0], evidence, sample.units, length)[2] == 0:
        facts.append(f'energies are those of all electrons in '
                     f'{units[0].energy}')
    text = f'Labels do not look like {said}: ' + ', '.join(facts)
    if not units:
        return Remark(f'{text}. Look at their units')
    first = units[0]
    if first.energy == first.force and first.per == length:
        others = ''.join(f' or {one.energy}' for one in units[1:])
        option = (f"'--units {first.energy}'" if first.energy in ENERGIES else
                  f'1 {first.energy} is {ALL_ENERGIES[first.energy]:.8g} eV')
        if length != sample.units['length']:
            option += f" and '--length_unit {length}'"
        return Remark(f'{text}. They are likely in {first.energy}{others}: '
                      f'convert them ({option})')
    others = ''.join(f', or {one}' for one in units[1:])
    return Remark(f'{text}. They are likely in {first}{others}: '
                  f'{_conversion(first, sample.units, length)}')


def _conversion(units: Units, said: dict[str, str], length: str) -> str:
    r"""Returns how labels get to be in units that fit together."""
    declared = said['energy']
    target = units.energy if units.energy in ENERGIES else 'eV'
    if declared in units[:2]:
        target = declared
    energy = ALL_ENERGIES[units.energy] / ENERGIES[target]
    force = ALL_ENERGIES[units.force] / ENERGIES[target] * (
        LENGTHS[length] / LENGTHS[units.per])
    steps = [f'multiply {name} by {factor:.6g} for {unit}'
             for name, factor, unit in (
                 ('energies', energy, target),
                 ('forces', force, f'{target}/{length}')) if factor != 1]
    options = [f"'--units {target}'"] if target != declared else []
    if length != said['length']:
        options.append(f"'--length_unit {length}'")
    then = f', then {" and ".join(options)}' if options else ''
    return ' and '.join(steps) + then


def in_digits(number: float) -> str:
    r"""Returns about two digits of a number."""
    return f'{number:.2g}' if number < 99.5 else f'{number:.0f}'


def magnitude_remark(sample: Sample) -> Remark | None:
    r"""Returns a remark on forces that are far too large in nearly all frames,
    where nothing else tells their unit.
    """
    if sample.force is None:
        return None
    square = sample.force.square().sum(dim=1)
    mean = torch.zeros(len(sample), dtype=torch.double).index_add_(
        0, sample.batch, square) / sample.sizes
    mean = mean[(mean > 0) & ~sample.is_alone].sqrt()
    if mean.numel() == 0 or float(mean.median()) < LARGE_FORCE:
        return None
    size, declared = float(mean.median()), sample.units['energy']
    times = size / COMMON_FORCE
    likely = min((name for name in ENERGIES if name != declared),
                 key=lambda name: abs(math.log(
                     times * ENERGIES[name] / ENERGIES[declared])))
    unit = f"{declared}/{sample.units['length']}"
    scale = ENERGIES[declared] / LENGTHS[sample.units['length']]
    return Remark(
        f'Labels do not look like {declared}: in half of all frames the root '
        f'mean square force is above {in_digits(size / scale)} {unit}, usual '
        f'are {0.05 / scale:.2g} to {in_digits(10 / scale)}. They are likely '
        f"in {likely}: convert them ('--units {likely}')")
