r"""Uncertainties of the best potential of a run, at its end."""

import warnings

import torch

from torch_sake.checkpoint import load_checkpoint
from torch_sake.evaluation.fit_uncertainty import (
    MAX_FRAMES,
    fit_rigidity,
    sample,
    write_uncertainty,
)
from torch_sake.potentials.load import build_predictor
from torch_sake.potentials.potential import Potential
from torch_sake.potentials.uncertainty import has_features
from torch_sake.training.config import TrainConfig
from torch_sake.training.data import TrainingData
from torch_sake.utils.global_state import use_deterministic_algorithms
from torch_sake.utils.inputs import find_checkpoint

# Of the training frames that a run has seen, as many times as it has seen
# them, of those for validation, which have forces, and of both at least:
SHARE, VAL_SHARE, MIN_FRAMES = 0.1, 0.025, 100


def add_uncertainty(config: TrainConfig, data: TrainingData, num_steps: int,
                    device: torch.device) -> None:
    r"""Adds uncertainties to the best checkpoint of a run, if it has none and
    its model is one of this package that sums over atoms.

    Args:
        config (TrainConfig): The run.
        data (TrainingData): Its data.
        num_steps (int): The number of its steps: the time that this takes is a
            small part of theirs.
        device (torch.device): Where to compute.
    """
    path = find_checkpoint(config.out)
    tensors, description = load_checkpoint(path)
    if (description.get('kind') == 'property' or description['model'] is None
            or 'uncertainty' in description):
        return
    if ':' in description['model']['name']:  # of the user
        return
    potential = build_predictor(tensors, description)
    if not isinstance(potential, Potential) or not has_features(
            potential.model):
        return
    val = data.frames[data.split.val]
    if config.deterministic:
        use_deterministic_algorithms()
    limit = config.batch_limit
    seen = num_steps * limit.number / float(data.sizes.double().mean())
    train = data.frames[data.split.train.sort().values]
    loaders = [data.eval_limit.batches(frames[sample(frames, min(
        MAX_FRAMES, max(MIN_FRAMES, int(share * seen))))])
        for frames, share in ((train, SHARE), (val, VAL_SHARE))]
    try:
        rigidity = fit_rigidity(potential.to(device), *loaders)
    except (ValueError, torch.linalg.LinAlgError) as error:  # it is trained
        warnings.warn(f'The potential gets no uncertainties: {error}')
        return
    write_uncertainty(path, rigidity)
