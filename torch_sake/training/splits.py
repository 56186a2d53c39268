r"""Which frames a run is fitted to, validated and tested on."""

import os.path as osp
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

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
from torch_sake.training.isolated import is_mark
from torch_sake.training.parts_config import GIVEN
from torch_sake.utils.plain_checks import require

DEFAULT_TYPE = 'Default'  # of frames without one


def split_frames(frames: AnyFrames, config: TrainConfig,
                 candidates: Tensor | None = None) -> Split:
    r"""Returns the split of the frames that a run asks for.

    Args:
        frames (Frames, FramesOnDisk or JoinedFrames): The frames.
        config (TrainConfig): The run.
        candidates (torch.Tensor, optional): The indices of the frames that may
            be in it, ascending; all if not given. Others are left out of a
            split that is read from a file, or published, too.
            (default: :obj:`None`)
    """
    if candidates is None:
        candidates = torch.arange(len(frames))
    if config.split is None:
        split = draw_split(frames, config, candidates)
    else:
        if osp.isfile(config.split):
            split = read_split(config.split, len(frames), config.split_prefix)
        else:
            split = published_split(frames.splits, config.split, len(frames),
                                    config.num_val, seed_of(frames, config))
        split = Split(*(part[torch.isin(part, candidates)]
                        for part in vars(split).values()))
    for name in ('train', 'val'):
        require(getattr(split, name).numel() >= config.num_processes,
                f"The split must have at least one frame in '{name}' for each "
                f"device ({len(candidates)} frames in all)")
    return split


def seed_of(frames: AnyFrames, config: TrainConfig) -> int:
    return config.seed if frames.split_seed is None else frames.split_seed


def draw_split(frames: AnyFrames, config: TrainConfig,
               candidates: Tensor) -> Split:
    r"""Returns a random split. Frames that are given for validation or for
    testing are not drawn.
    """
    given = find_given(frames, config, candidates)
    rest = without(candidates, given.values())
    start = frames.test_start
    if start is not None:
        start = int((rest < start).sum())
    number = len(rest) if start is None else start
    require(len(candidates) > 0,
            f"There must be frames to train on: all {len(frames)} frames of "
            f"{frames.source} are isolated atoms, which give 'atomic_energies'"
            f" alone (got {config.atomic_energies!r})")
    require(number != 1 or (config.num_train, config.num_val) != (None, None)
            or 'val' in given,
            f"Training needs at least 2 frames, one of them to validate on "
            f"(got {number} in {frames.source})")
    require(number > 0, f"There must be frames to train on (got "
                        f"{len(candidates)} in all, of which {{}})".format(
                            ' and '.join(f"{len(part)} in '{name}'"
                                         for name, part in given.items())
                            or "all are in 'test'"))
    num_train, num_val = choose_sizes(number, config, [*given],
                                      start is not None)
    drawn = random_split(len(rest), num_train, num_val, config.num_test,
                         seed_of(frames, config), start)
    parts = {name: rest[part] for name, part in vars(drawn).items()}
    return Split(**{**parts, **given})


def without(indices: Tensor, others: Iterable[Tensor]) -> Tensor:
    return indices[~torch.isin(indices, torch.cat([indices[:0], *others]))]


def find_given(frames: AnyFrames, config: TrainConfig,
               candidates: Tensor) -> dict[str, Tensor]:
    r"""Returns the frames that are given for a part of the split, as files or
    by their types.
    """
    given = {name: part[torch.isin(part, candidates)]
             for name, part in frames.assigned.items()}
    for name, part in given.items():
        require(len(part) > 0 or len(frames.assigned[name]) == 0,
                f"'{name}' must have frames that are no isolated atoms, which "
                f"give 'atomic_energies' alone (got "
                f"{len(frames.assigned[name])} isolated atoms)")
    settings = {name: getattr(config, f'{name}_config_type')
                for name in ('val', 'test')}
    if not any(settings.values()):
        return given
    others = without(candidates, given.values())
    rest = frames[others]
    kinds = [type_of(rest.info(index)) for index in range(len(rest))]
    for name, wanted in settings.items():
        if wanted is None:
            continue
        setting = f'{name}_config_type'
        require(name not in given and (name == 'val' or frames.test_start is
                                       None),
                f"'{setting}' must not be given for data with test frames of "
                f"their own (got {wanted})")
        marked = [*filter(is_mark, wanted)]
        require(len(candidates) == len(frames) or not {*marked} - {*kinds},
                f"'{setting}' must not be that of isolated atoms, which give "
                f"'atomic_energies' alone (got {marked}; "
                f"'atomic_energies' is {config.atomic_energies!r})")
        check_types(setting, wanted, kinds)
        given[name] = others[torch.tensor([kind in wanted for kind in kinds])]
    return given


def type_of(info: Mapping[str, Any]) -> str:
    r"""Returns the type of a frame of which this is known."""
    return str(info.get('config_type', DEFAULT_TYPE))


def check_types(setting: str, wanted: Iterable[str],
                kinds: list[str]) -> None:
    r"""Raises an error if there is no frame of one of some types."""
    counts = dict(Counter(kinds).most_common())
    unknown = [kind for kind in wanted if kind not in counts]
    require(not unknown, f"'{setting}' must have types of the frames, which "
                         f"are (with their numbers) {counts} (got {unknown})")


def choose_sizes(number: int, config: TrainConfig, given: Collection[str],
                 has_tests: bool) -> tuple[int, int]:
    r"""Returns how many frames for training and for validation are drawn:
    those of the settings or else, as far as there are as many, the usual ones,
    and otherwise 80 % and 10 %. Where test or validation frames are given, or
    the number of tests is, all others are for training.

    Args:
        number (int): The number of frames to draw from.
        config (TrainConfig): The run.
        given (list of str): The parts that are not drawn.
        has_tests (bool): Whether test frames are not drawn either.
    """
    num_train, num_val = config.num_train, config.num_val
    usual_train, usual_val = config.default_sizes
    left = number
    if not has_tests and 'test' not in given:
        left -= config.num_test or 0
    fits = (num_train or usual_train) + (num_val or usual_val) <= left
    if 'val' in given:
        num_val = 0
    elif num_val is None:
        tenth = max(min(number // 10, left - (num_train or 1)), 1)
        num_val = usual_val if fits else tenth
    if num_train is None:
        num_train = left - num_val
        if fits and not given:
            num_train = usual_train
        elif not given and not has_tests and config.num_test is None:
            num_train = min(8 * number // 10, num_train)
    return max(num_train, 1), num_val


def settle_sizes(config: TrainConfig, drawn: Mapping[str, int]) -> TrainConfig:
    r"""Returns the settings with the numbers of frames that were drawn for
    each part.
    """
    if config.num_train is None:
        config = replace(config, num_train=drawn['train'])
    if config.num_val is None and config.given_as('val') is None:
        config = replace(config, num_val=drawn['val'])
    return config


def describe_sizes(config: TrainConfig, split: Split,
                   drawn: Mapping[str, int]) -> str:
    r"""Returns how many frames there are in each part, and why as many were
    drawn.
    """
    sizes = {name: len(part) for name, part in vars(split).items()}
    words = f'{sizes} frames'
    is_open = (config.num_train, config.num_val, config.num_test) == (
        None, None, None) and not any(map(config.given_as, GIVEN))
    if is_open and drawn['train'] != config.default_sizes[0]:
        words += " (80 % and 10 %, as 'num_train' and 'num_val' are not given)"
    return words
