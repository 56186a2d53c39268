from torch import Tensor

from torch_sake.neighbors import neighbor_list
from torch_sake.utils.checks import (
    check_batch,
    check_devices,
    check_edge_index,
    check_edge_shift,
)


def given_or_found_edges(
    pos: Tensor,
    edge_index: Tensor | None,
    batch: Tensor | None = None,
    cutoff: float | None = None,
    edge_attr: Tensor | None = None,
    edge_shift: Tensor | None = None,
) -> Tensor:
    r"""Returns the given edges or, if there are none, every ordered pair of
    different nodes of a graph, within the cutoff if there is one.

    Shapes:
        - **output:** edges :math:`(2, E)`

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range, or what belongs to edges is given without them.
    """
    if batch is not None:
        check_batch(batch, pos.size(0))
    check_devices(pos, batch=batch, edge_index=edge_index)
    if edge_index is None:
        for name, value in (('edge_attr', edge_attr),
                            ('edge_shift', edge_shift)):
            if value is not None:
                raise ValueError(f"'{name}' needs 'edge_index' (got None)")
        return neighbor_list(pos, cutoff, batch)[0]
    check_edge_index(edge_index, pos.size(0))
    if edge_shift is not None:
        check_edge_shift(edge_shift, edge_index, pos)
    return edge_index
