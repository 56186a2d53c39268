r"""The units that data and potentials may be in."""

from typing import Any, Dict, Tuple

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
}


def check_units(units: Any) -> Tuple[float, float]:
    r"""Returns the unit of length in Angstrom and that of energy in eV.

    Args:
        units (dict): The names of both, with the keys :obj:`'length'` and
            :obj:`'energy'`.

    Raises:
        ValueError: If a key is missing or a unit is not known.
    """
    if not isinstance(units, Dict) or set(units) != {'length', 'energy'}:
        raise ValueError(f"'units' must have the keys 'length' and 'energy' "
                         f"(got {units})")
    for key, known in (('length', LENGTHS), ('energy', ENERGIES)):
        if units[key] not in known:
            raise ValueError(f"'{key}' must be one of {sorted(known)} "
                             f"(got {units[key]!r})")
    return LENGTHS[units['length']], ENERGIES[units['energy']]
