import inspect
from typing import Any

import torch

from torch_sake.models import VectorSAKE
from torch_sake.models.registry import name_of
from torch_sake.training.config import TrainConfig
from torch_sake.training.data import TrainingData
from torch_sake.utils.plain_checks import require


def build_model(
    kind: type, config: TrainConfig, data: TrainingData
) -> tuple[torch.nn.Module, dict[str, Any]]:
    r"""Returns an untrained model, and what checkpoints say of it.

    Args:
        kind (type): The class. It gets those settings of the model that its
            signature has, and the average number of neighbors of an atom as
            :obj:`avg_num_neighbors`.
        config (TrainConfig): The settings.
        data (TrainingData): The data.

    Raises:
        ValueError: If something is set that the model does not take.
    """
    parameters = inspect.signature(kind).parameters
    takes_all = any(parameter.kind is inspect.Parameter.VAR_KEYWORD
                    for parameter in parameters.values())
    arguments = dict(config.model_arguments)
    if 'cutoff' not in parameters and not takes_all and (
            config.cutoff == TrainConfig.cutoff):
        del arguments['cutoff']  # nobody has asked for it
    if data.frames.readout != 'add':
        arguments['readout'] = data.frames.readout
    for name, value in arguments.items():
        require(name in parameters or takes_all,
                f"'{name}' must not be given for {name_of(kind)}, which takes "
                f"{list(parameters)} (got {value!r})")
    if 'cutoff' in arguments:
        avg_num_neighbors = data.avg_num_neighbors(config.cutoff)
        if 'avg_num_neighbors' in parameters or issubclass(kind, VectorSAKE):
            arguments['avg_num_neighbors'] = avg_num_neighbors
    return kind(**arguments), {'name': name_of(kind), 'arguments': arguments}
