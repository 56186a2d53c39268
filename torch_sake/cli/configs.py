r"""Settings of the commands that have no package of their own."""

import math
from dataclasses import dataclass
from typing import Literal

from torch_sake.utils.plain_checks import (
    check_paths,
    check_positive_float,
    check_positive_int,
    check_seed,
)
from torch_sake.utils.settings import check_settings


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
    energy_unit: str | None = None
    length_unit: str | None = None

    def __post_init__(self):
        check_settings(self, ('out', ))


@dataclass
class EvaluateConfig:
    r"""What to measure.

    Args:
        checkpoint: Folder of a training run, or one of its checkpoints, or
            several, whose mean is measured, on other data.
        data: The data, as for 'train'. A checkpoint does not say where to
            find them.
        root: Folder of the data, as for 'train'.
        num_frames: Number of frames that are generated, as for 'train'.
        data_seed: Seed of frames that are generated, as for 'train'.
        part: 'test' takes the test frames of the run, if the data are its
            own, 'all' takes all frames. If not given, it is 'test' for the
            run's own data, 'all' for others.
        split: A split that the data are published with, whose test frames are
            taken, such as 'other' of 'iso17'.
        out: Folder of 'evaluation.json' and the pictures; 'evaluation' beside
            the checkpoint if not given, 'ensemble' beside the first of
            several.
        seed: Seed of the bootstrap of the confidence intervals.
        device: Where to compute; 'auto' takes a GPU if there is one.
    """
    checkpoint: str | list[str]
    data: str | None = None
    root: str | None = None
    num_frames: int | None = None
    data_seed: int | None = None
    part: Literal['test', 'all'] | None = None
    split: str | None = None
    out: str | None = None
    seed: int = 0
    device: str = 'auto'

    def __post_init__(self):
        check_settings(self, ('checkpoint', 'root', 'split', 'out'))
        self.checkpoint = check_paths('checkpoint', self.checkpoint)
        if len(self.checkpoint) > 1 and (self.data is None or self.split
                                         or self.part == 'test'):
            raise ValueError(f"'data' must be given, without 'split' or "
                             f"'part=test', for several checkpoints, which "
                             f"have test frames of their own (got "
                             f"{self.data!r})")
        check_seed('seed', self.seed)
        if self.num_frames is not None:
            check_positive_int('num_frames', self.num_frames)
        if self.data_seed is not None:
            check_seed('data_seed', self.data_seed)


@dataclass
class RelaxConfig:
    r"""What to relax.

    Args:
        checkpoint: Folder of a training run or one of its checkpoints.
        structure: A file that ASE reads ('file@3' is its fourth structure, if
            there is no file of just this name); that in the checkpoint, the
            first frame of the data of the run, if not given.
        out: Folder of the results; 'relax' beside the checkpoint if not given.
        cell: Whether the cell is relaxed, too.
        pressure: Pressure in GPa, if the cell is relaxed.
        fmax: Largest force at which the structure counts as relaxed, in
            eV/Angstrom.
        num_steps: Largest number of steps.
        vibrations: Whether vibrations are computed afterwards, by differences
            of forces.
        precision: Type of the numbers.
        device: Where to compute; 'auto' takes a GPU if there is one.
    """
    checkpoint: str
    structure: str | None = None
    out: str | None = None
    cell: bool = False
    pressure: float = 0.0
    fmax: float = 1e-3
    num_steps: int = 500
    vibrations: bool = False
    precision: Literal['float32', 'float64'] = 'float64'
    device: str = 'auto'

    def __post_init__(self):
        check_settings(self, ('checkpoint', 'structure', 'out'))
        check_positive_float('fmax', self.fmax)
        check_positive_int('num_steps', self.num_steps)
        if not math.isfinite(self.pressure) or (self.pressure != 0
                                                and not self.cell):
            raise ValueError(f"'pressure' must be finite, and zero without "
                             f"'cell' (got pressure={self.pressure} with "
                             f"cell={self.cell})")
