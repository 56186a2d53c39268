import os.path as osp
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy

from torch_sake.datasets.frames.ase_labels import labels_of
from torch_sake.datasets.frames.ase_structures import ase_structures
from torch_sake.datasets.frames.frames import Frames
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.units import ASE_UNITS


def read_frames(path: PathLike) -> Frames:
    r"""Reads structures with energies and, if there are any, forces and
    stresses from any file that :meth:`ase.io.read` understands, such as
    extended XYZ, but those of the few formats whose readers open what a file
    names.

    Energies are in eV and positions in Angstrom, the units of ASE. Labels are
    called :obj:`energy`, :obj:`forces` and :obj:`stress`, or :obj:`REF_energy`
    and so on; a frame with both must have the same twice. Forces are
    those of the energy, whatever constraints the file holds; either all frames
    have them or none has, but for single atoms, which have none. Frames may be
    periodic, and some of them may have a stress or a virial, its negative
    times the volume, in eV.

    Args:
        path (str or os.PathLike): The file.

    Raises:
        ImportError: If ASE is missing.
        ValueError: If the file is missing, cannot be read, holds a frame
            without energy, with labels that are no real numbers or a stress
            that is not symmetric, or a periodic one whose cell spans no
            volume, or if some frames have forces and others have none, or
            none under that name.
    """
    return next(ase_blocks(path, None))


def ase_blocks(path: PathLike, num_atoms: int | None,
               units: dict[str, str] | None = None) -> Iterator[Frames]:
    r"""Yields what :func:`read_frames` returns in blocks of at least
    :obj:`num_atoms` atoms, but for the last one, without ever holding more
    than one of them, or all at once. Blocks have cells, whether or not there
    is a periodic frame among them. Units that are given take the place of
    those of ASE.
    """
    first_frame, size, frames = 0, 0, []
    for frame in _with_single_atoms(_labels(path)):
        frames.append(frame)
        size += len(frame['z'])
        if num_atoms is not None and size >= num_atoms:
            yield _to_frames(path, frames, units, first_frame)
            first_frame, size, frames = first_frame + len(frames), 0, []
    if num_atoms is None and not any(frame['pbc'].any() for frame in frames):
        for frame in frames:
            del frame['cell'], frame['pbc'], frame['stress']
    if frames or first_frame == 0:
        yield _to_frames(path, frames, units, first_frame)


def _to_frames(path: PathLike, frames: list[dict[str, Any]],
               units: dict[str, str] | None, first_frame: int) -> Frames:
    # Of no frames, the message is that there are none.
    columns = {key: [frame[key] for frame in frames]
               for key in (frames[0] if frames else ('z', 'pos', 'energy'))}
    if all(rows is None for rows in columns.get('force', [])):
        columns.pop('force', None)
    for key in {'cell', 'pbc', 'stress'} & columns.keys():
        columns[key] = numpy.stack(columns[key])
    path = local_path('data', path)
    return Frames(**columns, units={**ASE_UNITS, **(units or {})}, source=path,
                  name=osp.splitext(osp.basename(path))[0],
                  first_frame=first_frame)


def _labels(path: PathLike) -> Iterator[dict[str, Any]]:
    r"""Yields the arguments of :class:`Frames` of one frame after the other,
    forces of :obj:`None` and a stress of NaN where there are none.
    """
    try:
        import ase.io  # noqa: F401
    except ImportError as error:
        raise ImportError("Reading structures needs ASE: "
                          "pip install 'torch-sake[train]'") from error

    for number, atoms in enumerate(ase_structures(path)):
        where = f"'{local_path('data', path)}', frame {number}"
        yield {'z': atoms.numbers, 'pos': atoms.positions,
               'cell': atoms.cell.array, 'pbc': atoms.pbc,
               **labels_of(atoms, where)}


def _with_single_atoms(
        frames: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    r"""Yields the frames. Atoms on their own have no forces, whether or not
    the file says so, if others have some: the first ones wait for these.
    """
    first = []
    for frame in frames:
        first.append(frame)
        if frame['force'] is not None or not _is_alone(frame):
            break
    has_forces = bool(first) and first[-1]['force'] is not None
    for frame in chain(first, frames):
        if has_forces and frame['force'] is None and _is_alone(frame):
            frame['force'] = numpy.zeros((1, 3))
        yield frame


def _is_alone(frame: dict[str, Any]) -> bool:
    return len(frame['z']) == 1 and not frame['pbc'].any()
