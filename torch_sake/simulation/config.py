from dataclasses import dataclass
from typing import Literal

from torch_sake.utils.hints import (
    FiniteFloat,
    ModelPath,
    NotNegative,
    Path,
    Paths,
    PositiveFloat,
    PositiveInt,
    Seed,
    check_settings,
)
from torch_sake.utils.plain_checks import require


@dataclass
class MDConfig:
    r"""What a simulation is made of. A seed fixes it.

    Args:
        checkpoint: Folder of a training run, one of its checkpoints, or
            'pretrained:NAME', a potential that comes with the package; or a
            list of several, of which the mean is simulated.
        structure: A file that ASE reads ('file@3' is its fourth structure, if
            there is no file of just this name); that in the checkpoint, the
            first frame of the data of the run, if not given. Velocities in it
            are kept.
        charge: Total charge of the structure in units of e, in the place of
            what its file says, for a potential of 'embed_charge'.
        spin: Its multiplicity, 1 for a singlet.
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
            simulation stops, for a checkpoint that has uncertainties or for
            several checkpoints: the length of the vector of standard
            deviations of an atom.
        seed: Seed of the first velocities and of the heat bath.
        precision: Type of the numbers; that of the checkpoint if not given.
        device: Where to compute; 'auto' takes a GPU if there is one.
        compile: Whether the potential is compiled, which takes up to a
            minute. If not given, simulations of at least 20,000 steps with
            models of this package are.
        model: Import path of the class of the model, for a checkpoint with one
            of your own, such as 'my_package.my_module:MyModel'.
    """
    checkpoint: Paths
    structure: Path | None = None
    charge: int | None = None
    spin: PositiveInt | None = None
    out: Path | None = None
    resume: bool = False
    ensemble: Literal['nve', 'langevin', 'npt'] = 'langevin'
    num_steps: PositiveInt = 10_000
    timestep: PositiveFloat = 0.5
    temperature: NotNegative = 300.0
    friction: PositiveFloat = 10.0
    pressure: FiniteFloat = 0.0
    isotropic: bool = True
    interval: PositiveInt = 20
    format: Literal['extxyz', 'traj'] = 'extxyz'
    max_force_std: PositiveFloat | None = None
    seed: Seed = 0
    precision: Literal['float32', 'float64'] | None = None
    device: str = 'auto'
    compile: bool | None = None
    model: ModelPath | None = None

    def __post_init__(self):
        check_settings(self)
        require(self.temperature > 0 or self.ensemble == 'nve',
                f"'temperature' must be positive for ensemble "
                f"{self.ensemble!r} (got {self.temperature})")
        # What goes on has the settings it began with, whatever they were.
        require(self.ensemble == 'npt' or self.resume or
                (self.pressure == 0 and self.isotropic),
                f"'pressure' and 'isotropic' are settings of ensemble 'npt' "
                f"(got pressure={self.pressure}, isotropic={self.isotropic} "
                f"with {self.ensemble!r})")


@dataclass
class RelaxConfig:
    r"""What to relax.

    Args:
        checkpoint: Folder of a training run, one of its checkpoints, or
            'pretrained:NAME'.
        structure: A file that ASE reads ('file@3' is its fourth structure, if
            there is no file of just this name); that in the checkpoint, the
            first frame of the data of the run, if not given.
        charge: Total charge of the structure in units of e, in the place of
            what its file says, for a potential of 'embed_charge'.
        spin: Its multiplicity, 1 for a singlet.
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
        model: Import path of the class of the model, for a checkpoint with one
            of your own, such as 'my_package.my_module:MyModel'.
    """
    checkpoint: Path
    structure: Path | None = None
    charge: int | None = None
    spin: PositiveInt | None = None
    out: Path | None = None
    cell: bool = False
    pressure: FiniteFloat = 0.0
    fmax: PositiveFloat = 1e-3
    num_steps: PositiveInt = 500
    vibrations: bool = False
    precision: Literal['float32', 'float64'] = 'float64'
    device: str = 'auto'
    model: ModelPath | None = None

    def __post_init__(self):
        check_settings(self)
        require(self.pressure == 0 or self.cell,
                f"'pressure' must be finite, and zero without 'cell' "
                f"(got pressure={self.pressure} with cell={self.cell})")
