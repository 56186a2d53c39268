r"""The units that data and potentials may be in."""

from collections.abc import Mapping
from typing import Annotated, Any

from torch_sake.utils.files import read_arrays
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import check_option, require

MOLE = 6.02214076e23
ELECTRONVOLT = 1.602176634e-19  # J
BOHR = 0.529177210903  # Angstrom
LENGTHS = {'Angstrom': 1.0, 'Bohr': BOHR, 'nm': 10.0}  # in Angstrom
ENERGIES = {  # in eV
    'eV': 1.0,
    'meV': 1e-3,
    'kcal/mol': 4184 / MOLE / ELECTRONVOLT,
    'kJ/mol': 1000 / MOLE / ELECTRONVOLT,
    'Hartree': 4.3597447222071e-18 / ELECTRONVOLT,
    'Rydberg': 4.3597447222071e-18 / ELECTRONVOLT / 2,
}
ASE_UNITS = {'length': 'Angstrom', 'energy': 'eV'}
KNOWN = {'length': LENGTHS, 'energy': ENERGIES}
# Usual spellings, in lower case, which stand for any. That of 'meV' matters.
SPELLINGS = {
    'a': 'Angstrom', 'å': 'Angstrom',
    'ang': 'Angstrom', 'angstrom': 'Angstrom', 'a0': 'Bohr', 'bohr': 'Bohr',
    'nm': 'nm', 'ev': 'eV', 'kcal/mol': 'kcal/mol', 'kj/mol': 'kJ/mol',
    'ha': 'Hartree', 'hartree': 'Hartree', 'ry': 'Rydberg',
    'rydberg': 'Rydberg',
}
DECLARATIONS = {'length': 'r_unit', 'energy': 'e_unit'}  # those of sGDML
# What arguments with a unit are called:
ARGUMENTS = {'energy': 'units', 'length': 'length_unit'}


def check_units(units: Any) -> tuple[float, float]:
    r"""Returns the unit of length in Angstrom and that of energy in eV.

    Args:
        units (dict): The names of both, with the keys :obj:`'length'` and
            :obj:`'energy'`.

    Raises:
        ValueError: If a key is missing or a unit is not known.
    """
    require(isinstance(units, dict) and set(units) == {'length', 'energy'},
            f"'units' must have the keys 'length' and 'energy' (got {units})")
    for key, known in KNOWN.items():
        check_option(key, units[key], known)
    return LENGTHS[units['length']], ENERGIES[units['energy']]


def check_units_of_label(name: str, units: dict[str, str]) -> dict[str, str]:
    r"""Checks the units of lengths, and of labels that may be no energies."""
    require(len(units) == 2 and units.get('length') in LENGTHS,
            f"'{name}' must have the keys 'length', one of {sorted(LENGTHS)}, "
            f"and the name of a label (got {units})")
    return units


def find_unit(kind: str, spelling: str, name: str) -> str:
    r"""Returns the name of a unit that may be spelled in another usual way.

    Args:
        kind (str): What it is a unit of, :obj:`"length"` or :obj:`"energy"`.
        spelling (str): The unit.
        name (str): What messages call it.

    Raises:
        ValueError: If the unit is not known.
    """
    known = KNOWN[kind]
    unit = spelling if spelling in known else SPELLINGS.get(
        str(spelling).lower())
    meant = f'{str(spelling).lower()}/mol'  # as of no mole
    hint = f": '{SPELLINGS[meant]}'?" if SPELLINGS.get(meant) in known else ''
    require(unit in known,
            f"{name} must be one of {sorted(known)} (got {spelling!r}{hint})")
    return unit


def check_energy_unit(name: str, value: str) -> str:
    r"""Returns the name of a unit of energy."""
    return find_unit('energy', value, f"'{name}'")


def check_length_unit(name: str, value: str) -> str:
    r"""Returns the name of a unit of length."""
    return find_unit('length', value, f"'{name}'")


EnergyUnit = Annotated[str, check_energy_unit]
LengthUnit = Annotated[str, check_length_unit]


def given_units(units: str | None, length_unit: str | None) -> dict[str, str]:
    r"""Returns the names of the units that are given."""
    given = {'energy': units, 'length': length_unit}
    return {kind: find_unit(kind, unit, f"'{ARGUMENTS[kind]}'")
            for kind, unit in given.items() if unit is not None}


def check_one_unit(energy_unit: str | None, units: str | None) -> None:
    r"""Checks that a unit is not given by its older name, too."""
    require(energy_unit is None or units is None,
            f"'units' must not be given beside its older name 'energy_unit' "
            f"(got {units!r} and {energy_unit!r})")


def check_given_units(where: str, given: Mapping[str, str],
                      units: Mapping[str, str]) -> None:
    r"""Raises an error if units that are given are not those that are known.
    """
    for kind, unit in given.items():
        require(kind in units,
                f"{where}: '{ARGUMENTS[kind]}' must not be given for data "
                f"whose labels are no energies (got {unit!r})")
        require(unit == units[kind],
                f"{where}: '{ARGUMENTS[kind]}' must be that of the file, "
                f"'{units[kind]}' (got '{unit}')")


def conversion_factors(units: Mapping[str, str],
                       target: Mapping[str, str]) -> dict[str, float]:
    r"""Returns what the numbers of frames are multiplied by for other units,
    by their names.
    """
    (length, energy), (to_length, to_energy) = map(check_units,
                                                   (units, target))
    length, energy = length / to_length, energy / to_energy
    return {'pos': length, 'cell': length, 'energy': energy,
            'force': energy / length, 'stress': energy / length**3}


def read_units(path: PathLike, default: dict[str, str],
               given: dict[str, str] | None = None) -> dict[str, str]:
    r"""Returns the units of an :obj:`.npz` file: those that it declares, as
    files of sGDML do by :obj:`e_unit` and :obj:`r_unit`, or else those given.

    Args:
        path (str or os.PathLike): The file.
        default (dict): The units of a file that declares none.
        given (dict, optional): The names of units that are known from
            elsewhere, of lengths, of energies or of both.
            (default: :obj:`None`)

    Raises:
        ValueError: If the file declares a unit that is not known or is not the
            one given.
    """
    given = given or {}
    units = {**default, **given}
    declared = read_arrays(path, optional=list(DECLARATIONS.values()))
    for kind, key in DECLARATIONS.items():
        if key not in declared:
            continue
        spelling = ' '.join(declared[key].astype(str).ravel())
        units[kind] = find_unit(kind, spelling, f"'{path}': '{key}'")
        if kind in given:
            check_given_units(f"'{path}'", {kind: given[kind]}, units)
    return units
