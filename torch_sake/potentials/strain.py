r"""Stress as a derivative with respect to strain."""


import torch
from torch import Tensor


def apply_strain(
    strain: Tensor,
    pos: Tensor,
    batch: Tensor,
    edge_index: Tensor | None = None,
    edge_shift: Tensor | None = None,
) -> tuple[Tensor, Tensor | None]:
    r"""Returns positions and shifts of edges after the deformation
    :math:`\vec{r} \mapsto \vec{r} + \vec{r} \cdot \frac{1}{2}
    (\boldsymbol{\epsilon} + \boldsymbol{\epsilon}^{\top})` of space.

    Shapes:
        - **input:** strain :math:`(B, 3, 3)`, positions :math:`(N, 3)`, graphs
          :math:`(N)`, edges :math:`(2, E)` *(optional)*, shifts
          :math:`(E, 3)` *(optional)*
        - **output:** positions :math:`(N, 3)`, shifts :math:`(E, 3)` or
          :obj:`None`
    """
    strain = 0.5 * (strain + strain.mT)
    if edge_shift is not None:
        graph = batch.index_select(0, edge_index[1])
        edge_shift = edge_shift + _product(edge_shift, strain, graph)
    return pos + _product(pos, strain, batch), edge_shift


def _product(vectors: Tensor, strain: Tensor, graph: Tensor) -> Tensor:
    return (vectors.unsqueeze(1) @ strain.index_select(0, graph)).squeeze(1)


def empty_cells(cell: Tensor) -> Tensor:
    r"""Returns which cells span no volume.

    Shapes:
        - **input:** cells :math:`(B, 3, 3)`
        - **output:** :math:`(B)`
    """
    volume = torch.linalg.det(cell.detach().double()).abs()
    return volume <= 1e-6 * cell.detach().norm(dim=2).prod(dim=1)


def cell_volumes(cell: Tensor, pbc: Tensor) -> Tensor:
    r"""Returns the volumes of cells, infinite for those of zero volume that
    are open in some direction, such as slabs without a third vector: their
    stress is zero.

    Shapes:
        - **input:** cells :math:`(B, 3, 3)`, periodic directions
          :math:`(B, 3)`
        - **output:** volumes :math:`(B)`

    Raises:
        ValueError: If another cell has no volume, or none has one.
    """
    empty = empty_cells(cell)
    wrong = empty & pbc.all(dim=1)
    if bool(wrong.any()) or bool(empty.all()):
        graph = int((wrong if bool(wrong.any()) else empty).nonzero()[0])
        raise ValueError(f"'cell' must have a volume for the stress (got "
                         f"{cell[graph].tolist()} for graph {graph})")
    # With derivatives, of which those of empty cells would not be finite:
    eye = torch.eye(cell.size(1), dtype=cell.dtype, device=cell.device)
    volume = torch.linalg.det(torch.where(empty.view(-1, 1, 1), eye,
                                          cell).double())
    return torch.where(empty, torch.inf, volume.abs()).to(cell.dtype)
