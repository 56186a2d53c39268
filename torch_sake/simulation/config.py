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
class MDConfig:
    r"""What a simulation is made of. A seed fixes it.

    Args:
        checkpoint: Folder of a training run or one of its checkpoints; or a
            list of several, of which the mean is simulated.
        structure: A file that ASE reads ('file@3' is its fourth structure, if
            there is no file of just this name); that in the checkpoint, the
            first frame of the data of the run, if not given. Velocities in it
            are kept.
        out: Folder of the simulation; 'md' beside the checkpoint if not given.
        resume: Go on with the simulation in the folder 'out'.
        ensemble: 'nve' (constant energy), 'langevin' (constant volume, with
            the heat bath of Langevin) or 'npt' (constant pressure).
        num_steps: Number of steps, in all.
        timestep: Time step in fs.
        temperature: Temperature of the heat bath, and of the first velocities,
            in K; 0 begins 'nve' at rest.
        friction: Friction of the heat bath in 1/ps.
        pressure: Pressure of 'npt' in GPa.
        isotropic: Whether 'npt' keeps the shape of the cell.
        interval: Number of steps from one frame of the trajectory, and one row
            of the log, to the next.
        format: Format of the trajectory, 'extxyz' or 'traj' (ASE's own).
        max_force_std: Uncertainty of a force in eV/Angstrom at which the
            simulation stops, for several checkpoints: the length of the vector
            of standard deviations of an atom.
        seed: Seed of the first velocities and of the heat bath.
        precision: Type of the numbers; that of the checkpoint if not given.
        device: Where to compute; 'auto' takes a GPU if there is one.
        compile: Whether the potential is compiled, which takes up to a
            minute. If not given, simulations of at least 20,000 steps with
            models of this package are.
    """
    checkpoint: str | list[str]
    structure: str | None = None
    out: str | None = None
    resume: bool = False
    ensemble: Literal['nve', 'langevin', 'npt'] = 'langevin'
    num_steps: int = 10_000
    timestep: float = 0.5
    temperature: float = 300.0
    friction: float = 10.0
    pressure: float = 0.0
    isotropic: bool = True
    interval: int = 20
    format: Literal['extxyz', 'traj'] = 'extxyz'
    max_force_std: float | None = None
    seed: int = 0
    precision: Literal['float32', 'float64'] | None = None
    device: str = 'auto'
    compile: bool | None = None

    def __post_init__(self):
        check_settings(self, ('checkpoint', 'structure', 'out'))
        self.checkpoint = check_paths('checkpoint', self.checkpoint)
        check_seed('seed', self.seed)
        for name in ('num_steps', 'interval'):
            check_positive_int(name, getattr(self, name))
        for name in ('timestep', 'friction'):
            check_positive_float(name, getattr(self, name))
        if self.temperature != 0 or self.ensemble != 'nve':
            check_positive_float('temperature', self.temperature)
        if not math.isfinite(self.pressure):
            raise ValueError(f"'pressure' must be finite "
                             f"(got {self.pressure})")
        # What goes on has the settings it began with, whatever they were.
        if self.ensemble != 'npt' and not self.resume and (
                self.pressure != 0 or not self.isotropic):
            raise ValueError(
                f"'pressure' and 'isotropic' are settings of ensemble 'npt' "
                f"(got pressure={self.pressure}, isotropic={self.isotropic} "
                f"with {self.ensemble!r})")
        if self.max_force_std is not None:
            check_positive_float('max_force_std', self.max_force_std)
            if len(self.checkpoint) < 2:
                raise ValueError(f"'max_force_std' needs several checkpoints "
                                 f"(got {self.checkpoint})")
