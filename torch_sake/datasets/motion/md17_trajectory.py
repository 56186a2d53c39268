from torch_sake.datasets.frames.md17 import md17_frames
from torch_sake.datasets.motion.trajectories import Trajectories
from torch_sake.utils.files import PathLike


class MD17Trajectory(Trajectories):
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
        sizes: tuple[int, int, int] | None = (500, 2000, 2000),
        velocity: str = 'next',
        cutoff: float | None = None,
    ):
        if 'revised' in name or 'CCSD' in name:
            raise ValueError(f"'name' must be that of frames in the order of "
                             f"time (got {name!r})")
        frames = md17_frames(root, name)
        z = frames[0].z
        super().__init__(
            frames._data.pos.view(1, len(frames), len(z), 3), split, horizon,
            sizes, velocity, cutoff, x=(z.view(-1, 1) == z.unique()).float())
        self._data.z, self.slices['z'] = z.repeat(len(self)), (
            self.slices['pos'])
