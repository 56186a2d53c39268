from dataclasses import dataclass


@dataclass(kw_only=True)
class LabelConfig:
    r"""What the labels of a file are called, and their units.

    Args:
        energy_key: Name of the energies in the file, if it is none of
            'energy', 'REF_energy' and, where it is alone, 'free_energy'.
        forces_key: Name of the forces, if it is neither 'forces' nor
            'REF_forces'.
        stress_key: Name of the stresses, if it is neither 'stress' nor
            'REF_stress'.
        virial_key: Name of the virials, minus stress times volume, if it is
            none of 'virial', 'virials', 'REF_virial' and 'REF_virials'.
        units: Unit of the energies of the file, such as 'kcal/mol', if it is
            not the usual one.
        length_unit: Unit of the lengths of the file, such as 'Bohr', if it is
            not the usual one.
    """
    energy_key: str | None = None
    forces_key: str | None = None
    stress_key: str | None = None
    virial_key: str | None = None
    units: str | None = None
    length_unit: str | None = None
