from dataclasses import dataclass
from typing import Optional

from torch_sake.datasets import convert_frames
from torch_sake.files import check_local
from torch_sake.training.report import describe_labels


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
    data: str
    out: str
    energy_unit: Optional[str] = None
    length_unit: Optional[str] = None

    def __post_init__(self):
        check_local(self, 'data', 'out')


def convert(config: ConvertConfig) -> None:
    r"""Converts labeled structures to a file that training reads frame by
    frame.
    """
    frames = convert_frames(config.data, config.out, config.energy_unit,
                            config.length_unit)
    print(f'{config.out}: {len(frames)} frames of up to '
          f'{int(frames.num_atoms.max())} atoms, of atomic numbers '
          f'{frames.elements}, with {describe_labels(frames)} '
          f"({frames.units['energy']}, {frames.units['length']})")
