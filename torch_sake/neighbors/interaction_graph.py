import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from torch_sake.neighbors.search import neighbor_list
from torch_sake.ops.geometry import edge_vectors
from torch_sake.utils.bounds import check_cutoff

# The edges of each graph that has fixed ones: not in the graphs, as several
# threads may call the same model.
_state = threading.local()


class RadiusInteractionGraph(torch.nn.Module):
    r"""Edges and their lengths, as the argument :obj:`interaction_graph` of
    PyG's models wants them, from the exact :func:`~torch_sake.neighbor_list`.

    With it, :class:`torch_geometric.nn.models.SchNet` needs neither
    :obj:`torch-cluster` nor :obj:`pyg-lib`, and loses no neighbor. Within
    :meth:`fixed` it hands out edges that are known already, those to periodic
    images among them: so :class:`~torch_sake.Potential` takes such a model to
    periodic cells.

    Args:
        cutoff (float, optional): Length from which on there is no edge;
            :obj:`None` stands for all pairs. (default: :obj:`10.0`)

    Shapes:
        - **input:** positions :math:`(N, D)`, graphs :math:`(N)` *(optional)*
        - **output:** edges :math:`(2, E)`, their lengths :math:`(E)`
    """
    def __init__(self, cutoff: float | None = 10.0):
        super().__init__()
        if cutoff is not None:
            check_cutoff('cutoff', cutoff)
        self.cutoff = cutoff

    def forward(self, pos: Tensor,
                batch: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """"""
        dtype = pos.dtype
        for graph, edge_index, edge_shift, exact in getattr(_state, 'fixed',
                                                            ()):
            if graph is self:
                pos = pos if exact is None else exact
                break
        else:
            edge_index, _ = neighbor_list(pos, self.cutoff, batch)
            edge_shift = None
        return edge_index, edge_vectors(pos, edge_index, edge_shift,
                                        dtype).norm(dim=-1)

    @contextmanager
    def fixed(self, edge_index: Tensor,
              edge_shift: Tensor | None = None,
              pos: Tensor | None = None) -> Iterator[None]:
        r"""Has the given edges handed out in the place of those found, and
        their lengths computed from :obj:`pos`, if given: positions that the
        model gets in single precision may be there in double precision.
        """
        before = getattr(_state, 'fixed', ())
        _state.fixed = ((self, edge_index, edge_shift, pos), *before)
        try:
            yield
        finally:
            _state.fixed = before

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(cutoff={self.cutoff})'
