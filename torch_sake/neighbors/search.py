from typing import Optional, Tuple

import torch
from torch import Tensor

from torch_sake.checks import (check_batch, check_finite, check_option,
                               check_pos, check_positive_float)
from torch_sake.neighbors.cell_list import vesin_pairs
from torch_sake.neighbors.pairs import all_pairs, close_pairs, is_close
from torch_sake.neighbors.radius_graph import (find_radius_graph,
                                               radius_graph_pairs)

BACKENDS = ('auto', 'pairs', 'vesin', 'torch_cluster', 'pyg_lib')

# Up to so many nodes per graph, on average over pairs, testing all pairs is
# faster than a cell list (on a CPU; on other devices, which cell lists of a
# CPU make wait, up to many more).
MAX_NODES_CPU = 64
MAX_NODES_ELSEWHERE = 20_000


def neighbor_list(
    pos: Tensor,
    cutoff: Optional[float],
    batch: Optional[Tensor] = None,
    *,
    backend: str = 'auto',
) -> Tuple[Tensor, Tensor]:
    r"""Returns all ordered pairs of different nodes of the same graph that are
    closer than the cutoff.

    The list is exact: nothing is truncated, every backend returns the same
    edges in the same order (by target, then by source), and :obj:`batch` may
    come in any order. No gradient passes through it.

    Args:
        pos (torch.Tensor): Positions.
        cutoff (float or None): Length from which on there is no edge, in
            units of the positions. :obj:`None` stands for all pairs.
        batch (torch.Tensor, optional): Graph of each node.
            (default: :obj:`None`)
        backend (str, optional): :obj:`"pairs"` tests all pairs, block by
            block, in any number of dimensions; :obj:`"vesin"` uses cell lists
            on the CPU, in up to three dimensions; :obj:`"torch_cluster"` and
            :obj:`"pyg_lib"` use the packages of these names, if installed;
            :obj:`"auto"` takes what is fastest for the input at hand.
            (default: :obj:`"auto"`)

    Shapes:
        - **input:** positions :math:`(N, D)`, graphs :math:`(N)` *(optional)*
        - **output:** edges :math:`(2, E)`, their shifts :math:`(E, D)`, which
          are zero

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range, or a position is not finite.
        ImportError: If the backend is not installed.
    """
    check_pos(pos, look=False)
    check_option('backend', backend, BACKENDS)
    if cutoff is not None:
        check_positive_float('cutoff', cutoff)
    if batch is not None:
        check_batch(batch, pos.size(0))
        batch = batch.long()
    if cutoff is None and batch is None:
        edge_index = all_pairs(pos.size(0), device=pos.device)
        return edge_index, pos.new_zeros(edge_index.size(1), pos.size(1))

    pos = pos.detach()
    check_finite('pos', pos)
    order = None
    if batch is not None and bool((batch[1:] < batch[:-1]).any()):
        batch, order = batch.sort(stable=True)
        pos = pos[order]

    edge_index = _sorted_batch_pairs(pos, cutoff, batch, backend)
    if order is not None:
        edge_index = _sort_edges(order[edge_index], pos.size(0))
    return edge_index, pos.new_zeros(edge_index.size(1), pos.size(1))


def _sorted_batch_pairs(pos: Tensor, cutoff: Optional[float],
                        batch: Optional[Tensor], backend: str) -> Tensor:
    r"""The list of :func:`neighbor_list` for graphs in ascending order."""
    if cutoff is None:
        return all_pairs(pos.size(0), batch, pos.device)
    if batch is None:
        batch = torch.zeros(pos.size(0), dtype=torch.long, device=pos.device)
    if backend == 'auto':
        backend = _choose_backend(pos, batch)
    if backend == 'pairs':
        return close_pairs(pos, cutoff, batch)
    if backend == 'vesin':
        if pos.size(1) > 3:
            raise ValueError(f"'backend' must not be 'vesin' in more than "
                             f"three dimensions (got {pos.size(1)})")
        edge_index = vesin_pairs(pos, cutoff, batch)
    else:
        edge_index = radius_graph_pairs(find_radius_graph(backend), pos,
                                        cutoff, batch)
    edge_index = edge_index[:, is_close(pos, edge_index, cutoff)]
    return _sort_edges(edge_index, pos.size(0))


def _choose_backend(pos: Tensor, batch: Tensor) -> str:
    on_cpu = pos.device.type == 'cpu'
    counts = torch.bincount(batch, minlength=1)
    # Average size of the graph of a pair, rounded up:
    size = int(counts.square().sum()) // max(batch.numel(), 1) + 1
    if pos.size(1) > 3 or size <= (MAX_NODES_CPU
                                   if on_cpu else MAX_NODES_ELSEWHERE):
        return 'pairs'
    if not on_cpu:
        for backend in ('torch_cluster', 'pyg_lib'):
            try:
                find_radius_graph(backend)
                return backend
            except ImportError:
                continue
    return 'vesin'


def _sort_edges(edge_index: Tensor, num_nodes: int) -> Tensor:
    r"""Sorts edges by target, then by source."""
    return edge_index[:, (edge_index[1] * num_nodes + edge_index[0]).argsort()]
