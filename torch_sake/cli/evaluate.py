import os.path as osp
from dataclasses import dataclass
from typing import Any, Dict, List, Literal, Optional, Tuple, Union

import torch
from torch import Tensor
from torch_geometric.loader import DataLoader

from torch_sake.checkpoint import (file_of, folder_of, load_checkpoints,
                                   load_predictor)
from torch_sake.checks import (check_known_elements, check_paths,
                               check_seed)
from torch_sake.datasets import load_frames, published_split
from torch_sake.datasets.load import AnyFrames, load_config_frames
from torch_sake.description import RunDescription
from torch_sake.device import choose_device
from torch_sake.entries import check_entry, errors_name
from torch_sake.training.batching import EVAL_BATCH_SIZE
from torch_sake.training.data import frames_fingerprint
from torch_sake.training.metrics import predict, trivial_labels
from torch_sake.training.report import check_units, report_errors


@dataclass
class EvaluateConfig:
    r"""What to measure.

    Args:
        checkpoint: Folder of a training run, or one of its checkpoints, or
            several, whose mean is measured, on other data.
        data: The data, as for 'train'; those of the run if not given.
        root: Folder of the data, as for 'train'.
        part: 'test' takes the test frames of the run's own data, 'all' takes
            all frames; 'test' if no data are given, 'all' otherwise.
        split: A split that the data are published with, whose test frames are
            taken, such as 'other' of 'iso17'.
        out: Folder of 'evaluation.json' and the pictures; 'evaluation' beside
            the checkpoint if not given, 'ensemble' beside the first of
            several.
        seed: Seed of the bootstrap of the confidence intervals.
        device: Where to compute; 'auto' takes a GPU if there is one.
    """
    checkpoint: Union[str, List[str]]
    data: Optional[str] = None
    root: Optional[str] = None
    part: Optional[Literal['test', 'all']] = None
    split: Optional[str] = None
    out: Optional[str] = None
    seed: int = 0
    device: str = 'auto'

    def __post_init__(self):
        self.checkpoint = check_paths('checkpoint', self.checkpoint)
        if len(self.checkpoint) > 1 and (self.data is None or self.split
                                         or self.part == 'test'):
            raise ValueError(f"'data' must be given, without 'split' or "
                             f"'part=test', for several checkpoints, which "
                             f"have test frames of their own (got "
                             f"{self.data!r})")
        check_seed('seed', self.seed)


def evaluate(config: EvaluateConfig) -> None:
    r"""Measures the errors of a trained potential or property, or of an
    ensemble of potentials.
    """
    device = choose_device(config.device)
    potential, tensors, description = load_predictor(config.checkpoint[0])
    if len(config.checkpoint) == 1:
        name = 'evaluation'
        elements = description['elements']
    else:
        name = 'ensemble'
        potential, _, elements = load_checkpoints(config.checkpoint)
    path = file_of(config.checkpoint[0])
    with errors_name(path):
        check_entry('', description, RunDescription)
    run = description['config']
    if config.data in (None, run['data']):
        frames = load_config_frames(
            dict(run, root=config.root or run['root']))
    else:
        frames = load_frames(config.data, root=config.root)
    check_units(frames.units, description['units'])
    with errors_name(path):  # which need not have a split
        frames, part = choose_frames(frames, config, tensors, description)
    loader = DataLoader(frames, batch_size=EVAL_BATCH_SIZE)
    present = torch.cat([data.z.unique() for data in loader]).unique()
    check_known_elements('The data have', present.tolist(), elements)

    trivial = trivial_labels(potential, loader)
    dtype = next(potential.parameters()).dtype
    outputs = predict(potential.to(device), loader, dtype, device)
    out = config.out or osp.join(folder_of(config.checkpoint[0]), name)
    report_errors(outputs, trivial, frames.units, out, 'evaluation',
                  f'Errors of {", ".join(config.checkpoint)} on {part} '
                  f'frames of {frames.source} ({len(frames)})', config.seed)


def choose_frames(frames: AnyFrames, config: EvaluateConfig,
                  tensors: Dict[str, Tensor],
                  description: Dict[str, Any]) -> Tuple[AnyFrames, str]:
    r"""Returns the frames to measure, and which part of the data they are.

    Args:
        frames (Frames or FramesOnDisk): All frames.
        config (EvaluateConfig): What to measure.
        tensors (dict): The tensors of the checkpoint.
        description (dict): Its description.
    """
    run_data = description['config']['data']
    own_name = own_data = config.data in (None, run_data)
    if 'fingerprint' in description:  # not in those of older runs
        own_data = frames_fingerprint(frames) == description['fingerprint']
    part = config.part or ('test' if config.data is None or config.split
                           else 'all')
    if config.split is not None:
        if part == 'all':
            raise ValueError(f"'part' must be 'test' for the test frames of a "
                             f"split (got 'all' and {config.split!r})")
        test = published_split(frames.splits, config.split, len(frames),
                               num_val=0).test
        fitted = torch.cat([tensors['split.train'], tensors['split.val']])
        if (own_name or own_data) and torch.isin(test, fitted).any():
            raise ValueError(f"'split' must not have frames for testing that "
                             f"the run was fitted to (got {config.split!r})")
        frames = frames[test]
    elif part == 'test':
        if not own_data:
            raise ValueError(f"'part' must be 'all' for data other than the "
                             f"run's, which were {run_data!r} as they were "
                             f"then (got {config.data or run_data!r})")
        if tensors['split.test'].numel() == 0:
            raise ValueError("'part' must be 'all' for a run without test "
                             "frames (got 'test')")
        frames = frames[tensors['split.test']]
    return frames, part
