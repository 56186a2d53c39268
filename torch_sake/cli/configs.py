r"""Settings of the command that has no package of its own."""

from dataclasses import dataclass

from torch_sake.utils.hints import Data, Path, check_settings


@dataclass
class ConvertConfig:
    r"""What to convert.

    Args:
        data: A file that ASE reads, such as extended XYZ or a database of ASE,
            or an npz file with the arrays of MD17.
        out: The file to write, which must not exist.
        energy_unit: The unit of energies, if it is another than eV, or
            kcal/mol in an npz file that declares none. Numbers are kept as
            they are.
        length_unit: The unit of lengths, if it is another than Angstrom and
            the file declares none.
    """
    data: Data
    out: Path
    energy_unit: str | None = None
    length_unit: str | None = None

    def __post_init__(self):
        check_settings(self)
