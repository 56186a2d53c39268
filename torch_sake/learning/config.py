from dataclasses import dataclass
from typing import Annotated, Any

from torch_sake.datasets.frames.config import LabelConfig
from torch_sake.utils.hints import (
    Cutoff,
    Fraction,
    NotNegative,
    Path,
    Paths,
    PositiveFloat,
    PositiveInt,
    Seed,
    Sources,
    check_settings,
)
from torch_sake.utils.names import check_calculator_name
from torch_sake.utils.plain_checks import check_single, require, to_list

FILES = 'files'
# What the potential of 'init' has already:
OF_MODEL = ('hidden_channels', 'num_layers', 'cutoff', 'embed_charge')


def check_label(name: str, value: str) -> str:
    r"""Checks what makes labels. Nothing is imported."""
    return check_calculator_name(name, value, (FILES, ))


def check_temperatures(name: str, value: Any) -> list[float]:
    r"""Returns temperatures as a list of different ones."""
    values = [float(check_single(name, one)) for one in to_list(name, value)]
    require(len({*values}) == len(values),
            f"'{name}' must be different ones (got {values})")
    return values


Label = Annotated[str, check_label]
Temperatures = Annotated[float | list[float], check_temperatures]


@dataclass
class LearnConfig(LabelConfig):
    r"""What a loop of active learning is made of: simulations, labels where
    the potential is unsure, training on these, and again. A seed fixes it.

    Args:
        structures: A file that ASE reads, or several, of the structures that
            simulations start from: all in it, or one ('file@3' is the
            fourth).
        label: What labels structures: 'xtb' (GFN2-xTB), a calculator of ASE by
            its import path, such as 'ase.calculators.emt:EMT', or 'files': the
            structures are written to a file 'to_label.extxyz', and read from
            'labeled.extxyz' beside it, or 'labeled' with another ending, when
            the same command is run again.
        data: Labeled frames to learn from, as for 'train'. Of the data of the
            run of 'init', its training and validation frames are taken.
        init: Checkpoint, folder of a run, or 'pretrained:NAME', whose
            potential the loop starts from, or several for an ensemble. If not
            given, the first potential is trained on 'data'.
        root: Folder of the data, as for 'train'.
        num_frames: Number of frames that are generated, as for 'train'.
        data_seed: Seed of frames that are generated, as for 'train'.
        num_val: Number of validation frames of 'data': 50, or 10 % of fewer
            than 1000 frames, if not given.
        out: Folder of the loop. The same command goes on with what is in it.
        temperatures: Temperature of the simulations in K, or several.
        time: Length of each simulation in ps.
        timestep: Time step in fs.
        friction: Friction of the heat bath in 1/ps.
        interval: Number of steps from one frame of a simulation, which may be
            labeled, to the next.
        num_walkers: Number of simulations of each structure at each
            temperature.
        max_force_std: Uncertainty of a force in eV/Angstrom at which a
            simulation stops: the length of the vector of standard deviations
            of an atom. If not given, it is 'std_factor' times what there is on
            validation frames of 'data' before the first round, and stays.
        std_factor: The uncertainty at which a simulation stops, in multiples
            of the largest one of a validation frame, in the median of these.
        num_rounds: Largest number of rounds of simulations.
        num_labels: Largest number of structures that are labeled in a round.
        min_distance: Structures count as the same, of which one is labeled,
            if their interatomic distances differ by less than this root mean
            square in Angstrom.
        val_fraction: Share of the new frames of a round that are for
            validation.
        num_processes: Number of processes that label; those of the machine if
            not given.
        num_members: Number of potentials that are trained on 'data', an
            ensemble if more than one; that of 'init', if it is given.
        num_steps: Number of steps of the first training, on 'data'.
        learning_rate: Largest learning rate of the first training.
        finetune_steps: Number of steps of the training of each round, which
            starts from the potential before it.
        finetune_learning_rate: Largest learning rate of it.
        refit: Whether the atomic energies of the potential of 'init' are
            shifted to fit the first frames that it learns, for labels of
            another level of theory.
        batch_size: Number of frames of a step, as for 'train'.
        energy_weight: Weight of the energies in the loss, as for 'train'.
        energy_per_atom: Whether errors of energies in the loss are divided by
            the number of atoms, as for 'train'.
        val_interval: Number of steps from one validation to the next.
        hidden_channels: Size of the hidden features of the first potential;
            the model's default if not given.
        num_layers: Number of its layers, in the same way.
        cutoff: Distance from which on atoms do not see each other, in
            Angstrom; null for all pairs.
        embed_charge: Whether it takes charges and spins, as for 'train'.
        seed: Seed of the split, the simulations, the choice of frames and the
            trainings.
        device: Where to compute; 'auto' takes a GPU if there is one.
        compile: Whether trainings and simulations are compiled. If not given,
            trainings are as by 'train'; simulations, which may be short, are
            not.
    """
    structures: Paths
    label: Label
    data: Sources | None = None
    init: Paths | None = None
    root: Path | None = None
    num_frames: PositiveInt | None = None
    data_seed: Seed = 0
    num_val: PositiveInt | None = None
    out: Path = 'runs/learn'
    temperatures: Temperatures = 300.0
    time: PositiveFloat = 10.0
    timestep: PositiveFloat = 0.5
    friction: PositiveFloat = 10.0
    interval: PositiveInt = 20
    num_walkers: PositiveInt = 2
    max_force_std: PositiveFloat | None = None
    std_factor: PositiveFloat = 5.0
    num_rounds: PositiveInt = 10
    num_labels: PositiveInt = 20
    min_distance: NotNegative = 0.02
    val_fraction: Fraction = 0.1
    num_processes: PositiveInt | None = None
    num_members: PositiveInt | None = None
    num_steps: PositiveInt = 5000
    learning_rate: PositiveFloat = 3e-3
    finetune_steps: PositiveInt = 2000
    finetune_learning_rate: PositiveFloat = 1e-3
    refit: bool = False
    batch_size: PositiveInt = 8
    energy_weight: NotNegative = 0.02
    energy_per_atom: bool = False
    val_interval: PositiveInt = 200
    hidden_channels: PositiveInt | None = None
    num_layers: PositiveInt | None = None
    cutoff: Cutoff | None = 5.0
    embed_charge: bool = False
    seed: Seed = 0
    device: str = 'auto'
    compile: bool | None = None

    def __post_init__(self):
        check_settings(self)
        require(self.data is not None or self.init is not None,
                "'data' or 'init' must be given: what to begin with")
        require(self.data is not None or self.max_force_std is not None,
                "'max_force_std' must be given without 'data', from whose "
                "validation frames it would follow")
        require(self.init is not None or not self.refit,
                "'refit' needs 'init'")
        number = None if self.init is None else len(self.init)
        require(self.num_members in (None, number) or number is None,
                f"'num_members' must be that of 'init', {number} "
                f"(got {self.num_members})")
        require(self.num_md_steps >= 1,
                f"'time' must be at least a step, {self.timestep} fs "
                f"(got {self.time} ps)")
        for name in OF_MODEL:
            require(self.init is None or getattr(self, name) == getattr(
                type(self), name),
                    f"'{name}' must not be given for the potential of 'init', "
                    f"which has its own (got {getattr(self, name)})")

    @property
    def num_md_steps(self) -> int:
        r"""The number of steps of each simulation."""
        return round(1000 * self.time / self.timestep)

    @property
    def size(self) -> int:
        r"""The number of potentials of the ensemble, one for none."""
        return len(self.init) if self.init else self.num_members or 1
