r"""Whether a run has the repulsion of nuclei, and where it ends."""

import os.path as osp
import warnings
from dataclasses import replace
from typing import Any

from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.models.registry import MODELS
from torch_sake.potentials.description import Prior
from torch_sake.training.config import TrainConfig
from torch_sake.utils.hints import check_entry
from torch_sake.utils.inputs import LAST
from torch_sake.utils.messages import errors_name
from torch_sake.utils.units import KNOWN

# Of the sum of the covalent radii. Shortest of all bonds are those of N2, CO
# and C2H2, with 0.77 to 0.80 of it, and 0.70 where they are as hot as 1500 K.
# Up to the whole sum, where those of MACE end, walls of bonds would have to be
# learned away: force errors of ethanol were twice as large after 1200 steps.
SCALE = 0.7


def settle_repulsion(config: TrainConfig, frames: AnyFrames,
                     model: Any) -> TrainConfig:
    r"""Returns the settings with that of the repulsion, if it is not given:
    models of this package have it where energies are learned, and a run that
    goes on has what it had.

    Args:
        config (TrainConfig): The run.
        frames (Frames or FramesOnDisk): All frames.
        model (type or torch.nn.Module): The model, or its class.
    """
    if config.zbl is not None:
        return config
    if config.resume:
        return replace(config, zbl=found_prior(config) is not None)
    if frames.label != 'energy' or model not in MODELS.values():
        return replace(config, zbl=False)
    unknown = [frames.units[kind] for kind, known in KNOWN.items()
               if frames.units[kind] not in known]
    if unknown:
        warnings.warn(f"There is no repulsion of nuclei ('zbl') for data in "
                      f"other units than those that are known (got "
                      f"{', '.join(map(repr, unknown))})")
    return replace(config, zbl=not unknown)


def describe_repulsion(config: TrainConfig,
                       frames: AnyFrames) -> dict[str, Any] | None:
    r"""Returns what checkpoints say of the repulsion: what they said before,
    where a run goes on.
    """
    if config.resume:
        return found_prior(config)
    if not config.zbl:
        return None
    return {'cutoff': config.cutoff or 5.0, **frames.units, 'scale': SCALE}


def found_prior(config: TrainConfig) -> dict[str, Any] | None:
    r"""Returns what the checkpoint of a run that goes on says of it."""
    path = osp.join(config.out, LAST)
    _, description = load_checkpoint(path)
    with errors_name(path):
        return check_entry('prior', description.get('prior'), Prior | None)
