r"""Errors by target, by element, by number of atoms and by group."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torch_sake.evaluation.bootstrap import error_intervals
from torch_sake.evaluation.metrics import metrics_of_sums
from torch_sake.evaluation.predictions import Predictions


def summarize(sums: dict[str, Tensor], seed: int = 0) -> dict[str, Any]:
    r"""Returns the errors of frames and their confidence intervals.

    Args:
        sums (dict): Those of each frame by property, see
            :meth:`Predictions.frame_sums`.
        seed (int, optional): Seed of the bootstrap. (default: :obj:`0`)
    """
    names = [name for name, rows in sums.items() if rows[:, 0].any()]
    if not names:  # no labels at all
        number = len(next(iter(sums.values())))
        return {'num_frames': number, 'intervals': {}}
    stacked = torch.stack([sums[name] for name in names], dim=1)  # [M, K, 3]
    return {'num_frames': len(stacked),
            **metrics_of_sums(stacked.sum(dim=0), names),
            'intervals': error_intervals(stacked, names, seed)}


def errors_by_element(outputs: Predictions,
                      seed: int = 0) -> dict[int, dict[str, Any]]:
    r"""Returns what :func:`summarize` says of the forces on the atoms of each
    element, by its atomic number, in the frames that have any; without forces,
    what it says of these frames.
    """
    z, out = outputs.z, {}
    if 'force' in outputs.properties and outputs['force'].index.numel() > 0:
        for element in z[outputs['force'].index].unique().tolist():
            sums = outputs.frame_sums(element)['force']
            out[element] = summarize({'force': sums[sums[:, 0] > 0]}, seed)
        return out
    sums = outputs.frame_sums()
    for element in z.unique().tolist():
        frames = outputs.frame_of_atom[z == element].unique()
        out[element] = _summarize_part(sums, frames, seed)
    return out


def errors_by_size(outputs: Predictions,
                   seed: int = 0) -> dict[int, dict[str, Any]]:
    r"""Returns what :func:`summarize` says of the frames of each number of
    atoms.
    """
    num_atoms, sums = outputs.num_atoms, outputs.frame_sums()
    return {size: _summarize_part(sums, num_atoms == size, seed)
            for size in num_atoms.unique().tolist()}


def errors_by_group(outputs: Predictions, groups: Sequence[str],
                    seed: int = 0) -> dict[str, dict[str, Any]]:
    r"""Returns what :func:`summarize` says of the frames of each group.

    Args:
        outputs (Predictions): The predictions.
        groups (list of str): The group of each frame.
        seed (int, optional): Seed of the bootstrap. (default: :obj:`0`)
    """
    sums = outputs.frame_sums()
    names = sorted(set(groups), key=_by_number)
    numbers = {name: number for number, name in enumerate(names)}
    group = torch.tensor([numbers[name] for name in groups])
    return {name: _summarize_part(sums, group == number, seed)
            for name, number in numbers.items()}


def _by_number(name: str) -> tuple[float, str]:
    try:
        return float(name), name
    except ValueError:
        return math.inf, name


def _summarize_part(sums: dict[str, Tensor], frames: Tensor,
                    seed: int) -> dict[str, Any]:
    return summarize({name: rows[frames] for name, rows in sums.items()},
                     seed)
