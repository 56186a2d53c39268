import os.path as osp
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy

from torch_sake.datasets.frames.ase_structures import (
    OF_ANY_UNITS,
    ase_structures,
    format_of,
)
from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.label_keys import LabelKeys
from torch_sake.datasets.frames.label_reader import LabelReader
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.units import ASE_UNITS, check_given_units


def read_frames(path: PathLike, *, energy_key: str | None = None,
                forces_key: str | None = None, stress_key: str | None = None,
                virial_key: str | None = None) -> Frames:
    r"""Reads structures and their energies, forces and stresses, as far as
    there are any, from any file that :meth:`ase.io.read` understands, such as
    extended XYZ, but those of the few formats whose readers open what a file
    names.

    Energies are in eV and positions in Angstrom, the units of ASE. Labels are
    entries of a frame, columns of its atoms or results of a calculator. They
    are called :obj:`energy`, :obj:`forces` and :obj:`stress`, or
    :obj:`REF_energy` and so on; where there is no energy, the
    :obj:`free_energy` is one. A frame with several must have the same in all
    of them. A file without energies (or forces, or stresses of crystals), but
    with entries that look like some, is an error that names them. The name
    :obj:`'none'` leaves a label out.

    Forces are those of the energy, whatever constraints the file holds. Some
    frames may lack some labels, or all. Frames may be periodic, and have a
    stress or a virial, its negative times the volume, in eV. Other numbers
    and texts of a frame are in :meth:`Frames.info`.

    .. code-block:: python

        frames = read_frames('molecules.xyz', energy_key='dft_energy',
                             forces_key='dft_forces')
        frames.known('force')  # whether each frame has forces
        frames.info(0)  # {'config_type': 'water', ...}

    Args:
        path (str or os.PathLike): The file.
        energy_key (str, optional): What energies are called, in the place of
            the names above. (default: :obj:`None`)
        forces_key (str, optional): What forces are called. Those that are
            called gradients change their sign. (default: :obj:`None`)
        stress_key (str, optional): What stresses are called.
            (default: :obj:`None`)
        virial_key (str, optional): What virials are called.
            (default: :obj:`None`)

    Raises:
        ImportError: If ASE is missing.
        ValueError: If the file is missing or cannot be read, labels are no
            real numbers, of a wrong shape or contradict each other, a stress
            is not symmetric, the cell of a periodic frame spans no volume, or
            there are no labels of the names, but other entries that might be
            some.
    """
    return next(ase_blocks(path, None, keys=LabelKeys(
        energy_key, forces_key, stress_key, virial_key)))


def ase_blocks(path: PathLike, num_atoms: int | None,
               units: dict[str, str] | None = None,
               keys: LabelKeys | None = None) -> Iterator[Frames]:
    r"""Yields what :func:`read_frames` returns in blocks of at least
    :obj:`num_atoms` atoms, but for the last one, without ever holding more
    than one of them, or all at once. Blocks have cells, whether or not there
    is a periodic frame among them. Units that are given take the place of
    those of ASE, but for formats that it converts. What is wrong with the file
    as a whole is an error before the last block.
    """
    if units and format_of(path) not in OF_ANY_UNITS:
        check_given_units(f"'{local_path('data', path)}'", units, ASE_UNITS)
    reader = LabelReader(local_path('data', path), keys or LabelKeys())
    first_frame, size, frames = 0, 0, []
    for frame in _with_single_atoms(_labels(path, reader)):
        frames.append(frame)
        size += len(frame['z'])
        if num_atoms is not None and size >= num_atoms:
            yield _to_frames(path, frames, units, first_frame)
            first_frame, size, frames = first_frame + len(frames), 0, []
    if reader.num_frames == 0:
        raise ValueError(f"'{reader.path}': There are no frames (it was read "
                         f"as '{format_of(path)}')")
    reader.finish()
    if num_atoms is None and not any(frame['pbc'].any() for frame in frames):
        for frame in frames:
            del frame['cell'], frame['pbc'], frame['stress']
    if frames:
        yield _to_frames(path, frames, units, first_frame)


def _to_frames(path: PathLike, frames: list[dict[str, Any]],
               units: dict[str, str] | None, first_frame: int) -> Frames:
    columns: dict[str, Any] = {key: [frame[key] for frame in frames]
                               for key in frames[0]}
    if all(rows is None for rows in columns.get('force', [])):
        columns.pop('force', None)
    for key in {'cell', 'pbc', 'stress'} & columns.keys():
        columns[key] = numpy.stack(columns[key])
    path = local_path('data', path)
    return Frames(infos=columns.pop('info', None), **columns,
                  units={**ASE_UNITS, **(units or {})}, source=path,
                  name=osp.splitext(osp.basename(path))[0],
                  first_frame=first_frame)


def _labels(path: PathLike, reader: LabelReader) -> Iterator[dict[str, Any]]:
    r"""Yields the arguments of :class:`Frames` of one frame after the other.
    """
    try:
        import ase.io  # noqa: F401
    except ImportError as error:
        raise ImportError("Reading structures needs ASE: "
                          "pip install 'torch-sake[train]'") from error

    for atoms in ase_structures(path, reader.keys.all_names()):
        yield {'z': atoms.numbers, 'pos': atoms.positions,
               'cell': atoms.cell.array, 'pbc': atoms.pbc,
               **reader.read(atoms)}


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
        has_forces |= frame['force'] is not None
        if has_forces and frame['force'] is None and _is_alone(frame) and (
                frame['energy'] is not None):
            frame['force'] = numpy.zeros((1, 3))
        yield frame


def _is_alone(frame: dict[str, Any]) -> bool:
    return len(frame['z']) == 1 and not frame['pbc'].any()
