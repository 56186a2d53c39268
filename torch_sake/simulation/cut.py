r"""What a simulation that goes on keeps of its trajectory and its log."""

import csv
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy

from torch_sake.utils.files import one_line, replace_when_complete

ENERGY = 'potential energy [eV]'


def cut_records(trajectory: str, log: str, format: str,
                state: dict[str, Any], interval: int) -> None:
    r"""Drops what was written after a state. Both files stay as they are if
    something is missing of what the state counts, or is not of it.

    Args:
        trajectory (str): The trajectory.
        log (str): The log.
        format (str): The format of the trajectory.
        state (dict): The state.
        interval (int): Number of steps from one frame to the next.

    Raises:
        ValueError: If something is, with the file and the number of frames.
    """
    lines, rows = _read_log(log, state, interval)
    with replace_when_complete(trajectory) as path:
        # One after the other: trajectories may be larger than memory.
        with _writer(path, format) as target:
            for (atoms, frame), known in zip(
                    _frames(trajectory, format, len(rows)), rows):
                _check_frame(trajectory, atoms, *known, state)
                target.write(frame)
    with replace_when_complete(log) as path:
        with open(path, 'w', newline='') as file:
            file.writelines(lines)


def _read_log(path: str, state: dict[str, Any], interval: int
              ) -> tuple[list[str], list[tuple[float, float]]]:
    r"""Returns the lines of the log that a state counts, with its header, and
    the steps and energies in them.
    """
    number, last, lines = int(state['num_frames']), int(state['step']), []
    try:
        with open(path, newline='') as file:
            # The last line may be incomplete.
            lines = [line for line in file if line.endswith('\n')]
        lines = lines[:number + 1]
        rows = [{key: float(value) for key, value in row.items()}
                for row in csv.DictReader(lines)]
        known = [(row['step'], row[ENERGY]) for row in rows]
    except (OSError, ValueError, TypeError, KeyError, csv.Error) as error:
        raise ValueError(
            f"'resume' needs the log of the simulation, of {number} rows, in "
            f"'{path}' ({one_line(error)})") from error
    if len(known) != number:
        raise ValueError(f"'resume' needs the log of the simulation, of "
                         f"{number} rows, in '{path}' (got {len(known)})")
    steps = [step for step, _ in known]
    # Others than these are those at which the uncertainty was too large.
    if (sorted({*steps}) != steps or steps[-1] > last
            or not {*range(0, last + 1, interval)} <= {*steps}):
        raise ValueError(f"'resume' needs the log of the simulation in "
                         f"'{path}', of every {interval} steps up to step "
                         f"{last} (got {number} rows of other steps)")
    return lines, known


def _frames(path: str, format: str,
            number: int) -> Iterator[tuple[Any, Any]]:
    r"""Yields as many frames and what is to be written of each."""
    import ase.io
    count = 0
    # The readers of ASE raise whatever a line of their format leads to.
    try:
        if format == 'traj':
            with ase.io.Trajectory(path) as frames:
                for count in range(number):
                    atoms = frames[count]
                    yield atoms, atoms
        else:
            with open(path, 'rb') as file:
                for count in range(number):
                    frame = _read_text(file)
                    yield ase.io.read(io.StringIO(frame.decode()),
                                      format='extxyz'), frame
    except Exception as error:
        raise ValueError(
            f"'resume' needs the {number} frames of the simulation in "
            f"'{path}' (got {count} of them, then {one_line(error)})"
            ) from error


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


def _writer(path: str, format: str) -> Any:
    import ase.io
    return ase.io.Trajectory(path, 'w') if format == 'traj' else (
        open(path, 'wb'))


def _check_frame(path: str, atoms: Any, step: float, energy: float,
                 state: dict[str, Any]) -> None:
    where = (f"'resume' needs the frames of the simulation in '{path}': that "
             f"of step {step:.0f} must have")
    if not numpy.array_equal(atoms.numbers, state['numbers']):
        raise ValueError(f"{where} the {len(state['numbers'])} atoms of the "
                         f"state (got {atoms.get_chemical_formula()})")
    found = None if atoms.calc is None else atoms.calc.results.get('energy')
    if found is None or not numpy.isclose(found, energy, rtol=1e-8):
        raise ValueError(f"{where} the energy in the log, {energy} eV "
                         f"(got {found})")
    if step == state['step'] and not numpy.allclose(
            atoms.positions, state['positions'], atol=1e-6):
        raise ValueError(f"{where} the positions of the state (got others)")
