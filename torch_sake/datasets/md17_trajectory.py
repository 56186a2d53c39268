from typing import Optional, Tuple

import torch
from torch_geometric.data import InMemoryDataset

from torch_sake.checks import (check_option, check_positive_float,
                               check_positive_int)
from torch_sake.datasets.md17 import md17_frames
from torch_sake.datasets.nbody import SPLITS
from torch_sake.datasets.windows import Windows, fill
from torch_sake.files import PathLike
from torch_sake.neighbors import neighbor_list

SHARES = (0.6, 0.2, 0.2)  # of the trajectory


class MD17Trajectory(InMemoryDataset):
    r"""A molecule of MD17 in motion: where will the atoms be some frames
    later?

    Each sample is a :class:`~torch_geometric.data.Data` object with
    :obj:`pos`, :obj:`vel` (:obj:`[n, 3]`), the targets :obj:`y` and
    :obj:`y_vel` (:obj:`[n, 3]`), the atomic numbers :obj:`z` (:obj:`[n]`), the
    element of each atom as a unit vector :obj:`x` (:obj:`[n, K]`, in the order
    of the atomic numbers) and edges :obj:`edge_index` between all atoms or,
    with a cutoff, between those that are closer. Positions are in Angstrom.
    MD17 has no velocities: they are differences of two frames, in Angstrom per
    frame.

    The first 60 % of the trajectory are for training, the next 20 % for
    validation, the last 20 % for testing, so that no sample is close in time
    to those of another split.

    Args:
        root (str or os.PathLike): The folder of the MD17 files, as that of
            :func:`~torch_sake.datasets.md17_frames`.
        name (str): A name of :class:`~torch_geometric.datasets.MD17` whose
            frames follow one another in time: not a revised one, and not one
            of coupled cluster.
        split (str, optional): :obj:`"train"`, :obj:`"val"` or :obj:`"test"`.
            (default: :obj:`"train"`)
        horizon (int, optional): Number of frames from input to target.
            (default: :obj:`30`)
        sizes ((int, int, int), optional): Numbers of samples of the splits,
            evenly spaced in time; :obj:`None` for all.
            (default: :obj:`(500, 2000, 2000)`)
        velocity (str, optional): :obj:`"next"` for the next frame minus this
            one, which looks a frame ahead (with a horizon of 1, it is what is
            asked for); :obj:`"previous"` for this frame minus the previous.
            (default: :obj:`"next"`)
        cutoff (float, optional): Distance from which on there are no edges.
            (default: :obj:`None`)

    Raises:
        TypeError, ValueError: If an argument is of the wrong type or range,
            or there are fewer samples than asked for.
    """
    def __init__(
        self,
        root: PathLike,
        name: str,
        split: str = 'train',
        horizon: int = 30,
        sizes: Optional[Tuple[int, int, int]] = (500, 2000, 2000),
        velocity: str = 'next',
        cutoff: Optional[float] = None,
    ):
        super().__init__()
        index = SPLITS.index(check_option('split', split, SPLITS))
        windows = Windows(horizon, velocity).check()
        self.time = float(horizon)  # in frames, as velocities are
        if cutoff is not None:
            check_positive_float('cutoff', cutoff)
        if 'revised' in name or 'CCSD' in name:
            raise ValueError(f"'name' must be that of frames in the order of "
                             f"time (got {name!r})")
        frames = md17_frames(root, name)
        begin, end = (round(share * len(frames)) for share in (
            sum(SHARES[:index]), sum(SHARES[:index + 1])))
        z = frames[0].z
        pos = frames._data.pos.view(len(frames), -1, 3)[begin:end]
        starts = list(windows.starts(len(pos)))
        if sizes is not None:
            if len(sizes) != len(SPLITS):
                raise ValueError(f"'sizes' must be those of {SPLITS} "
                                 f"(got {sizes})")
            size = check_positive_int('sizes', sizes[index])
            if size > len(starts):
                raise ValueError(
                    f"'sizes' must be at most {len(starts)} for the "
                    f"{end - begin} frames of {split!r} and a horizon of "
                    f"{horizon} (got {size})")
            starts = [starts[i * len(starts) // size] for i in range(size)]
        elif not starts:
            raise ValueError(f"'horizon' must be at most {end - begin - 2} "
                             f"for the {end - begin} frames of {split!r} "
                             f"(got {horizon})")
        states = {key: value.float()
                  for key, value in windows.cut(pos, starts).items()}
        edges = [(neighbor_list(pos, cutoff)[0], ) for pos in
                 (states['pos'][:1] if cutoff is None else states['pos'])]
        kinds = torch.unique(z)
        fill(self, states, dict(z=z, x=(z.view(-1, 1) == kinds).float()),
             edges)
