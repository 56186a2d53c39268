r"""Settings of the command that has no package of its own."""

from dataclasses import dataclass

from torch_sake.datasets.frames.config import LabelConfig
from torch_sake.utils.hints import Data, Path, check_settings
from torch_sake.utils.units import EnergyUnit, check_one_unit


@dataclass
class ConvertConfig(LabelConfig):
    r"""What to convert.

    Args:
        data: A file that ASE reads, such as extended XYZ or a database of ASE,
            or an npz file with the arrays of MD17.
        out: The file to write, which must not exist.
        energy_unit: The older name of 'units'.
    """
    data: Data
    out: Path
    energy_unit: EnergyUnit | None = None

    def __post_init__(self):
        check_settings(self)
        check_one_unit(self.energy_unit, self.units)
