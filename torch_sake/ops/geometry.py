r"""Geometry of edges: vectors, distances that stay smooth at zero, and
directions (paper, section 3; the two small constants are those of the official
implementation).
"""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_sake.ops.gather import gather_nodes
from torch_sake.ops.segments import Segments

EPSILON = 1e-5


class EdgeGeometry(NamedTuple):
    r"""What a layer needs to know of the edges.

    Shapes:
        - distances :math:`(E, 1)`, directions :math:`(E, D)`, weights
          :math:`(E, 1)` or :obj:`None`, and the edges of each source and of
          each target
    """
    dist: Tensor
    direction: Tensor
    edge_weight: Tensor | None
    sources: Segments
    targets: Segments


def edge_vectors(pos: Tensor, edge_index: Tensor,
                 edge_shift: Tensor | None = None,
                 dtype: torch.dtype | None = None) -> Tensor:
    r"""Returns :math:`\vec{r}_{ij} = \vec{x}_j - \vec{x}_i + \vec{s}_{ij}` of
    the edges :math:`j \to i`. Where atoms are far apart that are neighbors
    through a periodic boundary, all digits of a short vector are in long ones:
    differences are taken in the type of the positions and rounded afterwards.

    Args:
        pos (torch.Tensor): Positions.
        edge_index (torch.Tensor): Sources and targets of the edges.
        edge_shift (torch.Tensor, optional): Shift of each edge, such as the
            lattice translation to a periodic image. (default: :obj:`None`)
        dtype (torch.dtype, optional): The type of the vectors; that of the
            positions if not given. (default: :obj:`None`)

    Shapes:
        - **input:** positions :math:`(N, D)`, edges :math:`(2, E)`, shifts
          :math:`(E, D)`
        - **output:** vectors :math:`(E, D)`
    """
    vec = gather_nodes(pos, edge_index[0]) - gather_nodes(
        pos, edge_index[1])  # [E, D]
    vec = vec if edge_shift is None else vec + edge_shift
    return vec if dtype is None else vec.to(dtype)


def distance_and_direction(vec: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns :math:`d = \sqrt{|\vec{r}|^2 + 10^{-5}}` and
    :math:`\vec{u} = \vec{r} / (d + 10^{-5})`.

    Both are infinitely differentiable everywhere, at coincident nodes too,
    where :math:`\vec{u}` is zero.

    Shapes:
        - **input:** vectors :math:`(E, D)`
        - **output:** distances :math:`(E, 1)`, directions :math:`(E, D)`
    """
    dist = (vec.square().sum(dim=-1, keepdim=True) + EPSILON).sqrt()  # [E, 1]
    return dist, vec / (dist + EPSILON)


def bound_vectors(vec: Tensor, length: float) -> Tensor:
    r"""Returns :math:`(1 + |\vec{p}|^4 / s^4)^{-1/4} \, \vec{p}`, which is
    shorter than the length :math:`s` and, for short vectors, almost
    :math:`\vec{p}`.

    Shapes:
        - **input and output:** vectors :math:`(N, D, F)`
    """
    square = vec.square().sum(dim=1, keepdim=True)  # [N, 1, F]
    return vec * (1 + (square / length**2).square()).pow(-0.25)
