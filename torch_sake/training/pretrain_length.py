r"""How long a run that is pretrained was to be, before its own first step."""

import json
import os.path as osp
from dataclasses import replace
from typing import TypedDict

from torch_sake.training.config import TrainConfig
from torch_sake.utils.durations import Duration
from torch_sake.utils.hints import PositiveInt, check_entry
from torch_sake.utils.messages import errors_name
from torch_sake.utils.plain_checks import require


class Length(TypedDict):
    r"""How long a run and its pretraining are."""
    num_steps: PositiveInt | None
    max_time: Duration | None
    pretrain_steps: PositiveInt | None


def length_of(config: TrainConfig) -> Length:
    r"""Returns how long a run and its pretraining are."""
    return {'num_steps': config.num_steps, 'max_time': config.max_time,
            'pretrain_steps': config.pretrain_steps}


def keep_length_of_begun(config: TrainConfig, path: str) -> TrainConfig:
    r"""Returns the settings of a run that goes on in its pretraining, with the
    length it had if none is given.

    Args:
        config (TrainConfig): The run.
        path (str): What its pretraining has written of itself.

    Raises:
        ValueError: If nothing says how long it was, or a pretraining is given
            another length than it had.
    """
    if (config.num_steps, config.max_time) != (None, None):
        return config
    require(osp.exists(path),
            f"'num_steps' or 'max_time' must be given: the pretraining was "
            f"interrupted before it wrote them (got no '{path}')")
    given = config.pretrain_steps
    with errors_name(path), open(path) as file:
        found = check_entry('length', json.load(file)['length'], Length)
        steps = found['pretrain_steps']
        require(given in (None, steps),
                f"'pretrain_steps' must be {steps}, as they were, unless "
                f"'num_steps' is given, too (got {given})")
        return replace(config, **found)
