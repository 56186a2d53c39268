from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from torch_sake.neighbors import neighbor_list
from torch_sake.utils.bounds import check_cutoff


class NeighborList(BaseTransform):
    r"""Puts the exact neighbor list of :obj:`data.pos` in the place of
    :obj:`data.edge_index`, for positions that stay as they are: as a
    :obj:`pre_transform` it is computed once and for all. Models take it as
    their argument :obj:`edge_index`. With :obj:`data.cell` (:obj:`[1, D, D]`)
    and, if not all directions are periodic, :obj:`data.pbc` (:obj:`[1, D]`),
    the shifts of the edges become :obj:`data.edge_shift`.

    Edge features, which belong to the edges that were, are removed.

    Args:
        cutoff (float, optional): Length from which on there is no edge;
            :obj:`None` stands for all pairs. (default: :obj:`None`)

    Raises:
        TypeError, ValueError: If the cutoff is not positive and finite, or
            there are no positions.
    """
    def __init__(self, cutoff: float | None = None):
        if cutoff is not None:
            check_cutoff('cutoff', cutoff)
        self.cutoff = cutoff

    def forward(self, data: Data) -> Data:
        """"""
        if data.get('pos') is None:
            raise ValueError("'data' must have positions 'pos' (got None)")
        cell = data.get('cell')
        data.edge_index, edge_shift = neighbor_list(
            data.pos, self.cutoff, data.get('batch'), cell, data.get('pbc'))
        if cell is not None:
            data.edge_shift = edge_shift
        data.edge_attr = None
        return data

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(cutoff={self.cutoff})'
