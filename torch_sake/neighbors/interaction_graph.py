from typing import Optional, Tuple

import torch
from torch import Tensor

from torch_sake.checks import check_positive_float
from torch_sake.geometry import edge_vectors
from torch_sake.neighbors.search import neighbor_list


class RadiusInteractionGraph(torch.nn.Module):
    r"""Edges and their lengths, as the argument :obj:`interaction_graph` of
    PyG's models wants them, from the exact :func:`~torch_sake.neighbor_list`.

    With it, :class:`torch_geometric.nn.models.SchNet` needs neither
    :obj:`torch-cluster` nor :obj:`pyg-lib`, and loses no neighbor.

    Args:
        cutoff (float, optional): Length from which on there is no edge;
            :obj:`None` stands for all pairs. (default: :obj:`10.0`)

    Shapes:
        - **input:** positions :math:`(N, D)`, graphs :math:`(N)` *(optional)*
        - **output:** edges :math:`(2, E)`, their lengths :math:`(E)`
    """
    def __init__(self, cutoff: Optional[float] = 10.0):
        super().__init__()
        if cutoff is not None:
            check_positive_float('cutoff', cutoff)
        self.cutoff = cutoff

    def forward(self, pos: Tensor,
                batch: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """"""  # noqa: D419
        edge_index, _ = neighbor_list(pos, self.cutoff, batch)
        return edge_index, edge_vectors(pos, edge_index).norm(dim=-1)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(cutoff={self.cutoff})'
