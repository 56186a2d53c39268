import csv
import os
import os.path as osp
from typing import Any

from torch_sake.simulation.cut import cut_records
from torch_sake.utils.files import remove_incomplete

LOG = 'log.csv'


class Records:
    r"""The trajectory and the log of a simulation, which grow frame by frame.

    Args:
        folder (str): The folder of both.
        format (str): The format of the trajectory, :obj:`"extxyz"` or
            :obj:`"traj"`.
        interval (int): Number of steps from one frame to the next.
        state (dict, optional): The state that a simulation goes on from. What
            was written before it is kept. (default: :obj:`None`)

    Raises:
        ValueError: If something of that is missing.
    """
    def __init__(self, folder: str, format: str, interval: int,
                 state: dict[str, Any] | None = None):
        self.format = format
        self.trajectory = osp.join(folder, trajectory_name(format))
        self.log = osp.join(folder, LOG)
        self.num_frames = 0 if state is None else int(state['num_frames'])
        os.makedirs(folder, exist_ok=True)
        for path in (self.trajectory, self.log):
            remove_incomplete(folder, osp.basename(path))
            if self.num_frames == 0 and osp.exists(path):
                os.remove(path)
        if self.num_frames > 0:
            cut_records(self.trajectory, self.log, format, state, interval)

    def append(self, atoms: Any, row: dict[str, float]) -> None:
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

    def rows(self) -> dict[str, list[float]]:
        r"""Returns the columns of the log."""
        with open(self.log, newline='') as file:
            rows = list(csv.DictReader(file))
        return {key: [float(row[key]) for row in rows] for key in rows[0]}


def trajectory_name(format: str) -> str:
    r"""Returns the name of the file of a trajectory."""
    return f'trajectory.{format}'
