r"""The trajectory and the log of a simulation."""

import csv
import io
import os
import os.path as osp
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy

from torch_sake.utils.files import (
    remove_incomplete,
    replace_when_complete,
    write_text,
)
from torch_sake.utils.messages import one_line
from torch_sake.utils.plain_checks import require

LOG = 'log.csv'
ENERGY = 'potential energy [eV]'
ENERGY_STD, FORCES_STD = 'energy_std', 'forces_std'


class Records:
    r"""The trajectory and the log of a simulation, which grow frame by frame.

    Args:
        folder (str): The folder of both.
        format (str): The format of the trajectory, :obj:`"extxyz"` or
            :obj:`"traj"`.
        interval (int): Number of steps from one frame to the next.
        state (dict, optional): The state that a simulation goes on from. What
            was written before it is kept, what was written after it is
            dropped. (default: :obj:`None`)

    Raises:
        ValueError: If something is missing of what the state counts, or is not
            of it, with the file and the number of frames. Both files stay as
            they are.
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
            self._cut(state, interval)

    def append(self, atoms: Any, row: dict[str, float]) -> None:
        r"""Adds a frame, with its uncertainties if there are any, and its row.
        """
        import ase.io
        atoms = self._with_uncertainties(atoms)
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

    def _with_uncertainties(self, atoms: Any) -> Any:
        results = atoms.calc.results
        if FORCES_STD not in results:
            return atoms
        calculator, atoms = atoms.calc, atoms.copy()
        atoms.calc = calculator
        atoms.info[ENERGY_STD] = float(results[ENERGY_STD])
        # Of arrays, ASE's own format keeps those that it knows.
        place = atoms.info if self.format == 'traj' else atoms.arrays
        place[FORCES_STD] = results[FORCES_STD].copy()
        return atoms

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

    def _cut(self, state: dict[str, Any], interval: int) -> None:
        import ase.io
        lines, known = self._read_log(state, interval)
        with replace_when_complete(self.trajectory) as path:
            # One after the other: trajectories may be larger than memory.
            with (ase.io.Trajectory(path, 'w') if self.format == 'traj' else
                  open(path, 'wb')) as target:
                for (atoms, frame), row in zip(self._frames(len(known)),
                                               known):
                    self._check_frame(atoms, *row, state)
                    target.write(frame)
        with write_text(self.log) as file:
            file.writelines(lines)

    def _read_log(self, state: dict[str, Any], interval: int
                  ) -> tuple[list[str], list[tuple[float, float]]]:
        r"""Returns the lines of the log that a state counts, with its header,
        and the steps and energies in them.
        """
        number, last = self.num_frames, int(state['step'])
        need = (f"'resume' needs the log of the simulation in '{self.log}', "
                f"of {number} rows, of every {interval} steps up to step "
                f"{last}")
        try:
            with open(self.log, newline='') as file:
                # The last line may be incomplete.
                lines = [line for line in file if line.endswith('\n')]
            lines = lines[:number + 1]
            rows = [{key: float(value) for key, value in row.items()}
                    for row in csv.DictReader(lines)]
            known = [(row['step'], row[ENERGY]) for row in rows]
        except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
            raise ValueError(f'{need} ({one_line(error)})') from error
        require(len(known) == number, f'{need} (got {len(known)})')
        steps = [step for step, _ in known]
        # Others than these are those at which the uncertainty was too large.
        require(sorted({*steps}) == steps and steps[-1] <= last
                and {*range(0, last + 1, interval)} <= {*steps},
                f'{need} (got rows of other steps)')
        return lines, known

    def _frames(self, number: int) -> Iterator[tuple[Any, Any]]:
        r"""Yields as many frames and what is to be written of each."""
        import ase.io
        count = 0
        # The readers of ASE raise whatever a line of their format leads to.
        try:
            if self.format == 'traj':
                with ase.io.Trajectory(self.trajectory) as frames:
                    for count in range(number):
                        atoms = frames[count]
                        yield atoms, atoms
            else:
                with open(self.trajectory, 'rb') as file:
                    for count in range(number):
                        frame = _read_text(file)
                        yield ase.io.read(io.StringIO(frame.decode()),
                                          format='extxyz'), frame
        except Exception as error:
            raise ValueError(
                f"'resume' needs the {number} frames of the simulation in "
                f"'{self.trajectory}' (got {count} of them, then "
                f"{one_line(error)})") from error

    def _check_frame(self, atoms: Any, step: float, energy: float,
                     state: dict[str, Any]) -> None:
        where = (f"'resume' needs the frames of the simulation in "
                 f"'{self.trajectory}': that of step {step:.0f} must have")
        if not numpy.array_equal(atoms.numbers, state['numbers']):
            raise ValueError(f"{where} the {len(state['numbers'])} atoms of "
                             f"the state (got {atoms.get_chemical_formula()})")
        found = None if atoms.calc is None else atoms.calc.results.get(
            'energy')
        require(found is not None and numpy.isclose(found, energy, rtol=1e-8),
                f'{where} the energy in the log, {energy} eV (got {found})')
        require(step != state['step'] or numpy.allclose(
            atoms.positions, state['positions'], atol=1e-6),
                f'{where} the positions of the state (got others)')


def _read_text(file: BinaryIO) -> bytes:
    r"""Returns the next frame of an extended XYZ file as it is."""
    first = file.readline()
    if not first:
        raise EOFError('end of file')
    lines = [first]
    for _ in range(int(first) + 1):
        lines.append(file.readline())
        if not lines[-1].endswith(b'\n'):
            raise EOFError('end of file within a frame')
    return b''.join(lines)


def trajectory_name(format: str) -> str:
    r"""Returns the name of the file of a trajectory."""
    return f'trajectory.{format}'
