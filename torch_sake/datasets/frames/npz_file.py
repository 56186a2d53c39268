import os.path as osp
import sys
import zipfile
from collections.abc import Iterator, Sequence

import numpy as np

from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.md17 import LAYOUTS, UNITS
from torch_sake.utils.files import PathLike, check_file, one_line
from torch_sake.utils.units import read_units

HEADERS = {(1, 0): np.lib.format.read_array_header_1_0,
           (2, 0): np.lib.format.read_array_header_2_0}


def npz_frames(path: PathLike) -> Frames:
    r"""Reads all that :func:`npz_blocks` yields.

    Args:
        path (str or os.PathLike): The file.

    Raises:
        ValueError: As :func:`npz_blocks`.
    """
    return next(npz_blocks(path, sys.maxsize))


def npz_blocks(path: PathLike, num_atoms: int,
               units: dict[str, str] | None = None) -> Iterator[Frames]:
    r"""Yields the frames of an :obj:`.npz` file with the arrays of MD17
    (:obj:`z`, :obj:`R`, :obj:`E` and :obj:`F`) or of revised MD17
    (:obj:`nuclear_charges`, :obj:`coords`, :obj:`energies` and
    :obj:`forces`), in blocks of at least :obj:`num_atoms` atoms, but for the
    last one, without ever holding more than one of them. Energies and
    positions are in the units that the file declares, see
    :func:`~torch_sake.utils.units.read_units`, or else in kcal/mol and
    Angstrom.

    Args:
        path (str or os.PathLike): The file.
        num_atoms (int): Number of atoms of a block.
        units (dict, optional): The names of units of a file that does not
            declare them, with the keys :obj:`'length'` and :obj:`'energy'`, or
            one of these. (default: :obj:`None`)

    Raises:
        ValueError: If the file is no :obj:`.npz` file, is truncated, has no
            atoms or frames, lacks an array or has one of a wrong shape or
            type, or declares a unit that is not known or not the one given.
    """
    path = check_file(path)
    # A damaged archive fails in as many ways as zlib, zipfile and numpy
    # together, hence the broad clauses.
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        raise ValueError(f"'{path}' is not a complete .npz file "
                         f"({one_line(error)})") from error
    with archive:
        units = read_units(path, UNITS, units)
        z_key, *keys = _keys(path, archive)
        z = _Rows(path, archive, z_key)
        z = z.read(0, z.shape[0])
        if z.ndim != 1 or z.size == 0:
            raise ValueError(f"'{path}': '{z_key}' must be the atomic numbers "
                             f"of one or more atoms (got shape {z.shape})")
        pos, energy, force = (_Rows(path, archive, key) for key in keys)
        num_frames = energy.shape[0]
        if num_frames < 1:
            raise ValueError(f"'{path}' has no frames")
        for key, rows in zip((keys[0], keys[2]), (pos, force)):
            if rows.shape != (num_frames, z.size, 3):
                raise ValueError(
                    f"'{path}': '{key}' must have shape "
                    f"{(num_frames, z.size, 3)}, after '{keys[1]}' and "
                    f"'{z_key}' (got {rows.shape})")
        if energy.size != 1:
            raise ValueError(f"'{path}': '{keys[1]}' must have one number per "
                             f"frame (got {energy.shape})")
        size = -(-num_atoms // z.size)
        for begin in range(0, num_frames, size):
            number = min(size, num_frames - begin)
            yield Frames(
                z=np.tile(z, number),
                pos=pos.read(begin, number).reshape(-1, 3),
                energy=energy.read(begin, number),
                force=force.read(begin, number).reshape(-1, 3),
                num_atoms=z.size,
                name=osp.splitext(osp.basename(path))[0],
                units=units,
                source=path,
                first_frame=begin,
            )


def _keys(path: str, archive: zipfile.ZipFile) -> Sequence[str]:
    present = sorted(osp.splitext(name)[0] for name in archive.namelist())
    for keys in LAYOUTS:
        if set(keys) <= set(present):
            return keys
    raise ValueError(f"'{path}' must have the arrays {LAYOUTS[0]} or "
                     f"{LAYOUTS[1]} (it has {one_line(present)})")


class _Rows:
    r"""The rows of an array of an archive, one after the other."""
    def __init__(self, path: str, archive: zipfile.ZipFile, key: str):
        self.where = f"'{path}'"
        try:
            self.file = archive.open(f'{key}.npy')
            version = np.lib.format.read_magic(self.file)
            self.shape, by_column, self.dtype = HEADERS[version](self.file)
        except Exception as error:
            raise ValueError(
                f"{self.where}: '{key}' is not a complete array "
                f"({one_line(error)})") from error
        if by_column and len(self.shape) > 1 or not self.shape or (
                self.dtype.kind not in 'iuf' or self.dtype.itemsize == 0):
            raise ValueError(
                f"{self.where}: '{key}' must be an array of numbers, row by "
                f"row (got {self.dtype} of shape {self.shape}, "
                f"fortran_order={by_column})")
        self.key = key

    @property
    def size(self) -> int:
        r"""The number of entries of a row."""
        return int(np.prod(self.shape[1:]))

    def read(self, begin: int, number: int) -> np.ndarray:
        r"""Returns the next rows, of which the first is :obj:`begin`."""
        size = self.size * self.dtype.itemsize
        try:
            content = self.file.read(number * size)
        except Exception as error:
            raise ValueError(
                f"{self.where}, frames {begin} to {begin + number - 1}: "
                f"'{self.key}' cannot be read ({one_line(error)})") from error
        if len(content) < number * size:
            raise ValueError(f"{self.where}, frame "
                             f"{begin + len(content) // size}: '{self.key}' "
                             f"ends here")
        return np.frombuffer(content, self.dtype).reshape(
            number, *self.shape[1:]).copy()  # may be written to
