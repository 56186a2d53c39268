import torch
from torch import Tensor

from torch_sake.neighbors.cell_list import vesin_pairs
from torch_sake.neighbors.edges import Edges, is_periodic
from torch_sake.neighbors.lattice import (
    Lattice,
    build_lattice,
    check_cell,
    check_lengths,
)
from torch_sake.neighbors.pairs import (
    all_pairs,
    close_pairs,
    close_periodic_pairs,
    is_close,
)
from torch_sake.neighbors.radius_graph import (
    find_radius_graph,
    radius_graph_pairs,
)
from torch_sake.ops.autocast import without_autocast
from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.checks import check_batch, check_devices, check_pos
from torch_sake.utils.plain_checks import check_option

BACKENDS = ('auto', 'pairs', 'vesin', 'torch_cluster', 'pyg_lib')

# Up to so many nodes per graph, on average over pairs, testing all pairs is
# faster than a cell list (on a CPU; on other devices, which cell lists of a
# CPU make wait, up to many more).
MAX_NODES_CPU = 64
MAX_NODES_ELSEWHERE = 20_000


@without_autocast
def neighbor_list(
    pos: Tensor,
    cutoff: float | None,
    batch: Tensor | None = None,
    cell: Tensor | None = None,
    pbc: Tensor | None = None,
    backend: str = 'auto',
) -> tuple[Tensor, Tensor]:
    r"""Returns all ordered pairs of nodes of the same graph that are closer
    than the cutoff. In periodic directions, a pair is a target and an image of
    a source; images of a node itself count, the node itself does not.

    The list is exact: nothing is truncated, every backend returns the same
    edges in the same order (by target, then by source, then by image), and
    :obj:`batch` may come in any order. Cutoffs may be longer than the cell,
    and nodes may lie outside of it. No gradient passes through the list;
    derivatives with respect to the cell are those of the shifts.

    Args:
        pos (torch.Tensor): Positions.
        cutoff (float or None): Length from which on there is no edge, in
            units of the positions. :obj:`None` stands for all pairs, of which
            there are infinitely many in periodic directions.
        batch (torch.Tensor, optional): Graph of each node.
            (default: :obj:`None`)
        cell (torch.Tensor, optional): Lattice vectors of each graph, as rows,
            or of one graph. (default: :obj:`None`)
        pbc (torch.Tensor, optional): Whether each direction of the cell is
            periodic; all of them if not given. Graphs that are not periodic at
            all may have a cell of zeros. (default: :obj:`None`)
        backend (str, optional): :obj:`"pairs"` tests all pairs, block by
            block, in any number of dimensions; :obj:`"vesin"` uses cell lists
            on the CPU, in up to three dimensions; :obj:`"torch_cluster"` and
            :obj:`"pyg_lib"` use the packages of these names, if installed, and
            know no periodic directions; :obj:`"auto"` takes what is fastest
            for the input at hand. (default: :obj:`"auto"`)

    Shapes:
        - **input:** positions :math:`(N, D)`, graphs :math:`(N)`
          *(optional)*, cells :math:`(B, D, D)` or :math:`(D, D)`
          *(optional)*, periodic directions :math:`(B, D)` or :math:`(D)`
          *(optional)*
        - **output:** edges :math:`(2, E)`, shifts :math:`(E, D)` to be added
          to :obj:`pos[j] - pos[i]`

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range, a position is not finite, or the periodic vectors of a cell
            span no volume.
        ImportError: If the backend is not installed.
    """
    check_pos(pos, look=cutoff is None)  # else a search looks
    if batch is not None:
        check_batch(batch, pos.size(0))
        check_devices(pos, batch=batch)
    cell, pbc = check_cell(cell, pbc, 1 if batch is None else None, pos)
    lattice = build_lattice(cell, pbc) if is_periodic(cell, pbc) else None
    edge_index, images = find_pairs(pos, cutoff, batch, lattice, backend)
    if images is None:
        shift = pos.new_zeros(edge_index.size(1), pos.size(1))
    else:
        target = edge_index[1]
        shift = lattice.shifts(images, torch.zeros_like(target)
                               if batch is None else batch[target])
    return edge_index, shift


def find_edges(pos: Tensor, cutoff: float | None, batch: Tensor | None = None,
               cell: Tensor | None = None, pbc: Tensor | None = None) -> Edges:
    r"""Returns the edges of :func:`neighbor_list`, without shifts where there
    is no cell.
    """
    edge_index, edge_shift = neighbor_list(pos, cutoff, batch, cell, pbc)
    return Edges(edge_index, None if cell is None else edge_shift)


def find_pairs(
    pos: Tensor,
    cutoff: float | None,
    batch: Tensor | None,
    lattice: Lattice | None,
    backend: str = 'auto',
) -> tuple[Tensor, Tensor | None]:
    r"""Returns the edges of :func:`neighbor_list` and, in the place of their
    shifts, numbers of lattice vectors :math:`(E, D)`, or :obj:`None` without a
    lattice.
    """
    check_option('backend', backend, BACKENDS)
    if cutoff is not None:
        check_cutoff('cutoff', cutoff)
    elif lattice is not None:
        raise ValueError("'cutoff' must be given for periodic graphs "
                         "(got None)")
    elif batch is None:
        return all_pairs(pos.size(0), device=pos.device), None

    pos = pos.detach()
    check_lengths('pos', pos)
    batch = (torch.zeros(pos.size(0), dtype=torch.long, device=pos.device)
             if batch is None else batch.long())
    if lattice is not None:
        lattice = Lattice(*(part.detach() for part in lattice))
        lattice.check_images(cutoff)
        num_graphs = lattice.vectors.size(0)
        if batch.numel() > 0 and int(batch.max()) >= num_graphs:
            raise ValueError(f"'cell' must have one matrix per graph, "
                             f"{int(batch.max()) + 1} (got {num_graphs})")
    order = None
    if bool((batch[1:] < batch[:-1]).any()):
        batch, order = batch.sort(stable=True)
        pos = pos[order]

    if cutoff is None:
        edge_index, images = all_pairs(pos.size(0), batch, pos.device), None
    else:
        edge_index, images = _close_pairs_of_sorted_graphs(
            pos, cutoff, batch, lattice, backend)
    if order is not None:
        edge_index, images = _sort_edges(order[edge_index], images,
                                         pos.size(0))
    return edge_index, images


def _close_pairs_of_sorted_graphs(
        pos: Tensor, cutoff: float, batch: Tensor, lattice: Lattice | None,
        backend: str) -> tuple[Tensor, Tensor | None]:
    r"""The list of :func:`find_pairs` for graphs in ascending order."""
    if backend == 'auto':
        backend = _choose_backend(pos, batch, lattice, cutoff)
    images = None
    if backend == 'pairs':
        if lattice is None:
            return close_pairs(pos, cutoff, batch), None
        edge_index, images = close_periodic_pairs(pos, cutoff, batch, lattice)
    elif backend == 'vesin':
        if pos.size(1) > 3:
            raise ValueError(f"'backend' must not be 'vesin' in more than "
                             f"three dimensions (got {pos.size(1)})")
        edge_index, images = vesin_pairs(pos, cutoff, batch, lattice)
    elif lattice is not None:
        raise ValueError(f"'backend' must be 'pairs' or 'vesin' for periodic "
                         f"graphs (got {backend!r})")
    else:
        edge_index = radius_graph_pairs(find_radius_graph(backend), pos,
                                        cutoff, batch)
    shift = None if images is None else lattice.shifts(
        images, batch[edge_index[1]])
    close = is_close(pos, edge_index, cutoff, shift)
    return _sort_edges(edge_index[:, close],
                       None if images is None else images[close], pos.size(0))


def _choose_backend(pos: Tensor, batch: Tensor, lattice: Lattice | None,
                    cutoff: float) -> str:
    on_cpu = pos.device.type == 'cpu'
    if pos.size(1) > 3:
        return 'pairs'
    if lattice is not None and on_cpu:
        return 'vesin'
    counts = torch.bincount(batch, minlength=1)
    # Average size of the graph of a pair, rounded up:
    size = int(counts.square().sum()) // max(batch.numel(), 1) + 1
    if lattice is not None:  # every pair has as many images
        size *= int((2 * (cutoff / lattice.heights).ceil() + 1).prod(
            dim=1).max())
    if size <= (MAX_NODES_CPU if on_cpu else MAX_NODES_ELSEWHERE):
        return 'pairs'
    if not on_cpu and lattice is None:
        for backend in ('torch_cluster', 'pyg_lib'):
            try:
                find_radius_graph(backend)
                return backend
            except ImportError:
                continue
    return 'vesin'


def _sort_edges(edge_index: Tensor, images: Tensor | None,
                num_nodes: int) -> tuple[Tensor, Tensor | None]:
    r"""Sorts edges by target, then by source, then by image."""
    key = edge_index[1] * num_nodes + edge_index[0]
    if images is None:
        return edge_index[:, key.argsort()], None
    if images.numel() == 0:
        return edge_index, images
    for column in images.t():  # as many digits as they need
        low, high = torch.aminmax(column)
        key = key * (high - low + 1) + (column - low)
    order = key.argsort()
    return edge_index[:, order], images[order]
