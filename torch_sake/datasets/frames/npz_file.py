import os.path as osp
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from torch_sake.datasets.frames.frames import Frames, molecule_frames
from torch_sake.datasets.frames.label_keys import (
    NONE,
    LabelKeys,
    is_gradient,
    warn_of_gradient,
)
from torch_sake.utils.messages import one_line
from torch_sake.utils.paths import PathLike, check_file
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import read_units

UNITS = {'length': 'Angstrom', 'energy': 'kcal/mol'}
# The names of atomic numbers, positions, energies and forces in the files of
# MD17, and in those of revised MD17:
LAYOUTS = (('z', 'R', 'E', 'F'),
           ('nuclear_charges', 'coords', 'energies', 'forces'))
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0,
           (2, 0): np.lib.format.read_array_header_2_0}


def npz_frames(path: PathLike, units: dict[str, str] | None = None,
               keys: LabelKeys | None = None) -> Frames:
    r"""Reads all that :func:`npz_blocks` yields."""
    return next(npz_blocks(path, None, units, keys))


def npz_blocks(path: PathLike, num_atoms: int | None,
               units: dict[str, str] | None = None,
               keys: LabelKeys | None = None) -> Iterator[Frames]:
    r"""Yields the frames of an :obj:`.npz` file with the arrays of MD17 or of
    revised MD17 (see :obj:`LAYOUTS`), as :func:`array_blocks`. Energies and
    positions are in the units that the file declares, see
    :func:`~torch_sake.utils.units.read_units`, or else in those given,
    kcal/mol and Angstrom. Keys that are given are the names of the arrays of
    energies and forces.
    """
    path, keys = check_file(path), keys or LabelKeys()
    for name, key in keys.given():
        require(name in ('energy_key', 'forces_key') and key != NONE,
                f"'{path}': '{name}' must not be {key!r} for an .npz file, "
                f"which has energies and forces and no other labels")
    for first_frame, arrays in array_blocks(path, num_atoms, keys):
        if first_frame == 0:
            units = read_units(path, UNITS, units)
        yield molecule_frames(
            **arrays, name=osp.splitext(osp.basename(path))[0], units=units,
            source=path, first_frame=first_frame)


def array_blocks(path: PathLike, num_atoms: int | None = None,
                 keys: LabelKeys | None = None
                 ) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    r"""Yields the arguments of
    :func:`~torch_sake.datasets.frames.frames.molecule_frames`, and the number
    of the first frame, in blocks of at least :obj:`num_atoms` atoms, but for
    the last one, or all at once. No more than one block is ever held.

    Raises:
        ValueError: If the file is no :obj:`.npz` file, is truncated, has no
            atoms or frames, lacks an array or has one of a wrong shape or
            type, or one that cannot be read block by block.
    """
    path = check_file(path)
    # A damaged archive fails in as many ways as zlib, zipfile and numpy
    # together, here and below.
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:
        raise ValueError(f"'{path}' is not a complete .npz file "
                         f"({one_line(error)})") from error
    with archive:
        z_key, *names = _find_keys(path, archive, keys or LabelKeys())
        rows = _Rows(path, archive, z_key)
        z = rows.read(0, rows.shape[0])
        if z.ndim != 1 or z.size == 0:
            raise ValueError(f"'{path}': '{z_key}' must be the atomic numbers "
                             f"of one or more atoms (got shape {z.shape})")
        pos, energy, force = (_Rows(path, archive, key, num_atoms is None)
                              for key in names)
        num_frames = energy.shape[0]
        if num_frames < 1:
            raise ValueError(f"'{path}' has no frames")
        for rows in (pos, force):
            if rows.shape != (num_frames, z.size, 3):
                raise ValueError(
                    f"'{path}': '{rows.key}' must have shape "
                    f"{(num_frames, z.size, 3)}, after '{energy.key}' and "
                    f"'{z_key}' (got {rows.shape})")
        if energy.size != 1:
            raise ValueError(f"'{path}': '{energy.key}' must have one number "
                             f"per frame (got {energy.shape})")
        sign = 1
        if is_gradient(force.key):
            warn_of_gradient(path, force.key)
            sign = -1
        size = num_frames if num_atoms is None else -(-num_atoms // z.size)
        for begin in range(0, num_frames, size):
            number = min(size, num_frames - begin)
            yield begin, dict(
                z=z, pos=pos.read(begin, number),
                energy=energy.read(begin, number).reshape(-1),
                force=sign * force.read(begin, number))


def _find_keys(path: str, archive: zipfile.ZipFile,
               given: LabelKeys) -> tuple[str, ...]:
    present = sorted(osp.splitext(name)[0] for name in archive.namelist())
    layouts = [(z, pos, given.energy_key or energy, given.forces_key or force)
               for z, pos, energy, force in LAYOUTS]
    missing = {keys: sorted(set(keys) - set(present)) for keys in layouts}
    keys = min(layouts, key=lambda keys: len(missing[keys]))
    if missing[keys]:
        raise ValueError(f"'{path}' must have the arrays {layouts[0]} or "
                         f"{layouts[1]} (it has {one_line(present)}, but not "
                         f"{missing[keys]}: see 'energy_key' and "
                         f"'forces_key')")
    return keys


class _Rows:
    r"""The rows of an array of an archive, one after the other or, in any
    order of memory, all at once.
    """
    def __init__(self, path: str, archive: zipfile.ZipFile, key: str,
                 at_once: bool = False):
        self.where, self.key = f"'{path}'", key
        try:
            self.file: Any = archive.open(f'{key}.npy')
            version = np.lib.format.read_magic(self.file)
            self.shape, by_column, self.dtype = HEADERS[version](self.file)
        except Exception as error:
            raise ValueError(
                f"{self.where}: '{key}' is not a complete array "
                f"({one_line(error)})") from error
        if not self.shape or self.dtype.kind not in 'iuf' or (
                self.dtype.itemsize == 0 or by_column and not at_once
                and len(self.shape) > 1):
            raise ValueError(
                f"{self.where}: '{key}' must be an array of numbers, row by "
                f"row (got {self.dtype} of shape {self.shape}, "
                f"fortran_order={by_column})")
        self.order = 'F' if by_column else 'C'
        self.size = int(np.prod(self.shape[1:]))  # entries of a row

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
            number, *self.shape[1:], order=self.order).copy()  # is written to
