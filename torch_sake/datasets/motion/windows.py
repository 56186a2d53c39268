r"""Windows of trajectories: a frame, and another some frames later."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.utils.checks import check_option, check_positive_int

# The other frame of a velocity, from the frame it belongs to:
VELOCITIES = {'next': 1, 'previous': -1}


class Windows(NamedTuple):
    r"""What all windows of a data set have in common.

    Args:
        horizon (int): Number of frames from input to target.
        velocity (str, optional): :obj:`"next"` for the next frame minus this
            one, :obj:`"previous"` for this one minus the previous,
            :obj:`None` where the trajectories have velocities of their own.
    """
    horizon: int
    velocity: str | None

    def check(self) -> 'Windows':
        check_positive_int('horizon', self.horizon)
        if self.velocity is not None:
            check_option('velocity', self.velocity, VELOCITIES)
        return self

    @property
    def size(self) -> int:
        r"""Number of frames that a window needs."""
        return self.horizon + 1 + int(self.velocity is not None)

    def starts(self, num_frames: int) -> range:
        r"""Returns the input frames of all windows."""
        first = int(self.velocity == 'previous')
        return range(first, first + num_frames - self.size + 1)

    def cut(self, pos: Tensor, starts: Sequence[int],
            vel: Tensor | None = None) -> dict[str, Tensor]:
        r"""Returns positions and velocities of input and target.

        Shapes:
            - **input:** trajectory :math:`(T, n, D)`, its velocities
              :math:`(T, n, D)` *(if they are no differences)*
            - **output:** tensors :math:`(W, n, D)`
        """
        start = torch.tensor(list(starts), dtype=torch.long)
        end = start + self.horizon

        def velocity(frame: Tensor) -> Tensor:
            if self.velocity is None:
                return vel[frame]
            step = VELOCITIES[self.velocity]
            return step * (pos[frame + step] - pos[frame])

        return dict(pos=pos[start], vel=velocity(start), y=pos[end],
                    y_vel=velocity(end))


def fill(dataset: InMemoryDataset, states: dict[str, Tensor],
         nodes: dict[str, Tensor],
         edges: list[tuple[Tensor, ...]]) -> None:
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
