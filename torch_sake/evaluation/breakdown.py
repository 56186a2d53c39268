r"""Errors by target, by element and by number of atoms."""

from typing import Any

import torch
from torch import Tensor

from torch_sake.evaluation.bootstrap import error_intervals
from torch_sake.evaluation.metrics import metrics_of_sums, property_errors


def frame_errors(outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    r"""Returns the number, the sum of the absolute values and the sum of the
    squares of the errors of each frame, by target, from the outputs of
    :func:`~torch_sake.evaluation.metrics.predict`.

    Shapes:
        - **output:** :math:`(M, 3)` each
    """
    num_frames = outputs['num_atoms'].numel()
    every = torch.arange(num_frames)
    return {name: _sums_of_frames(error, outputs.get(f'{name}_frame', every),
                                  num_frames)
            for name, error in property_errors(outputs).items()}


def _sums_of_frames(error: Tensor, frame: Tensor, num_frames: int) -> Tensor:
    r"""Returns the three sums of the rows of each frame, :math:`(M, 3)`."""
    error = error.view(error.size(0), -1)
    rows = torch.stack([torch.full_like(error, 1.0).sum(dim=1),
                        error.abs().sum(dim=1),
                        error.square().sum(dim=1)], dim=1)
    return rows.new_zeros(num_frames, 3).index_add(0, frame, rows)


def summarize(sums: dict[str, Tensor], seed: int = 0) -> dict[str, Any]:
    r"""Returns the errors of frames and their confidence intervals.

    Args:
        sums (dict): Those of each frame by target, as :func:`frame_errors`
            returns them.
        seed (int, optional): Seed of the bootstrap. (default: :obj:`0`)
    """
    names = [name for name, rows in sums.items() if rows[:, 0].any()]
    stacked = torch.stack([sums[name] for name in names], dim=1)  # [M, K, 3]
    return {'num_frames': len(stacked),
            **metrics_of_sums(stacked.sum(dim=0), names),
            'intervals': error_intervals(stacked, names, seed)}


def errors_by_element(outputs: dict[str, Tensor],
                      seed: int = 0) -> dict[int, dict[str, Any]]:
    r"""Returns what :func:`summarize` says of the forces on the atoms of each
    element, by its atomic number, in the frames that have any; without forces,
    what it says of these frames.
    """
    if 'force' not in outputs:
        sums = frame_errors(outputs)
        return {element: _summarize_part(sums, frames, seed)
                for element, frames in enumerate(outputs['elements'].unbind(1))
                if frames.any()}
    num_frames = outputs['num_atoms'].numel()
    error = property_errors(outputs)['force']
    out = {}
    for element in outputs['force_z'].unique().tolist():
        atoms = outputs['force_z'] == element
        sums = _sums_of_frames(error[atoms], outputs['force_frame'][atoms],
                               num_frames)
        out[element] = summarize({'force': sums[sums[:, 0] > 0]}, seed)
    return out


def errors_by_size(outputs: dict[str, Tensor],
                   seed: int = 0) -> dict[int, dict[str, Any]]:
    r"""Returns what :func:`summarize` says of the frames of each number of
    atoms.
    """
    num_atoms, sums = outputs['num_atoms'], frame_errors(outputs)
    return {size: _summarize_part(sums, num_atoms == size, seed)
            for size in num_atoms.unique().tolist()}


def _summarize_part(sums: dict[str, Tensor], frames: Tensor,
                    seed: int) -> dict[str, Any]:
    return summarize({name: rows[frames] for name, rows in sums.items()},
                     seed)
