r"""What an energy is made up of."""

import torch
from torch import Tensor

from torch_sake.models.readout import center

# The energies that depend on positions, those that do not, and the features
# of atoms:
Parts = tuple[Tensor, Tensor | None, Tensor | None]


def total(parts: Parts) -> Tensor:
    r"""Returns the sum of the parts of an energy."""
    energy, constant, _ = parts
    return energy if constant is None else energy.double() + constant


def as_vector(energy: Tensor) -> Tensor:
    r"""Returns the energies of graphs as :math:`(B)`."""
    if energy.dim() == 2 and energy.size(1) == 1:
        return energy.squeeze(1)
    if energy.dim() != 1:
        raise ValueError(f"'model' must return energies of shape [B] or "
                         f"[B, 1] (got {list(energy.shape)})")
    return energy


def round_positions(pos: Tensor, batch: Tensor,
                    dtype: torch.dtype | None) -> Tensor:
    r"""Returns positions in the type of a model that is none of this package:
    from the middle of each graph, if digits are lost.
    """
    if dtype in (None, pos.dtype):
        return pos
    return center(pos, torch.ones_like(batch), batch).to(dtype)
