from collections.abc import Callable
from typing import Any, NamedTuple

from torch_geometric.data import InMemoryDataset

from torch_sake.datasets.motion.cmu_motion import CMUMotion
from torch_sake.datasets.motion.md17_trajectory import MD17Trajectory
from torch_sake.datasets.motion.nbody import NBody
from torch_sake.datasets.motion.trajectories import read_trajectories
from torch_sake.utils.inputs import find_data_set
from torch_sake.utils.paths import PathLike

FIRST_FRAME = 30  # of the published setting of charged particles


class Motion(NamedTuple):
    r"""What loads a data set of motion.

    Args:
        read (callable): Takes the folder, the name behind the colon, if there
            is one, the split, the number of frames from input to target and,
            as a keyword, :obj:`sizes`.
        horizon (int): This number in the published setting.
    """
    read: Callable[..., InMemoryDataset]
    horizon: int


def _nbody(root: PathLike, split: str, horizon: int, **sizes: Any) -> NBody:
    frames = FIRST_FRAME, FIRST_FRAME + horizon
    return NBody(root, split, frames=frames, **sizes)


def _cmu_walk(root: PathLike, split: str, horizon: int,
              sizes: None = None) -> CMUMotion:
    return CMUMotion(root, split, horizon=horizon)


# All data sets of motion that are called by a name:
MOTION = {
    'nbody': Motion(_nbody, 10),
    'cmu-walk': Motion(_cmu_walk, 30),
    'md17:NAME': Motion(MD17Trajectory, 30),
}
OF_A_FILE = 30  # the horizon


def load_motion(data: str, root: PathLike, split: str,
                horizon: int | None = None, num_horizons: int = 1,
                **sizes: Any) -> InMemoryDataset:
    r"""Loads a split of trajectories by a name of :obj:`MOTION`, or from an
    :obj:`.npz` file, with targets after :obj:`num_horizons` horizons.

    Raises:
        ValueError: If :obj:`data` is none of them.
    """
    motion, name = find_data_set(data, MOTION)
    if motion is not None:
        frames = (horizon or motion.horizon) * num_horizons
        return motion.read(root, *name, split, frames, **sizes)
    if not data.endswith('.npz'):
        names = ', '.join(map(repr, MOTION))
        raise ValueError(f"'data' must be {names} or an .npz file "
                         f"(got {data!r})")
    return read_trajectories(data, split=split, **sizes,
                             horizon=(horizon or OF_A_FILE) * num_horizons)
