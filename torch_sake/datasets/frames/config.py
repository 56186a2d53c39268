from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch_sake.utils.units import EnergyUnit, LengthUnit


@dataclass(kw_only=True)
class LabelConfig:
    r"""What the labels of a file are called, and their units.

    Args:
        energy_key: Name of the energies in the file, if it is none of
            'energy', 'REF_energy' and, where it is alone, 'free_energy';
            'none' reads none, as with the other names.
        forces_key: Name of the forces, if it is neither 'forces' nor
            'REF_forces'.
        stress_key: Name of the stresses, if it is neither 'stress' nor
            'REF_stress'.
        virial_key: Name of the virials, minus stress times volume, if it is
            none of 'virial', 'virials', 'REF_virial' and 'REF_virials'.
        units: Unit of the energies of the file, such as 'kcal/mol', if it is
            not the usual one. Forces are in this unit per unit of length. If
            it is given, 'train' converts all to eV and Angstrom, in which
            other settings are then, too; 'evaluate' converts to the units of
            the potential anyway; 'convert' keeps the numbers.
        length_unit: Unit of the lengths of the file, such as 'Bohr', if it is
            not the usual one. What is converted is the same.
    """
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None
    units: EnergyUnit | None = None
    length_unit: LengthUnit | None = None


LABEL_OPTIONS = tuple(field.name for field in fields(LabelConfig))


def label_options(config: Mapping[str, Any]) -> dict[str, Any]:
    r"""Returns these settings of a configuration."""
    return {name: config.get(name) for name in LABEL_OPTIONS}
