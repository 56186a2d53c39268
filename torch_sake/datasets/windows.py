r"""Windows of trajectories: a frame, and another some frames later."""

from typing import Dict, List, NamedTuple, Tuple

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.checks import check_option, check_positive_int

# The other frame of a velocity, from the frame it belongs to:
VELOCITIES = {'next': 1, 'previous': -1}


class Windows(NamedTuple):
    r"""What all windows of a data set have in common.

    Args:
        horizon (int): Number of frames from input to target.
        velocity (str): :obj:`"next"` for the next frame minus this one,
            :obj:`"previous"` for this one minus the previous.
    """
    horizon: int
    velocity: str

    def check(self) -> 'Windows':
        check_positive_int('horizon', self.horizon)
        check_option('velocity', self.velocity, VELOCITIES)
        return self

    @property
    def size(self) -> int:
        r"""Number of frames that a window needs."""
        return self.horizon + 2

    def starts(self, num_frames: int) -> range:
        r"""Returns the input frames of all windows."""
        first = int(self.velocity == 'previous')
        return range(first, first + num_frames - self.size + 1)

    def cut(self, pos: Tensor, starts: List[int]) -> Dict[str, Tensor]:
        r"""Returns positions and velocities of input and target.

        Shapes:
            - **input:** trajectory :math:`(T, n, D)`
            - **output:** tensors :math:`(W, n, D)`
        """
        start = torch.tensor(starts, dtype=torch.long)
        end, step = start + self.horizon, VELOCITIES[self.velocity]
        return dict(pos=pos[start], vel=step * (pos[start + step] -
                                                pos[start]),
                    y=pos[end], y_vel=step * (pos[end + step] - pos[end]))


def fill(dataset: InMemoryDataset, states: Dict[str, Tensor],
         nodes: Dict[str, Tensor],
         edges: List[Tuple[Tensor, ...]]) -> None:
    r"""Fills a data set with systems of one size.

    Args:
        dataset (InMemoryDataset): The data set.
        states (dict): Tensors of all systems, :obj:`[S, n, *]`.
        nodes (dict): Tensors that are those of every system, :obj:`[n, *]`.
        edges (list): :obj:`edge_index` and, if there are any,
            :obj:`edge_attr` of each system, or of all if it is one.
    """
    num_systems, num_nodes = next(iter(states.values())).shape[:2]
    values = {key: value.reshape(-1, *value.shape[2:])
              for key, value in states.items()}
    values.update({key: value.repeat(num_systems, *[1] * (value.dim() - 1))
                   for key, value in nodes.items()})
    if len(edges) == 1:
        edges = edges * num_systems
    counts = torch.tensor([0] + [edge[0].size(1) for edge in edges])
    slices = dict.fromkeys(values, num_nodes * torch.arange(num_systems + 1))
    for key, parts in zip(('edge_index', 'edge_attr'), zip(*edges)):
        values[key] = torch.cat(parts, dim=int(key == 'edge_index'))
        slices[key] = counts.cumsum(0)
    dataset._data, dataset.slices = Data(**values), slices
