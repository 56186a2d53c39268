from torch_sake.datasets.frames.md17 import md17_frames
from torch_sake.datasets.motion.trajectories import Trajectories
from torch_sake.utils.paths import PathLike


class MD17Trajectory(Trajectories):
    r"""A molecule of MD17 in motion: where will the atoms be some frames
    later?

    Samples and splits are those of :class:`~torch_sake.datasets.Trajectories`,
    with the atomic numbers :obj:`z` (:obj:`[n]`) and, as :obj:`x`, the element
    of each atom as a unit vector (:obj:`[n, K]`, in the order of the atomic
    numbers). Positions are in Angstrom. MD17 has no velocities: they are
    differences of two frames, in Angstrom per frame.

    Args:
        root (str or os.PathLike): The folder of the MD17 files, as that of
            :func:`~torch_sake.datasets.md17_frames`.
        name (str): A name of :class:`~torch_geometric.datasets.MD17` whose
            frames follow one another in time: not a revised one, and not one
            of coupled cluster.
        split, horizon, sizes, cutoff (optional): As for
            :class:`~torch_sake.datasets.Trajectories`.
            (default of :obj:`sizes`: :obj:`(500, 2000, 2000)`)
        velocity (str, optional): As for
            :class:`~torch_sake.datasets.Trajectories`. With a horizon of 1,
            :obj:`"next"` is what is asked for. (default: :obj:`"next"`)

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
