"""Which edges belong to which node."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_sake.ops.plain import plain_operators_needed

# From so many edges on, quick sums make up for the time to call them:
MIN_EDGES = 1024


class Segments(NamedTuple):
    r"""The edges of each node: the node :obj:`index` :math:`(E)` of each edge
    and, for operators that are quick by it, the edges one node after the
    other, :obj:`order` :math:`(E)`, and where those of each node begin there,
    :obj:`offsets` :math:`(N)`.
    """
    index: Tensor
    num_nodes: int
    order: Tensor | None = None
    offsets: Tensor | None = None


def group_edges(index: Tensor, num_nodes: int) -> Segments:
    r"""Returns the segments of edges at the given nodes :math:`(E)`.

    On the CPU, sums over many edges are those of
    :func:`torch.nn.functional.embedding_bag`, several times as fast as
    :meth:`torch.Tensor.index_add`; elsewhere, and where a compiler or a
    transform of functions looks on, they are the latter.
    """
    if plain_operators_needed(index) or index.numel() < MIN_EDGES:
        return Segments(index, num_nodes)
    return sort_edges(Segments(index, num_nodes))


def sort_edges(segments: Segments) -> Segments:
    r"""Returns the segments with their edges in order."""
    if segments.order is not None:
        return segments
    index, order = segments.index.sort(stable=True)
    nodes = torch.arange(segments.num_nodes, device=index.device)
    return segments._replace(order=order,
                             offsets=torch.searchsorted(index, nodes))
