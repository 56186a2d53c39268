from typing import Any

import numpy
import torch
from torch import Tensor
from torch_geometric.data import InMemoryDataset

from torch_sake.datasets.frames.split import SPLITS
from torch_sake.datasets.motion.windows import VELOCITIES, Windows, fill, join
from torch_sake.neighbors import neighbor_list
from torch_sake.utils.bounds import MAX_LENGTH, check_cutoff
from torch_sake.utils.checks import (
    check_edge_index,
    check_finite,
    check_tensor,
)
from torch_sake.utils.files import read_arrays
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.plain_checks import (
    check_option,
    check_positive_float,
    check_positive_int,
)

SHARES = (0.6, 0.2, 0.2)
MANY = 10  # trajectories, of which each is in one split
ARRAYS = ('vel', 'time_step', 'x', 'edge_index', 'edge_attr')


class Trajectories(InMemoryDataset):
    r"""Trajectories of the same nodes, or of as many: where will they be some
    frames later?

    Each sample is a :class:`~torch_geometric.data.Data` object with
    :obj:`pos`, :obj:`vel` (:obj:`[n, D]`), the targets :obj:`y` and
    :obj:`y_vel` (:obj:`[n, D]`), node features :obj:`x` (:obj:`[n, F]`), if
    there are any, and edges :obj:`edge_index`, with features :obj:`edge_attr`
    (:obj:`[E, K]`) if given: those that are given, or between all nodes or,
    with a cutoff, between those that are closer in the input.

    Of ten trajectories or more, the first 60 % are for training, the next
    20 % for validation, the last 20 % for testing. Of fewer, each is divided
    like that in time, so that no sample is close in time to those of another
    split.

    Args:
        pos (torch.Tensor): The positions, of :obj:`S` trajectories of
            :obj:`T` frames.
        split (str, optional): :obj:`"train"`, :obj:`"val"` or :obj:`"test"`.
            (default: :obj:`"train"`)
        horizon (int, optional): Number of frames from input to target.
            (default: :obj:`30`)
        sizes ((int, int, int), optional): Numbers of samples of the splits,
            evenly spaced; :obj:`None` for all. (default: :obj:`None`)
        velocity (str, optional): Where none are given, velocities are
            differences, :obj:`"previous"` for this frame minus the previous
            or :obj:`"next"` for the next frame minus this one, which looks a
            frame ahead. (default: :obj:`"previous"`)
        cutoff (float, optional): Distance from which on there are no edges.
            (default: :obj:`None`)
        vel (torch.Tensor, optional): The velocities. (default: :obj:`None`)
        time_step (float, optional): Time from frame to frame, in the unit of
            the velocities. (default: :obj:`1.0`)
        x (torch.Tensor, optional): Features of the nodes, of all trajectories
            or of each. (default: :obj:`None`)
        edge_index (torch.Tensor, optional): The edges, in all trajectories.
            (default: :obj:`None`)
        edge_attr (torch.Tensor, optional): Features of these edges.
            (default: :obj:`None`)

    Shapes:
        - **pos, vel:** :math:`[S, T, n, D]`
        - **x:** :math:`[n, F]` or :math:`[S, n, F]`
        - **edge_index:** :math:`[2, E]`, **edge_attr:** :math:`[E, K]`

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range or not finite, or there are fewer samples than asked for.
    """
    def __init__(
        self,
        pos: Tensor,
        split: str = 'train',
        horizon: int = 30,
        sizes: tuple[int, int, int] | None = None,
        velocity: str = 'previous',
        cutoff: float | None = None,
        vel: Tensor | None = None,
        time_step: float = 1.0,
        x: Tensor | None = None,
        edge_index: Tensor | None = None,
        edge_attr: Tensor | None = None,
    ):
        super().__init__()
        self.split = check_option('split', split, SPLITS)
        check_option('velocity', velocity, VELOCITIES)
        time_step = check_positive_float('time_step', time_step)
        windows = Windows(horizon, velocity if vel is None else None,
                          time_step).check()
        self.time = horizon * time_step
        _check(pos, vel, x, edge_index, edge_attr)
        if cutoff is not None:
            check_cutoff('cutoff', cutoff)
            if edge_index is not None:
                raise ValueError(f"'cutoff' must not be given together with "
                                 f"'edge_index' (got {cutoff})")
        trajectories, frames = self._division(pos)
        starts = self._starts(windows, len(trajectories), frames, sizes)
        within = slice(frames.start, frames.stop)
        parts = []
        for trajectory, some in zip(trajectories, starts):
            states = windows.cut(
                pos[trajectory, within], some,
                None if vel is None else vel[trajectory, within])
            if x is not None:
                own = x if x.dim() == 2 else x[trajectory]
                states['x'] = own.expand(len(some), *own.shape)
            parts.append(states)
        states = join(parts)
        for key, value in states.items():  # of a time step that is too small
            check_finite(key, value)
        if edge_index is None:
            edges = [(neighbor_list(pos, cutoff)[0], ) for pos in
                     (states['pos'][:1] if cutoff is None else states['pos'])]
        elif edge_attr is None:
            edges = [(edge_index.long(), )]
        else:
            edges = [(edge_index.long(), edge_attr.float())]
        fill(self, states, {}, edges)

    def _division(self, pos: Tensor) -> tuple[range, range]:
        r"""Returns the trajectories and the frames of the split."""
        index = SPLITS.index(self.split)
        num_trajectories, num_frames = pos.shape[:2]
        many = num_trajectories >= MANY
        size = num_trajectories if many else num_frames
        part = range(round(sum(SHARES[:index]) * size),
                     round(sum(SHARES[:index + 1]) * size))
        return (part, range(num_frames)) if many else (
            range(num_trajectories), part)

    def _starts(self, windows: Windows, num_trajectories: int, frames: range,
                sizes: tuple[int, int, int] | None) -> list[list[int]]:
        r"""Returns the input frames of the samples of each trajectory."""
        where = (f"for the {len(frames)} frames of {self.split!r}" if
                 num_trajectories == 1 else f"for {num_trajectories} "
                 f"trajectories of {len(frames)} frames in {self.split!r}")
        possible = windows.starts(len(frames))
        total = num_trajectories * len(possible)
        if total == 0:
            longest = len(frames) - windows.size + windows.horizon
            rule = (f"must be at most {longest}" if longest > 0 else
                    "needs longer trajectories")
            raise ValueError(f"'horizon' {rule} {where} "
                             f"(got {windows.horizon})")
        size = total
        if sizes is not None:
            if len(sizes) != len(SPLITS):
                raise ValueError(f"'sizes' must be those of {SPLITS} "
                                 f"(got {sizes})")
            size = check_positive_int('sizes',
                                      sizes[SPLITS.index(self.split)])
            if size > total:
                raise ValueError(f"'sizes' must be at most {total} {where} "
                                 f"and a horizon of {windows.horizon} "
                                 f"(got {size})")
        starts: list[list[int]] = [[] for _ in range(num_trajectories)]
        for i in range(size):
            trajectory, window = divmod(i * total // size, len(possible))
            starts[trajectory].append(possible[window])
        return starts


def _check(pos: Tensor, vel: Tensor | None, x: Tensor | None,
           edge_index: Tensor | None, edge_attr: Tensor | None) -> None:
    num_trajectories, _, num_nodes, _ = check_tensor(
        'pos', pos, ('S', 'T', 'n', 'D')).shape
    if pos.numel() == 0:
        raise ValueError(f"'pos' must not be empty "
                         f"(got shape {list(pos.shape)})")
    shapes = {'pos': pos.shape, 'vel': pos.shape, 'x': (num_nodes, 'F')}
    if x is not None and x.dim() == 3:
        shapes['x'] = (num_trajectories, num_nodes, 'F')
    if edge_index is not None:
        check_edge_index(edge_index, num_nodes)
        shapes['edge_attr'] = (edge_index.size(1), 'K')
    elif edge_attr is not None:
        raise ValueError("'edge_attr' must not be given without 'edge_index'")
    for name, value in (('pos', pos), ('vel', vel), ('x', x),
                        ('edge_attr', edge_attr)):
        if value is None:
            continue
        check_finite(name, check_tensor(name, value, shapes[name]))
        if value.size(-1) == 0:
            raise ValueError(f"'{name}' must have columns "
                             f"(got shape {list(value.shape)})")
        large = value[value.abs() > MAX_LENGTH]
        if large.numel() > 0:
            raise ValueError(f"'{name}' must be at most {MAX_LENGTH:g} "
                             f"(got {float(large[0]):g})")


def read_trajectories(path: PathLike, **options: Any) -> Trajectories:
    r"""Returns the :class:`Trajectories` of an :obj:`.npz` file with the array
    :obj:`pos`, of one trajectory (:obj:`[T, n, D]`) or of several
    (:obj:`[S, T, n, D]`), and, if there are any, :obj:`vel` of the same shape,
    :obj:`time_step`, :obj:`x`, :obj:`edge_index` and :obj:`edge_attr`.

    Args:
        path (str or os.PathLike): The file.
        **options (optional): Other arguments of :class:`Trajectories`.

    Raises:
        ValueError: If the file is no complete :obj:`.npz` file, lacks
            positions, has other arrays or what is an option, too, or an array
            cannot be one of :class:`Trajectories`.
    """
    path = local_path('data', path)
    arrays = read_arrays(path, ('pos', ), ARRAYS)
    with numpy.load(path) as archive:
        unknown = sorted(set(archive.files) - arrays.keys())
    if unknown:
        raise ValueError(f"'{path}' must have no arrays but 'pos' and "
                         f"{list(ARRAYS)} (got {unknown})")
    twice = sorted(arrays.keys() & options.keys())
    if twice:
        raise ValueError(f"'{path}' has {twice}, which must not be given "
                         f"besides")
    tensors = {}
    for name, array in arrays.items():
        kinds, dtype, what = ('iu', 'int64', 'integers') if (
            name == 'edge_index') else ('iuf', 'float64', 'numbers')
        if array.dtype.kind not in kinds:
            raise ValueError(f"'{path}': '{name}' must be of {what} "
                             f"(got {array.dtype})")
        tensors[name] = torch.from_numpy(array.astype(dtype))
    if 'time_step' in arrays:
        time_step = tensors.pop('time_step')
        if time_step.numel() != 1:
            raise ValueError(f"'{path}': 'time_step' must be one number "
                             f"(got shape {tuple(time_step.shape)})")
        options['time_step'] = float(time_step)
    for name in {'pos', 'vel'} & tensors.keys():
        if tensors[name].dim() == 3:
            tensors[name] = tensors[name].unsqueeze(0)
    try:
        return Trajectories(**tensors, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"'{path}': {error}") from error
