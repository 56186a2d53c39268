from torch import Tensor

from torch_sake.neighbors.edges import Edges, given_or_found_edges
from torch_sake.neighbors.search import neighbor_list
from torch_sake.utils.checks import check_batch, check_devices, check_pos


def check_graph(
    x: Tensor,
    pos: Tensor,
    edge_index: Tensor | None,
    batch: Tensor | None = None,
    cutoff: float | None = None,
    edge_attr: Tensor | None = None,
    edge_shift: Tensor | None = None,
) -> Edges:
    r"""Checks what comes with the features of nodes, and returns the given
    edges or, if there are none, every ordered pair of different nodes of a
    graph, within the cutoff if there is one.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range, or what belongs to edges is given without them.
    """
    check_pos(pos, x.size(0), dtype=x.dtype)
    if batch is not None:
        check_batch(batch, pos.size(0))
    check_devices(pos, batch=batch)
    return given_or_found_edges(
        pos, edge_index, edge_shift,
        lambda: Edges(neighbor_list(pos, cutoff, batch).index),
        edge_attr=edge_attr)
