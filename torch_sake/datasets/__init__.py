r"""Labeled structures and their division into training, validation and test
sets, and trajectories.
"""

from typing import TYPE_CHECKING

from torch_sake.utils.lazy import lazy_names

if TYPE_CHECKING:
    from torch_sake.datasets.frames.ase_file import read_frames
    from torch_sake.datasets.frames.convert import convert_frames, write_frames
    from torch_sake.datasets.frames.frames import Frames
    from torch_sake.datasets.frames.iso17 import ISO17
    from torch_sake.datasets.frames.joined_frames import JoinedFrames
    from torch_sake.datasets.frames.load import load_frames
    from torch_sake.datasets.frames.md17 import md17_frames, md22_frames
    from torch_sake.datasets.frames.on_disk import FramesOnDisk
    from torch_sake.datasets.frames.qm9 import qm9_frames
    from torch_sake.datasets.frames.split import (
        Split,
        published_split,
        random_split,
        read_split,
    )
    from torch_sake.datasets.frames.xtb import xtb_frames
    from torch_sake.datasets.motion.cmu_motion import CMUMotion
    from torch_sake.datasets.motion.md17_trajectory import MD17Trajectory
    from torch_sake.datasets.motion.nbody import NBody
    from torch_sake.datasets.motion.trajectories import (
        Trajectories,
        read_trajectories,
    )

__all__ = [
    'CMUMotion', 'Frames', 'FramesOnDisk', 'ISO17', 'JoinedFrames',
    'MD17Trajectory', 'NBody', 'Split', 'Trajectories', 'convert_frames',
    'load_frames', 'md17_frames', 'md22_frames', 'published_split',
    'qm9_frames', 'random_split', 'read_frames', 'read_split',
    'read_trajectories', 'write_frames', 'xtb_frames',
]

__getattr__, __dir__ = lazy_names(__name__, {
    'CMUMotion': 'motion.cmu_motion',
    'Frames': 'frames.frames',
    'FramesOnDisk': 'frames.on_disk',
    'ISO17': 'frames.iso17',
    'JoinedFrames': 'frames.joined_frames',
    'MD17Trajectory': 'motion.md17_trajectory',
    'NBody': 'motion.nbody',
    'Split': 'frames.split',
    'Trajectories': 'motion.trajectories',
    'convert_frames': 'frames.convert',
    'load_frames': 'frames.load',
    'md17_frames': 'frames.md17',
    'md22_frames': 'frames.md17',
    'published_split': 'frames.split',
    'qm9_frames': 'frames.qm9',
    'random_split': 'frames.split',
    'read_frames': 'frames.ase_file',
    'read_split': 'frames.split',
    'read_trajectories': 'motion.trajectories',
    'write_frames': 'frames.convert',
    'xtb_frames': 'frames.xtb',
}, first='torch_sake.utils.pyg')
