import importlib
from collections.abc import Callable

import torch
import torch_geometric.typing
from torch import Tensor

from torch_sake.neighbors.pairs import MARGIN


def radius_graph_pairs(radius_graph: Callable, pos: Tensor, cutoff: float,
                       batch: Tensor) -> Tensor:
    r"""Returns candidates for the pairs closer than the cutoff, found by the
    :obj:`radius_graph` of :obj:`torch-cluster` or of PyG with :obj:`pyg-lib`.

    Both stop at a number of neighbors without a word. Here that number is
    doubled until no node reaches it.

    Shapes:
        - **input:** positions :math:`(N, D)`, graphs, in ascending order
          :math:`(N)`
        - **output:** sources and targets :math:`(2, E)`
    """
    limit = 32
    while True:
        edge_index = radius_graph(pos.detach(), cutoff * (1 + MARGIN), batch,
                                  loop=False, max_num_neighbors=limit)
        degree = torch.bincount(edge_index[1], minlength=1)
        # A node itself may have been counted as one of its neighbors.
        if int(degree.max()) < limit - 1 or limit > pos.size(0):
            return edge_index
        limit *= 2


def find_radius_graph(backend: str) -> Callable:
    r"""Returns the :obj:`radius_graph` of a backend.

    Raises:
        ImportError: If the backend is not installed.
    """
    if backend == 'torch_cluster':
        return importlib.import_module('torch_cluster').radius_graph
    if not torch_geometric.typing.WITH_PYG_LIB:
        raise ImportError("No module named 'pyg_lib'")
    return importlib.import_module('torch_geometric.nn').radius_graph
