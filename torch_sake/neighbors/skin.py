import torch
from torch import Tensor

from torch_sake.neighbors.edges import Edges, is_periodic
from torch_sake.neighbors.lattice import Lattice, build_lattice, check_cell
from torch_sake.neighbors.pairs import is_close
from torch_sake.neighbors.search import find_pairs
from torch_sake.ops.autocast import without_autocast
from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.checks import check_batch, check_pos
from torch_sake.utils.plain_checks import check_positive_float
from torch_sake.utils.thread_lock import ThreadLock, one_thread_at_a_time


class SkinNeighborList:
    r"""A :func:`~torch_sake.neighbor_list` for positions that change little
    from call to call, as in molecular dynamics.

    Pairs are searched up to the cutoff plus a skin. The next calls choose
    those within the cutoff from them, until a pair from beyond the skin could
    have come that close: when an atom has moved half of the skin or, if the
    cell has changed from :math:`\mathbf{C}` to :math:`\mathbf{C}^{\prime}`,
    as soon as

    .. math::
        \sigma_{\min}(\mathbf{C}^{-1} \mathbf{C}^{\prime})
        (d_{\text{cut}} + d_{\text{skin}}) - 2 \max_i |\vec{\delta}_i| <
        d_{\text{cut}}

    where :math:`\vec{\delta}_i` are the motions beside those of the cell. The
    results are those of :func:`~torch_sake.neighbor_list`, in the same order.
    Several threads may share a list; they wait for each other.

    Args:
        cutoff (float): Length from which on there is no edge, in units of the
            positions.
        skin (float): The skin, in units of the positions.

    Shapes:
        As those of :func:`~torch_sake.neighbor_list`.

    Raises:
        TypeError, ValueError: If an argument is not positive and finite, and
            as :func:`~torch_sake.neighbor_list`.
    """
    def __init__(self, cutoff: float, skin: float):
        self.cutoff = check_cutoff('cutoff', cutoff)
        self.skin = check_positive_float('skin', skin)
        self.num_searches = 0
        self._pos: Tensor | None = None
        self._lock = ThreadLock()

    @one_thread_at_a_time
    @without_autocast
    def __call__(
        self,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
    ) -> Edges:
        check_pos(pos, look=False)
        if batch is not None:
            check_batch(batch, pos.size(0))
        cell, pbc = check_cell(cell, pbc, 1 if batch is None else None, pos)
        vectors = None
        if is_periodic(cell, pbc):
            vectors = torch.where(pbc.unsqueeze(2), cell, 0.0)
        if not self._is_valid(pos, batch, vectors):
            self._search(pos, batch, vectors, cell, pbc)
        shift = pos.new_zeros(self._edge_index.size(1), pos.size(1))
        if vectors is not None:
            shift = self._lattice._replace(vectors=vectors).shifts(
                self._images, self._graph_of_edge)
        close = is_close(pos.detach(), self._edge_index, self.cutoff,
                         shift.detach())
        return Edges(self._edge_index[:, close], shift[close])

    def _search(self, pos: Tensor, batch: Tensor | None,
                vectors: Tensor | None, cell: Tensor | None,
                pbc: Tensor | None) -> None:
        lattice = None if vectors is None else build_lattice(cell, pbc)
        self._edge_index, self._images = find_pairs(
            pos, self.cutoff + self.skin, batch, lattice)
        self._lattice: Lattice | None = None
        if lattice is not None:
            self._lattice = Lattice(*(part.detach() for part in lattice))
        self._graph = (torch.zeros_like(pos[:, 0], dtype=torch.long)
                       if batch is None else batch.long().clone())
        self._graph_of_edge = self._graph[self._edge_index[1]]
        self._pos = pos.detach().clone()
        self.num_searches += 1

    def _is_valid(self, pos: Tensor, batch: Tensor | None,
                  vectors: Tensor | None) -> bool:
        r"""Whether no edge can be missing."""
        if (self._pos is None or self._pos.shape != pos.shape
                or self._pos.dtype != pos.dtype
                or (vectors is None) != (self._lattice is None)):
            return False
        graph = self._graph
        if batch is not None and not torch.equal(batch.long(), graph):
            return False
        if batch is None and bool(graph.any()):
            return False
        if pos.numel() == 0:
            return True
        pos, expected, stretch = pos.detach(), self._pos, 1.0
        if vectors is not None:
            old, vectors = self._lattice.vectors, vectors.detach()
            if old.shape != vectors.shape or not torch.equal(
                    old.any(dim=2), vectors.any(dim=2)):
                return False
            if not torch.equal(old, vectors):
                deformation = self._lattice.inverse @ (vectors - old)
                deformation = deformation + torch.eye(
                    pos.size(1), dtype=pos.dtype, device=pos.device)
                stretch = float(torch.linalg.svdvals(deformation).min())
                expected = torch.einsum('nd,ndk->nk', expected,
                                        deformation[graph])
        moved = float((pos - expected).norm(dim=1).max())
        # Not the other way round: NaN must lead to a search, which names it.
        return stretch * (self.cutoff + self.skin) - 2 * moved >= self.cutoff
