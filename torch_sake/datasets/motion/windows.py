r"""Windows of trajectories: a frame, and another some frames later."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.utils.plain_checks import check_option, check_positive_int

# The other frame of a velocity, from the frame it belongs to:
VELOCITIES = {'next': 1, 'previous': -1}


class Windows(NamedTuple):
    r"""What all windows of a data set have in common: the number of frames
    from input to target, whether velocities are the next frame minus this one
    (:obj:`"next"`), this one minus the previous (:obj:`"previous"`) or those
    that the trajectories have (:obj:`None`), and the time of a frame.
    """
    horizon: int
    velocity: str | None
    time_step: float = 1.0

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
        r"""Returns positions and velocities of input and target, :math:`(W, n,
        D)`, of a trajectory :math:`(T, n, D)`, whose velocities may be given.
        """
        start = torch.tensor(list(starts), dtype=torch.long)
        end = start + self.horizon

        def velocity(frame: Tensor) -> Tensor:
            if self.velocity is None:
                return vel[frame]
            step = VELOCITIES[self.velocity]
            return step * (pos[frame + step] - pos[frame]) / self.time_step

        return dict(pos=pos[start], vel=velocity(start), y=pos[end],
                    y_vel=velocity(end))


def join(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    r"""Returns the samples of all parts, in single precision."""
    return {key: torch.cat([part[key] for part in parts]).float()
            for key in (parts[0] if parts else ())}


def fill(dataset: InMemoryDataset, states: dict[str, Tensor],
         nodes: dict[str, Tensor],
         edges: list[tuple[Tensor, ...]]) -> None:
    r"""Fills a data set with systems of one size: tensors of all systems,
    :obj:`[S, n, *]`, tensors that are those of every system, :obj:`[n, *]`,
    and :obj:`edge_index` and, if there are any, :obj:`edge_attr` of each
    system, or of all if it is one.
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
