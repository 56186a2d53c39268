from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torch_sake.neighbors.lattice import check_cell
from torch_sake.testing.compare import assert_outputs, call, have_volume


def assert_batch_independent(
    potential: Callable,
    graphs: Sequence[tuple[Tensor, ...]],
    atol: float = 1e-10,
    seed: int = 0,
) -> None:
    r"""Asserts that energies, forces and stresses of each graph are the same
    alone and in a batch, whatever the order of its atoms.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        graphs ([(torch.Tensor, ...)]): Atomic numbers, positions and, if it
            has one, the cell and the periodic directions of each graph. If any
            has a cell, graphs without one have a cell of zeros in the batch.
        atol (float, optional): Largest difference, in units of the largest
            output if this is above 1. (default: :obj:`1e-10`)
        seed (int, optional): Seed of the order. (default: :obj:`0`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          cells :math:`(3, 3)` *(optional)*, periodic directions :math:`(3)`
          *(optional)*

    Raises:
        AssertionError: If a graph depends on the others.
    """
    cells, periodic = _cells(graphs)
    with_stress = have_volume(cells)
    singles = [
        call(potential, *graph[:2], None, *graph[2:],
             compute_stress=with_stress and have_volume(*graph[2:3] or [None]))
        for graph in graphs
    ]
    energy, forces = (torch.cat([single[key] for single in singles]).detach()
                      for key in range(2))
    stress = torch.cat([
        forces.new_zeros(1, 3, 3) if single[2] is None else single[2]
        for single in singles]) if with_stress else None
    z, pos = (torch.cat([graph[key] for graph in graphs]) for key in range(2))
    batch = torch.cat([torch.full_like(graph[0], index)
                       for index, graph in enumerate(graphs)])
    generator = torch.Generator().manual_seed(seed)
    for name, order in (('in order', torch.arange(z.numel())),
                        ('mixed', torch.randperm(z.numel(),
                                                 generator=generator))):
        order = order.to(z.device)
        outputs = call(potential, z[order], pos[order], batch[order], cells,
                       periodic, with_stress)
        if not with_stress:
            outputs = *outputs[:2], None
        assert_outputs(f'of a batch, {name}', outputs,
                       (energy, forces[order], stress), atol)


def _cells(graphs: Sequence[tuple[Tensor, ...]]
           ) -> tuple[Tensor | None, Tensor | None]:
    r"""Returns cells :math:`(B, 3, 3)` and periodic directions
    :math:`(B, 3)` of a batch, or :obj:`None` twice if there are none.
    """
    if all(len(graph) == 2 or graph[2] is None for graph in graphs):
        return None, None
    cells, periodic = [], []
    for _, pos, *rest in graphs:
        cell, pbc = (*rest, None, None)[:2]
        if cell is None:
            cell, pbc = pos.new_zeros(3, 3), False
        cell, pbc = check_cell(cell, pbc, 1, pos)
        cells.append(cell)
        periodic.append(pbc)
    return torch.cat(cells), torch.cat(periodic)
