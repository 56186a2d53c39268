r"""Errors by target, by element and by number of atoms."""

from typing import Any, Dict, Sequence

import torch
from torch import Tensor

from torch_sake.training.bootstrap import error_intervals
from torch_sake.training.metrics import (PROPERTIES, metrics_of_sums,
                                         property_errors)


def frame_errors(outputs: Dict[str, Tensor]) -> Tensor:
    r"""Returns the number, the sum of the absolute values and the sum of the
    squares of the errors of each frame and each of :obj:`PROPERTIES`, from the
    outputs of :func:`~torch_sake.training.metrics.predict`.

    Shapes:
        - **output:** :math:`(M, 4, 3)`
    """
    num_frames = outputs['num_atoms'].numel()
    errors = property_errors(outputs)
    sums = torch.zeros(num_frames, len(PROPERTIES), 3, dtype=torch.double)
    for index, name in enumerate(PROPERTIES):
        if name in errors:
            frame = outputs.get(f'{name}_frame', torch.arange(num_frames))
            sums[:, index] = _sums_of_frames(errors[name], frame, num_frames)
    return sums


def _sums_of_frames(error: Tensor, frame: Tensor, num_frames: int) -> Tensor:
    r"""Returns the three sums of the rows of each frame, :math:`(M, 3)`."""
    error = error.view(error.size(0), -1)
    rows = torch.stack([torch.full_like(error, 1.0).sum(dim=1),
                        error.abs().sum(dim=1),
                        error.square().sum(dim=1)], dim=1)
    return rows.new_zeros(num_frames, 3).index_add(0, frame, rows)


def summarize(sums: Tensor, names: Sequence[str], seed: int = 0
              ) -> Dict[str, Any]:
    r"""Returns the errors of frames and their confidence intervals.

    Args:
        sums (torch.Tensor): Of each frame and quantity, as those of
            :func:`frame_errors`.
        names (list of str): The names of the quantities.
        seed (int, optional): Seed of the bootstrap. (default: :obj:`0`)

    Shapes:
        - **input:** :math:`(M, K, 3)`
    """
    present = sums[..., 0].any(dim=0)
    names = [name for name, known in zip(names, present) if known]
    sums = sums[:, present]
    return {'num_frames': len(sums),
            **metrics_of_sums(sums.sum(dim=0), names),
            'intervals': error_intervals(sums, names, seed)}


def errors_by_element(outputs: Dict[str, Tensor],
                      seed: int = 0) -> Dict[int, Dict[str, Any]]:
    r"""Returns what :func:`summarize` says of the forces on the atoms of each
    element, by its atomic number, in the frames that have any.
    """
    if 'force' not in outputs:
        return {}
    num_frames = outputs['num_atoms'].numel()
    error = property_errors(outputs)['force']
    out = {}
    for element in outputs['force_z'].unique().tolist():
        atoms = outputs['force_z'] == element
        sums = _sums_of_frames(error[atoms], outputs['force_frame'][atoms],
                               num_frames)
        out[element] = summarize(sums[sums[:, 0] > 0].unsqueeze(1),
                                 ['force'], seed)
    return out


def errors_by_size(outputs: Dict[str, Tensor],
                   seed: int = 0) -> Dict[int, Dict[str, Any]]:
    r"""Returns what :func:`summarize` says of the frames of each number of
    atoms.
    """
    num_atoms, sums = outputs['num_atoms'], frame_errors(outputs)
    return {size: summarize(sums[num_atoms == size], PROPERTIES, seed)
            for size in num_atoms.unique().tolist()}
