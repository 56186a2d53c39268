r"""How much each frame weighs in the loss."""

import warnings
from collections import Counter
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.training.splits import DEFAULT_TYPE, type_of
from torch_sake.utils.bounds import MAX_LABEL
from torch_sake.utils.messages import in_words
from torch_sake.utils.plain_checks import require

# What frames have, and the entry of batches:
WEIGHTS = {'config_weight': 'weight', 'config_energy_weight': 'energy_weight',
           'config_forces_weight': 'force_weight',
           'config_stress_weight': 'stress_weight'}


def weigh_frames(frames: AnyFrames, train: Tensor,
                 of_types: Mapping[str, float] | None) -> AnyFrames:
    r"""Returns the frames with the weights of the training frames, divided by
    their mean, as :obj:`weight`, and with those of some labels, if there are
    any, as :obj:`energy_weight`, :obj:`force_weight` and
    :obj:`stress_weight`. Where all are 1, frames are what they were.

    Args:
        frames (Frames, FramesOnDisk or JoinedFrames): All frames.
        train (torch.Tensor): The indices of the training frames.
        of_types (dict, optional): Weights by :obj:`'config_type'`.

    Raises:
        ValueError: If a weight is no number, negative or not finite, or all
            are zero.
    """
    some = frames[train]
    weights = {'weight': torch.ones(len(train), dtype=torch.double)}
    if 'weight' in some.entries:  # of who uses this package
        weights['weight'] = some.entries['weight'][some._index].double()
    names = [name for name in WEIGHTS if some.mentions(name)]
    infos = [some.info(index) for index in range(len(some))] if (
        names or of_types) else []
    for name in names:
        values = torch.tensor([
            check_weight(some, index, name, info.get(name, 1.0))
            for index, info in enumerate(infos)], dtype=torch.double)
        entry = WEIGHTS[name]
        weights[entry] = values * weights.get(entry, 1.0)
    if of_types:
        kinds = [type_of(info) for info in infos]
        warn_of_types(of_types, kinds)
        weights['weight'] = weights['weight'] * torch.tensor([
            float(of_types.get(kind, 1.0)) for kind in kinds])
    mean = float(weights['weight'].mean())
    require(mean > 0, "The training frames must have weights above 0 (got 0 "
                      "for all of them)")
    weights['weight'] = weights['weight'] / mean
    entries = {}
    for entry, values in weights.items():
        if entry in some.entries or not (values == 1).all():
            entries[entry] = values.new_ones(len(frames))
            entries[entry][train] = values
    return frames.with_entries(**entries) if entries else frames


def check_weight(frames: AnyFrames, index: int, name: str,
                 value: Any) -> float:
    require(isinstance(value, (int, float)) and not isinstance(value, bool) and
            0 <= value <= MAX_LABEL,
            f"{frames.where(index)}: '{name}' must be a number that is finite "
            f"and not negative (got {in_words(value)})")
    return float(value)


def warn_of_types(of_types: Mapping[str, float], kinds: list[str]) -> None:
    r"""Warns if weights are given for types that no training frame has."""
    counts = dict(Counter(kinds).most_common())
    unknown = sorted({*of_types} - {*counts, DEFAULT_TYPE})
    if unknown:
        warnings.warn(f"'config_type_weights' has types {unknown} of which "
                      f"there are no training frames: these are of (with "
                      f"their numbers) {counts}")
