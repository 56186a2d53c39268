from collections.abc import Iterator

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.datasets.motion.load import load_motion
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import check_positive_int, require

# What the systems of a batch have for each node:
NODE_KEYS = ('x', 'pos', 'vel', 'y', 'y_vel', 'charge')


def load_dynamics(data: str, root: PathLike, split: str,
                  horizon: int | None = None,
                  sizes: tuple[int, int, int] | None = None,
                  num_horizons: int = 1) -> InMemoryDataset:
    r"""Loads a split of the data of a
    :class:`~torch_sake.forecasting.DynamicsConfig`, with targets after
    :obj:`num_horizons` horizons.

    Args:
        data (str): :obj:`'nbody'`, :obj:`'cmu-walk'`, :obj:`'md17:NAME'` or
            an :obj:`.npz` file of trajectories.
        root (str or os.PathLike): Folder of the files of the data set.
        split (str): :obj:`'train'`, :obj:`'val'` or :obj:`'test'`.
        horizon (int, optional): Number of frames from an input to its target;
            that of the published protocol if not given.
            (default: :obj:`None`)
        sizes (tuple, optional): Numbers of systems of the three splits;
            those of the data set if not given. (default: :obj:`None`)
        num_horizons (int, optional): How many horizons ahead the targets are.
            (default: :obj:`1`)

    Raises:
        TypeError, ValueError: If :obj:`data` is none of them, or another
            argument is of the wrong type or range.
    """
    if horizon is not None:
        check_positive_int('horizon', horizon)
    options = {} if sizes is None else dict(sizes=tuple(sizes))
    return load_motion(data, root, split, horizon, num_horizons, **options)


class Batches:
    r"""The batches of a data set of systems of one size, put together without
    a loop over systems.

    Args:
        dataset (InMemoryDataset): The data set.
        batch_size (int): Number of systems of a batch.
        order (torch.Tensor, optional): The order of the systems; batches that
            would be smaller are then left out. (default: as they are)
        first (int, optional): Number of the first batch. (default: :obj:`0`)

    Raises:
        ValueError: If systems are of different sizes.
    """
    def __init__(self, dataset: InMemoryDataset, batch_size: int,
                 order: Tensor | None = None, first: int = 0):
        self.data, slices = dataset._data, dataset.slices
        sizes = slices['pos'].diff()
        require((sizes == sizes[0]).all(),
                f"The systems must be of one size (got {int(sizes.min())} to "
                f"{int(sizes.max())})")
        self.num_nodes, self.edge_slices = int(sizes[0]), slices['edge_index']
        drop = order is not None and len(order) >= batch_size
        if order is None:
            order = torch.arange(len(sizes))
        self.parts = [part for part in order.split(batch_size)
                      if not drop or len(part) == batch_size][first:]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Data]:
        return map(self.collate, self.parts)

    def collate(self, systems: Tensor) -> Data:
        r"""Returns the batch of some systems."""
        n = self.num_nodes
        batch = torch.arange(len(systems))
        values = {
            key: self.data[key].view(-1, n, self.data[key].size(1))[systems]
            .flatten(0, 1) for key in NODE_KEYS if key in self.data
        }
        # The edges of a system stand together, from 'first' on.
        first = self.edge_slices[systems]
        counts = self.edge_slices[systems + 1] - first
        graph = batch.repeat_interleave(counts)
        edges = torch.arange(len(graph)) + (
            first - counts.cumsum(0) + counts)[graph]
        values['edge_index'] = self.data.edge_index[:, edges] + n * graph
        if 'edge_attr' in self.data:
            values['edge_attr'] = self.data.edge_attr[edges]
        return Data(**values, batch=batch.repeat_interleave(n))


def reverse_time(data: Data) -> Data:
    r"""Returns the way back, from the target to the input."""
    values = data.to_dict()
    values.update(pos=data.y, vel=-data.y_vel, y=data.pos, y_vel=-data.vel)
    return Data.from_dict(values)
