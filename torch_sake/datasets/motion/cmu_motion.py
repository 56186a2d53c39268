import os.path as osp
from collections.abc import Iterator, Sequence

import numpy
import torch
from torch import Tensor
from torch_geometric.data import InMemoryDataset

from torch_sake.datasets.frames.split import SPLITS
from torch_sake.datasets.motion.acclaim import read_motion, read_skeleton
from torch_sake.datasets.motion.kinematics import joint_positions
from torch_sake.datasets.motion.windows import Windows, fill, join
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.plain_checks import check_option, check_positive_int

METERS = 2.54 / 100 / 0.45  # of one unit of the files

# The published protocol (subject 35) counts its walking trials from 0 on:
TRIALS = (*range(1, 17), *range(28, 35))
CASES = {
    'train': (20, 1, 17, 13, 14, 9, 4, 2, 7, 5, 16),
    'val': (3, 8, 11, 12, 15, 18),
    'test': (6, 19, 21, 0, 22, 10),
}
NUM_TRAIN = 198  # samples
NUM_STARTS, LAST_START, SEED = 100, 300, 100  # of each trial


class CMUMotion(InMemoryDataset):
    r"""A walking person of the `CMU Graphics Lab Motion Capture Database
    <http://mocap.cs.cmu.edu>`_: where will the joints be a quarter of a second
    later?

    The files are yours to place: the skeleton :obj:`<root>/raw/35.asf` and the
    trials :obj:`<root>/raw/35_01.amc` and so on, as they are or compressed
    (:obj:`.gz`). They are read each time, 20 trials in about two seconds.

    Each sample is a :class:`~torch_geometric.data.Data` object as those of
    :class:`~torch_sake.datasets.Trajectories`. :obj:`x` (:obj:`[31, 31]`) is
    the number of each joint as a unit vector, and edges are between the ends
    of a bone (:obj:`edge_attr` 1) and between joints two bones apart (2).
    Positions are in the unit of the files, 0.0564 m, or in meters. Velocities
    are differences of two frames, in this unit per frame; there are 120 frames
    in a second.

    By default, samples are those of the published protocol of Huang et al.
    (`arXiv:2203.06442 <https://arxiv.org/abs/2203.06442>`_), for subject 35
    and as far as trials and frames are there: 198 samples of 11 trials for
    training, 600 of 6 other trials for validation and for testing each. That
    its cases are the walking trials in their order, and its first frame has
    the number 1, is an assumption. If training trials are missing, more
    samples are taken of the others.

    Args:
        root (str or os.PathLike): The folder with the folder :obj:`raw`.
        split (str, optional): :obj:`"train"`, :obj:`"val"` or :obj:`"test"`.
            (default: :obj:`"train"`)
        subject (int, optional): The subject. (default: :obj:`35`)
        trials (list, optional): The trials of the three splits, of which every
            sample is taken, such as :obj:`([1, 2], [3], [4])`.
            (default: those of the published protocol)
        horizon, velocity (optional): As for
            :class:`~torch_sake.datasets.Trajectories`. The published protocol
            has velocities from the :obj:`"next"` frame, the default.
        in_meters (bool, optional): Whether positions are in meters.
            (default: :obj:`False`)

    Raises:
        TypeError, ValueError: If an argument is of the wrong type or range, or
            a file is missing, cannot be understood, or is shorter than the
            horizon.
    """
    def __init__(
        self,
        root: PathLike,
        split: str = 'train',
        subject: int = 35,
        trials: tuple[Sequence[int], ...] | None = None,
        horizon: int = 30,
        velocity: str = 'next',
        in_meters: bool = False,
    ):
        super().__init__()
        check_option('split', split, SPLITS)
        check_positive_int('subject', subject)
        self.windows = Windows(horizon, velocity).check()
        self.time = float(horizon)  # in frames, as velocities are
        if trials is None and subject != 35:
            raise ValueError(f"'trials' must be given for a subject other "
                             f"than 35 (got subject={subject})")
        if trials is not None and len(trials) != len(SPLITS):
            raise ValueError(f"'trials' must be those of {SPLITS} "
                             f"(got {trials})")
        self.folder = osp.join(local_path('root', root), 'raw')
        self.subject = subject
        self.skeleton = read_skeleton(self._find(f'{subject:02d}.asf'))
        self.joints = [bone.name for bone in self.skeleton.bones]

        scale = METERS if in_meters else 1.0
        states = join([self.windows.cut(scale * pos, starts)
                       for pos, starts in self._parts(split, trials)])
        if len(states.get('pos', ())) == 0:
            raise ValueError(f"There must be trials of the split {split!r} in "
                             f"'{self.folder}' (got none with samples)")
        fill(self, states, dict(x=torch.eye(len(self.joints))),
             [skeleton_edges(self.skeleton.parents)])

    def _parts(self, split: str, trials: tuple[Sequence[int], ...] | None
               ) -> Iterator[tuple[Tensor, Sequence[int]]]:
        r"""Yields the positions of each trial and the frames of its inputs."""
        if trials is not None:
            for trial in trials[SPLITS.index(split)]:
                pos, _ = self._read(self._find(self._name(trial)))
                yield pos, self.windows.starts(len(pos))
            return
        published = published_starts(split)
        paths = {trial: self._find(self._name(trial), needed=False)
                 for trial in published}
        paths = {trial: path for trial, path in paths.items() if path}
        for trial, path in paths.items():
            pos, first_frame = self._read(path)
            possible = self.windows.starts(len(pos))
            # The protocol's frame 0 has the number 1.
            starts = [start for start in 1 - first_frame + published[trial]
                      if start in possible]
            yield pos, (starts[:NUM_TRAIN // len(paths)]
                        if split == 'train' else starts)

    def _name(self, trial: int) -> str:
        return (f'{self.subject:02d}_'
                f"{check_positive_int('trials', trial):02d}.amc")

    def _find(self, name: str, needed: bool = True) -> str:
        r"""Returns the path of a file, or nothing if it may be missing."""
        for ending in ('', '.gz'):
            path = osp.join(self.folder, name + ending)
            if osp.isfile(path):
                return path
        if needed:
            raise ValueError(f"There is no file '{name}' or '{name}.gz' in "
                             f"'{self.folder}'")
        return ''

    def _read(self, path: str) -> tuple[Tensor, int]:
        r"""Returns the positions of a trial and the number of its first
        frame.
        """
        motion = read_motion(path, self.skeleton)
        if len(motion.values) < self.windows.size:
            raise ValueError(
                f"'{path}' must have at least {self.windows.size} frames for "
                f"a horizon of {self.windows.horizon} "
                f"(got {len(motion.values)})")
        return joint_positions(self.skeleton, motion), motion.first_frame


def published_starts(split: str) -> dict[int, numpy.ndarray]:
    r"""Returns the start frames of each trial in the published protocol, in
    its order: they were drawn for one split after the other.
    """
    generator = numpy.random.RandomState(SEED)
    starts = {name: {TRIALS[case]: generator.choice(
        LAST_START, NUM_STARTS, replace=False) for case in cases}
        for name, cases in CASES.items()}
    return starts[split]


def skeleton_edges(parents: list[int]) -> tuple[Tensor, Tensor]:
    r"""Returns the edges between joints that are one or two bones apart, and
    this number.

    Shapes:
        - **output:** edges :math:`(2, E)`, features :math:`(E, 1)`
    """
    bones = torch.zeros(len(parents), len(parents))
    for child, parent in enumerate(parents):
        if parent >= 0:
            bones[child, parent] = bones[parent, child] = 1.0
    two = (bones @ bones > 0) & (torch.eye(len(parents)) == 0)
    apart = bones + 2.0 * two  # a tree has no triangles: never both
    edge_index = apart.nonzero().t().contiguous()
    return edge_index, apart[edge_index[0], edge_index[1]].view(-1, 1)
