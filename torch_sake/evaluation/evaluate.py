r"""What the command :obj:`evaluate` does."""

import os.path as osp
import warnings
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch_geometric.loader import DataLoader

from torch_sake.checkpoint import folder_of
from torch_sake.datasets import published_split
from torch_sake.datasets.frames.charges import (
    State,
    counting,
    frame_states,
    names_of,
    warn_of_parity,
    with_entries,
)
from torch_sake.datasets.frames.fingerprint import frames_fingerprint
from torch_sake.datasets.frames.load import AnyFrames, load_config_frames
from torch_sake.evaluation.config import EVAL_BATCH_SIZE, EvaluateConfig
from torch_sake.evaluation.frame_texts import frame_texts
from torch_sake.evaluation.metrics import Predictor, predict, trivial_labels
from torch_sake.evaluation.prediction_file import (
    check_prediction_file,
    prediction_file,
)
from torch_sake.evaluation.report import check_units, report_errors
from torch_sake.inspection.look import look_at_own
from torch_sake.potentials.description import RunDescription, trained_states
from torch_sake.potentials.electrons import any_embeds_charge
from torch_sake.potentials.load import load_checkpoints, load_predictor
from torch_sake.utils.checks import check_known_elements
from torch_sake.utils.device import choose_device
from torch_sake.utils.hints import check_entry
from torch_sake.utils.inputs import find_checkpoint
from torch_sake.utils.messages import errors_name
from torch_sake.utils.plain_checks import require, to_list

GENERATED = 'xtb:'


def evaluate(config: EvaluateConfig) -> None:
    r"""Measures the errors of a trained potential or property, or of an
    ensemble of potentials, prints them and writes them.

    Args:
        config (EvaluateConfig): What to measure.
    """
    device = choose_device(config.device)
    if config.predictions is not None:
        check_prediction_file(config.predictions)
    path = config.checkpoint[0]
    potential, tensors, description = load_predictor(
        path, model=config.model)
    name, elements = 'evaluation', description['elements']
    if len(config.checkpoint) > 1:
        name = 'ensemble'
        potential, _, elements = load_checkpoints(config.checkpoint,
                                                  config.model)
    with errors_name(find_checkpoint(path)):
        check_entry('', description, RunDescription)
    frames = load_data(config, description)
    check_units(frames.units, description['units'])
    frames, part = choose_frames(frames, config, tensors, description)
    frames = with_states_of(potential, frames, description)
    loader = DataLoader(frames, batch_size=EVAL_BATCH_SIZE)
    present = torch.cat([data.z.unique() for data in loader]).unique()
    check_known_elements('The data have', present.tolist(), elements)

    texts = frame_texts(frames, config.group_by)
    is_labeled = has_labels(frames)
    require(is_labeled or config.predictions is not None,
            f"'predictions' must be given for frames without labels "
            f"(got {config.data!r})")
    for remark in look_at_own(frames, description['config'].get('cutoff')):
        print(*remark.lines(frames, dropped=True), sep='\n')
    trivial = trivial_labels(potential, loader)
    file = nullcontext() if config.predictions is None else prediction_file(
        config.predictions, frames, config)
    with file as target:
        outputs = predict(potential.to(device), loader, device,
                          target and target.write)
    if config.predictions is not None:
        what, are = ('frame', 'is') if len(frames) == 1 else ('frames', 'are')
        print(f"{len(frames)} {what} with predictions {are} in "
              f"'{config.predictions}'")
    if not is_labeled:
        print('No frame has a label: there are no errors to report')
        return
    report_errors(outputs, trivial, frames.units,
                  config.out or osp.join(folder_of(path), name), 'evaluation',
                  f'Errors of {", ".join(config.checkpoint)} on {part} '
                  f'frames of {frames.source} ({len(frames)})', config.seed,
                  texts)


def has_labels(frames: AnyFrames) -> bool:
    r"""Returns whether anything is known of a frame that is predicted."""
    return any(bool(frames.known(name).any())
               for name in {frames.label, 'force', 'stress'})


def with_states_of(potential: Predictor, frames: AnyFrames,
                   description: dict[str, Any]) -> AnyFrames:
    r"""Returns frames with their charges and spins, if a potential takes them.
    If one of them is none that it knows, there is a warning.
    """
    embeds = any_embeds_charge(potential)
    states, known = frame_states(frames, embeds), trained_states(description)
    full = [state.full for state in states]
    other = {full[index] for index in counting(frames, full)
             if states[index] != State()}
    if known and other - known:
        warnings.warn(f"The data have charges and spins that the potential "
                      f"was not trained on, {names_of(other - known)} (it "
                      f"knows {names_of(known)})")
    if not embeds:
        return frames
    warn_of_parity(frames, states, embeds)
    return with_entries(frames, states)


def load_data(config: EvaluateConfig,
              description: dict[str, Any]) -> AnyFrames:
    r"""Returns the frames that the settings name. What the checkpoint says of
    its own is for messages and comparisons: nothing that it names is opened or
    generated.
    """
    run = description['config']
    given = {name: run[name] for name in ('val', 'test') if run.get(name)}
    require(config.data is not None,
            f"'data' must be given (the checkpoint says that it was trained "
            f"on {run['data']!r}, with 'root' {run.get('root')!r}"
            + ''.join(f' and {name!r} {value!r}'
                      for name, value in given.items()) + ')')
    require(config.data != run['data'] or is_data_of(description, config)
            or (config.num_frames, config.data_seed) != (None, None),
            f"'num_frames' or 'data_seed' must be given for {config.data!r} "
            f"(the checkpoint says that it was trained with "
            f"{run.get('num_frames')!r} and {run.get('data_seed')!r})")
    for name in ('units', 'length_unit'):
        require(config.data != run['data'] or run.get(name) is None
                or getattr(config, name) is not None,
                f"'{name}' must be given for {config.data!r} (the checkpoint "
                f"says that it was trained with {run.get(name)!r})")
    frames = load_config_frames(
        {**vars(config), 'data_seed': config.data_seed or 0},
        description['units'])
    for part in getattr(frames, 'parts', [frames]):
        if part.units != part.source_units:
            print(f'{part.source}: converted from '
                  f'{in_a_row(part.source_units)} to {in_a_row(part.units)}')
    return frames


def in_a_row(units: dict[str, str]) -> str:
    r"""Returns units in words."""
    return f"{units['energy']} and {units['length']}"


def is_data_of(description: dict[str, Any], config: EvaluateConfig) -> bool:
    r"""Returns whether the settings ask for data as those of the run did."""
    run = description['config']
    return config.data == run['data'] and (
        not any(one.startswith(GENERATED)
                for one in to_list('data', config.data))
        or config.num_frames == run.get('num_frames')
        and (config.data_seed or 0) == run.get('data_seed'))


def check_all_sources(config: EvaluateConfig, run: dict[str, Any]) -> None:
    r"""Raises an error that says what the data of the run were, if some of
    them are missing.
    """
    every = [source for name in ('data', 'val', 'test') if run.get(name)
             for source in to_list(name, run[name])]
    if config.data == run['data'] and len(every) > len(
            to_list('data', run['data'])):
        of_test = f", or 'data' {run['test']!r} alone" if (
            run.get('test')) else ''
        raise ValueError(
            f"'data' must be {every}, all that the checkpoint says of the "
            f"run, for the test frames of the run{of_test}; 'part=all' takes "
            f"all frames of others (got {config.data!r})")


def choose_frames(frames: AnyFrames, config: EvaluateConfig,
                  tensors: dict[str, Tensor],
                  description: dict[str, Any]) -> tuple[AnyFrames, str]:
    r"""Returns the frames to measure, and which part of the data they are.

    Args:
        frames (Frames or FramesOnDisk): All frames.
        config (EvaluateConfig): What to measure.
        tensors (dict): The tensors of the checkpoint.
        description (dict): Its description.
    """
    path, part, split = (find_checkpoint(config.checkpoint[0]), config.part,
                         config.split)
    own_name = own_data = is_data_of(description, config)
    if 'fingerprint' in description:  # not in those of older runs
        own_data = frames_fingerprint(frames) == description['fingerprint']
    if part is None:
        is_run = len(config.checkpoint) == 1 and (own_name or own_data)
        part = 'test' if is_run or split else 'all'
    if part == 'test' and not own_data and split is None:
        check_all_sources(config, description['config'])
    if part == 'all':
        require(split is None, f"'part' must be 'test' for the test frames of "
                               f"a split (got 'all' and {split!r})")
        return frames, part
    if split is not None:
        test = published_split(frames.splits, split, len(frames),
                               num_val=0).test
        with errors_name(path):  # which need not have a split
            fitted = torch.cat([tensors['split.train'], tensors['split.val']])
        require(not (own_name or own_data) or not torch.isin(
            test, fitted).any(), f"'split' must not have frames for testing "
            f"that the run was fitted to (got {split!r})")
    else:
        require(own_data, f"'part' must be 'all' for data other than the "
                          f"run's, which were "
                          f"{description['config']['data']!r} as they were "
                          f"then (got {config.data!r})")
        with errors_name(path):
            test = tensors['split.test']
        require(test.numel() > 0, "'part' must be 'all' for a run without "
                                  "test frames (got 'test')")
    return frames[test], part
