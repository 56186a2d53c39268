import csv
import os
import os.path as osp
from typing import Any, Dict, List

from torch_sake.files import remove_incomplete, replace_when_complete

LOG = 'log.csv'


class Records:
    r"""The trajectory and the log of a simulation, which grow frame by frame.

    Args:
        folder (str): The folder of both.
        format (str): The format of the trajectory, :obj:`"extxyz"` or
            :obj:`"traj"`.
        num_frames (int, optional): Number of frames that are kept of those
            which are there already, with their rows. (default: :obj:`0`)
    """
    def __init__(self, folder: str, format: str, num_frames: int = 0):
        self.format = format
        self.trajectory = osp.join(folder, trajectory_name(format))
        self.log = osp.join(folder, LOG)
        self.num_frames = num_frames
        os.makedirs(folder, exist_ok=True)
        for path in (self.trajectory, self.log):
            remove_incomplete(folder, osp.basename(path))
        self._cut()

    def append(self, atoms: Any, row: Dict[str, float]) -> None:
        r"""Adds a frame and its row."""
        import ase.io
        if self.format == 'traj':
            with ase.io.Trajectory(self.trajectory, 'a') as trajectory:
                trajectory.write(atoms)
        else:
            ase.io.write(self.trajectory, atoms, format='extxyz', append=True)
        is_new = not osp.exists(self.log)
        with open(self.log, 'a', newline='') as file:
            writer = csv.DictWriter(file, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.num_frames += 1

    def sync(self) -> None:
        r"""Gets to the disk what is written, before a state that counts it."""
        for path in filter(osp.exists, (self.trajectory, self.log)):
            with open(path, 'rb+') as file:
                os.fsync(file.fileno())

    def rows(self) -> Dict[str, List[float]]:
        r"""Returns the columns of the log."""
        with open(self.log, newline='') as file:
            rows = list(csv.DictReader(file))
        return {key: [float(row[key]) for row in rows] for key in rows[0]}

    def _cut(self) -> None:
        r"""Drops what was written after the last complete state."""
        import ase.io
        for path in (self.trajectory, self.log):
            if self.num_frames == 0 and osp.exists(path):
                os.remove(path)
        if self.num_frames == 0:
            return
        with open(self.log, newline='') as file:
            lines = file.readlines()[:self.num_frames + 1]
        with replace_when_complete(self.log) as path:
            with open(path, 'w', newline='') as file:
                file.writelines(lines)
        with replace_when_complete(self.trajectory) as path:
            # One after the other: trajectories may be larger than memory, and
            # the last frame may be incomplete.
            frames = ase.io.iread(self.trajectory, f':{self.num_frames}',
                                  format=self.format)
            if self.format == 'traj':
                with ase.io.Trajectory(path, 'w') as trajectory:
                    for atoms in frames:
                        trajectory.write(atoms)
            else:
                for atoms in frames:
                    ase.io.write(path, atoms, format='extxyz', append=True)


def trajectory_name(format: str) -> str:
    r"""Returns the name of the file of a trajectory."""
    return f'trajectory.{format}'
