from collections.abc import Iterator

import torch
from torch import Tensor

from torch_sake.neighbors.lattice import Lattice
from torch_sake.ops.geometry import edge_vectors

# Candidates are searched a little further than the cutoff: rounding must not
# lose an edge. The final test of the distances drops what is too much.
MARGIN = 1e-5

# Distances are computed for at most so many pairs at a time:
MAX_PAIRS = 1 << 22


def all_pairs(num_nodes: int, batch: Tensor | None = None,
              device: torch.device | None = None) -> Tensor:
    r"""Returns every ordered pair of different nodes of each graph, sorted by
    target, then by source.

    Args:
        num_nodes (int): The number of nodes :math:`N`.
        batch (torch.Tensor, optional): The graph of each node, in ascending
            order. (default: :obj:`None`)
        device (torch.device, optional): The device of the pairs.
            (default: :obj:`None`)

    Shapes:
        - **input:** graphs :math:`(N)` *(optional)*
        - **output:** sources and targets :math:`(2, E)`
    """
    if batch is None:  # Shapes follow from N alone: nothing to wait for.
        target = torch.arange(num_nodes, device=device).repeat_interleave(
            max(num_nodes - 1, 0))
        source = torch.arange(max(num_nodes - 1, 0), device=device).repeat(
            num_nodes)
        source = source + (source >= target).to(source.dtype)
        return torch.stack([source, target])
    return torch.cat(list(_blocks_of_pairs(batch, None)), dim=1)


def close_pairs(pos: Tensor, cutoff: float,
                batch: Tensor | None = None) -> Tensor:
    r"""Returns the pairs of :func:`all_pairs` that are closer than the cutoff.

    Shapes:
        - **input:** positions :math:`(N, D)`, graphs, in ascending order
          :math:`(N)` *(optional)*
        - **output:** sources and targets :math:`(2, E)`
    """
    if batch is None:
        batch = torch.zeros(pos.size(0), dtype=torch.long, device=pos.device)
    return torch.cat([
        edge_index[:, is_close(pos, edge_index, cutoff)]
        for edge_index in _blocks_of_pairs(batch, MAX_PAIRS)
    ], dim=1)


def close_periodic_pairs(pos: Tensor, cutoff: float, batch: Tensor,
                         lattice: Lattice) -> tuple[Tensor, Tensor]:
    r"""Returns candidates for the pairs of atoms and periodic images that are
    closer than the cutoff, sorted by target, then by source, then by image.

    Shapes:
        - **input:** positions :math:`(N, D)`, graphs, in ascending order
          :math:`(N)`
        - **output:** sources and targets :math:`(2, E)`, numbers of lattice
          vectors from the source to its image :math:`(E, D)`
    """
    pos, wrapped = lattice.wrap(pos, batch)
    # Within the cell, fractional coordinates differ by less than one.
    most = (cutoff * (1 + MARGIN) / lattice.heights).ceil().long().tolist()
    edges, images, begin = [], [], 0
    for graph, count in enumerate(torch.bincount(
            batch, minlength=len(most)).tolist()):
        nodes = torch.arange(begin, begin + count, device=pos.device)
        grid = torch.cartesian_prod(*(
            torch.arange(-number, number + 1, device=pos.device)
            for number in most[graph])).view(-1, pos.size(1))  # [M, D]
        shifts = lattice.shifts(grid, torch.full_like(grid[:, 0], graph))
        step = max(MAX_PAIRS // max(count * grid.size(0), 1), 1)
        for target in nodes.split(step):
            vec = pos[nodes].unsqueeze(1) + shifts - (
                pos[target].view(-1, 1, 1, pos.size(1)))  # [n, n, M, D]
            is_candidate = vec.square().sum(dim=3) < (
                cutoff * (1 + MARGIN))**2
            row, source, image = is_candidate.nonzero(as_tuple=True)
            edge_index = torch.stack([nodes[source], target[row]])
            is_self = (edge_index[0] == edge_index[1]) & (
                grid[image] == 0).all(dim=1)
            edges.append(edge_index[:, ~is_self])
            images.append(grid[image[~is_self]])
        begin += count
    if not edges:
        return batch.new_empty((2, 0)), batch.new_empty((0, pos.size(1)))
    edge_index = torch.cat(edges, dim=1)
    return edge_index, (torch.cat(images) + wrapped[edge_index[1]] -
                        wrapped[edge_index[0]])


def is_close(pos: Tensor, edge_index: Tensor, cutoff: float,
             edge_shift: Tensor | None = None) -> Tensor:
    r"""Whether each edge is shorter than the cutoff. Every backend ends with
    this test, so that all of them return the very same edges.
    """
    vec = edge_vectors(pos, edge_index, edge_shift)
    return vec.square().sum(dim=1) < cutoff**2


def _blocks_of_pairs(batch: Tensor,
                     max_pairs: int | None) -> Iterator[Tensor]:
    r"""Yields the pairs of :func:`all_pairs`, at most :obj:`max_pairs` (or
    those of one target) at a time.
    """
    counts = torch.bincount(batch)
    first = counts.cumsum(0) - counts  # first node of each graph
    degree = counts[batch] - 1  # [N]
    end = degree.cumsum(0)  # [N]
    num_pairs = int(end[-1]) if end.numel() > 0 else 0
    step = num_pairs if max_pairs is None else max_pairs

    begin, done = 0, 0
    while begin < batch.numel():
        stop = batch.numel()
        if num_pairs - done > step:
            stop = int(torch.searchsorted(end, done + step, right=True))
            stop = max(stop, begin + 1)
        target = torch.arange(begin, stop, device=batch.device)
        target = target.repeat_interleave(degree[begin:stop])  # [E]
        rank = torch.arange(done, done + target.numel(), device=batch.device)
        rank = rank - (end - degree)[target]  # place among its target's pairs
        source = first[batch[target]] + rank
        source = source + (source >= target).to(source.dtype)
        yield torch.stack([source, target])
        begin, done = stop, done + target.numel()
    if batch.numel() == 0:
        yield batch.new_empty((2, 0), dtype=torch.long)
