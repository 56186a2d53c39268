r"""Labeled structures and their division into training, validation and test
sets.
"""

import torch_sake.pyg  # noqa: F401
from torch_sake.datasets.ase_file import read_frames
from torch_sake.datasets.cmu_motion import CMUMotion
from torch_sake.datasets.convert import convert_frames, write_frames
from torch_sake.datasets.frames import Frames
from torch_sake.datasets.frames_on_disk import FramesOnDisk
from torch_sake.datasets.iso17 import ISO17
from torch_sake.datasets.load import load_frames
from torch_sake.datasets.md17 import md17_frames, md22_frames
from torch_sake.datasets.md17_trajectory import MD17Trajectory
from torch_sake.datasets.nbody import NBody
from torch_sake.datasets.qm9 import qm9_frames
from torch_sake.datasets.split import (Split, published_split, random_split,
                                       read_split)
from torch_sake.datasets.trajectories import Trajectories, read_trajectories
from torch_sake.datasets.xtb import xtb_frames

__all__ = [
    'CMUMotion',
    'Frames',
    'FramesOnDisk',
    'ISO17',
    'MD17Trajectory',
    'NBody',
    'Split',
    'Trajectories',
    'convert_frames',
    'load_frames',
    'md17_frames',
    'md22_frames',
    'published_split',
    'qm9_frames',
    'random_split',
    'read_frames',
    'read_split',
    'read_trajectories',
    'write_frames',
    'xtb_frames',
]
