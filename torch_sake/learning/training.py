r"""Potentials of a loop: what they are unsure of, their errors, and how they
learn.
"""

import os.path as osp
import warnings
from collections.abc import Sequence
from typing import Any

import numpy
from torch_geometric.loader import DataLoader

from torch_sake.calculators.ase import SAKECalculator
from torch_sake.datasets.frames.charges import with_states
from torch_sake.datasets.frames.joined_frames import AnyFrames
from torch_sake.datasets.frames.split import Split
from torch_sake.evaluation.config import EVAL_BATCH_SIZE
from torch_sake.evaluation.metrics import error_metrics, predict
from torch_sake.evaluation.plots import plot_learning_curve
from torch_sake.evaluation.predictions import Predictions
from torch_sake.learning.config import LearnConfig
from torch_sake.potentials.electrons import any_embeds_charge
from torch_sake.potentials.load import load_potential, load_trained
from torch_sake.training.config import TrainConfig
from torch_sake.training.trainer import Trainer
from torch_sake.utils.device import choose_device
from torch_sake.utils.files import replace_when_complete
from torch_sake.utils.inputs import LAST
from torch_sake.utils.units import check_units


def predictions(checkpoints: list[str], frames: AnyFrames,
                device: str) -> Predictions:
    r"""Returns what a potential, or an ensemble, says of frames in its own
    units.
    """
    potential = load_trained(checkpoints).potential
    place = choose_device(device)
    frames, _ = with_states(frames, any_embeds_charge(potential))
    return predict(potential.to(place),
                   DataLoader(frames, batch_size=EVAL_BATCH_SIZE), place)


def errors_of(outputs: Predictions, units: dict[str, str]
              ) -> dict[str, float | None]:
    r"""Returns the root mean square errors of energies in eV and of the
    components of forces in eV/Angstrom.
    """
    length, energy = check_units(units)
    found = error_metrics(outputs)
    factors = {'energy': energy, 'force': energy / length}
    return {name: found[f'{name}_rmse'] * factor
            if f'{name}_rmse' in found else None
            for name, factor in factors.items()}


def uncertainty_on(checkpoints: list[str], structures: Sequence[Any],
                   device: str) -> float:
    r"""Returns the largest uncertainty of a force in eV/Angstrom of each
    structure, in the median of all of them: few outliers do not count.

    Args:
        checkpoints ([str]): The potential, or those of an ensemble.
        structures ([ase.Atoms]): The structures.
        device (str): Where to compute.
    """
    calculator = SAKECalculator(checkpoints, device=device)
    largest = []
    for atoms in structures:
        calculator.calculate(atoms, ['forces'])
        largest.append(numpy.linalg.norm(
            calculator.results['forces_std'], axis=1).max())
    return float(numpy.median(largest))


def warn_of_another_zero(path: str, outputs: Predictions, checkpoint: str,
                         units: dict[str, str]) -> None:
    r"""Warns if energies of the user differ, in the mean per atom, from those
    of the potential by more than its scale: few frames should not teach that.

    Args:
        path (str): The file of the energies.
        outputs (Predictions): What the potential says of its frames.
        checkpoint (str): The potential, or one of an ensemble.
        units (dict): Those of the potential.
    """
    mean = -float(outputs.errors()['energy_per_atom'].mean())
    if abs(mean) > load_potential(checkpoint).energy_scale:
        _, energy = check_units(units)
        warnings.warn(f"'{path}': The energies are {mean * energy:.4g} eV per "
                      f"atom away from what the potential says, in the mean: "
                      f"they must be of its level of theory, that of 'data'; "
                      f"for those of another one, 'init' needs 'refit'")


def write_split(path: str, split: Split) -> None:
    r"""Writes a split to a file, as 'train' reads it."""
    with replace_when_complete(path) as temporary:
        numpy.savez(temporary, **{name: part.numpy()
                                  for name, part in vars(split).items()})


def train(config: LearnConfig, out: str, frames: AnyFrames, split: str,
          init: str | None, **settings: Any) -> None:
    r"""Trains a potential, or goes on.

    Args:
        config (LearnConfig): The loop.
        out (str): The folder of the run.
        frames (Frames, FramesOnDisk or JoinedFrames): The frames.
        split (str): The file of their split.
        init (str or None): The potential to start from.
        **settings (optional): Further settings of the run.
    """
    resume = osp.exists(osp.join(out, LAST))
    trainer = Trainer(TrainConfig(
        split=split, out=out, resume=resume, init=init,
        batch_size=config.batch_size, energy_weight=config.energy_weight,
        energy_per_atom=config.energy_per_atom,
        val_interval=config.val_interval, device=config.device,
        compile=config.compile, **settings), frames=frames)
    trainer.fit()
    plot_learning_curve(trainer.history, frames.units, out)
