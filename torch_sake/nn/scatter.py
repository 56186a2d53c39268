r"""Sums over the edges of a node. All of them are differentiable as often as
training on forces needs, which PyG's segment operators are not.
"""

import torch
from torch import Tensor


def sum_edges(values: Tensor, index: Tensor, num_nodes: int) -> Tensor:
    r"""Returns :math:`\sum_j v_{ij}`.

    Shapes:
        - **input:** values :math:`(E, *)`, target of each edge :math:`(E)`
        - **output:** sums :math:`(N, *)`
    """
    out = values.new_zeros((num_nodes, ) + values.shape[1:])
    return out.index_add(0, index, values)


def sum_outer_products(coefficients: Tensor, vectors: Tensor, index: Tensor,
                       num_nodes: int) -> Tensor:
    r"""Returns :math:`\sum_j \vec{u}_{ij} \otimes c_{ij}`, one dimension of
    the vectors after the other, so that no tensor of size :math:`(E, D, C)`
    comes to exist.

    Shapes:
        - **input:** coefficients :math:`(E, C)`, vectors :math:`(E, D)`,
          target of each edge :math:`(E)`
        - **output:** sums :math:`(N, D, C)`
    """
    return torch.stack([
        sum_edges(coefficients * component, index, num_nodes)
        for component in vectors.split(1, dim=1)
    ], dim=1)
