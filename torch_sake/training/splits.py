r"""Which frames a run is fitted to, validated and tested on."""

import os.path as osp

import torch
from torch import Tensor

from torch_sake.datasets import (
    Split,
    published_split,
    random_split,
    read_split,
)
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.training.config import TrainConfig
from torch_sake.utils.plain_checks import require


def split_frames(frames: AnyFrames, config: TrainConfig,
                 candidates: Tensor | None = None) -> Split:
    r"""Returns the split of the frames that a run asks for.

    Args:
        frames (Frames or FramesOnDisk): The frames.
        config (TrainConfig): The run.
        candidates (torch.Tensor, optional): The indices of the frames that may
            be in it, ascending; all if not given. Those of a split that is
            read from a file, or published, are left out of it, too.
            (default: :obj:`None`)
    """
    if candidates is None:
        candidates = torch.arange(len(frames))
    seed = config.seed if frames.split_seed is None else frames.split_seed
    if config.split is None:
        start = frames.test_start
        if start is not None:
            start = int((candidates < start).sum())
        drawn = random_split(len(candidates), config.num_train, config.num_val,
                             config.num_test, seed, start)
        split = Split(*(candidates[part] for part in vars(drawn).values()))
    else:
        if osp.isfile(config.split):
            split = read_split(config.split, len(frames), config.split_prefix)
        else:
            split = published_split(frames.splits, config.split, len(frames),
                                    config.num_val, seed)
        split = Split(*(part[torch.isin(part, candidates)]
                        for part in vars(split).values()))
    for name in ('train', 'val'):
        require(getattr(split, name).numel() >= config.num_processes,
                f"The split must have at least one frame in '{name}' for each "
                f"device ({len(candidates)} frames in all)")
    return split
