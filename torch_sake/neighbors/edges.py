r"""The edges of a graph, and the door that they come in by."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torch_sake.utils.checks import (
    check_devices,
    check_edge_index,
    check_edge_shift,
)


class Edges(NamedTuple):
    r"""Edges from sources :math:`j` to targets :math:`i`, and what is added to
    :obj:`pos[j] - pos[i]` of each, such as the translation to a periodic
    image.

    Shapes:
        - sources and targets :math:`(2, E)`, shifts :math:`(E, D)` or
          :obj:`None`
    """
    index: Tensor
    shift: Tensor | None = None


def given_or_found_edges(
    pos: Tensor,
    edge_index: Tensor | None,
    edge_shift: Tensor | None,
    find: Callable[[], Edges],
    cell: Tensor | None = None,
    pbc: Tensor | None = None,
    **needs_edges: Tensor | None,
) -> Edges:
    r"""Returns the given edges, which are checked, or else those that are
    found.

    Args:
        pos (torch.Tensor): The positions.
        edge_index (torch.Tensor, optional): The given edges.
        edge_shift (torch.Tensor, optional): Their shifts.
        find (callable): Returns the edges if none are given.
        cell, pbc (torch.Tensor, optional): As those of
            :func:`~torch_sake.neighbor_list`: given edges need shifts in
            periodic directions. (default: :obj:`None`)
        **needs_edges (optional): What else belongs to given edges.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range, or what belongs to edges is given without them.
    """
    if edge_index is None:
        for name, value in dict(edge_shift=edge_shift, **needs_edges).items():
            if value is not None:
                raise ValueError(f"'{name}' needs 'edge_index' (got None)")
        return find()
    check_edge_index(edge_index, pos.size(0))
    if edge_shift is not None:
        check_edge_shift(edge_shift, edge_index, pos)
    elif is_periodic(cell, pbc):
        raise ValueError("'edge_index' needs 'edge_shift' in a periodic cell "
                         "(got None)")
    check_devices(pos, edge_index=edge_index, edge_shift=edge_shift)
    return Edges(edge_index, edge_shift)


def is_periodic(cell: Tensor | None, pbc: Tensor | None) -> bool:
    r"""Whether there are periodic directions, as all of a cell are where
    nothing else is said.
    """
    return cell is not None and (
        pbc is None or bool(torch.as_tensor(pbc).any()))
