r"""Structures of any file that ASE reads."""

import os.path as osp
import re
import warnings
from collections import deque
from collections.abc import Iterator, Set
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy

from torch_sake.datasets.frames.extxyz import (
    LABELS,
    FrameError,
    parse_xyz,
    xyz_texts,
)
from torch_sake.utils.messages import one_line
from torch_sake.utils.paths import PathLike, check_file

ROWS = 100  # of a database that are read at once
AFTER_ENDING = re.compile(r'(@[^.@/]*)+$')
# Those of ASE whose readers execute nothing and open no file that the file
# names. The others: 'octopus-in', 'onetep-in' and 'acemolecule-input' name
# files, 'castep-cell' starts the program 'castep', 'gpw' is handed to GPAW,
# 'abinit-gsr' and 'netcdftrajectory' may be HDF5, which has links to files,
# 'bundletrajectory' is a folder, 'mysql' and 'postgresql' are servers. What
# other packages add to ASE is not known.
READABLE = frozenset('''
    abinit-in abinit-out acemolecule-out aims aims-output castep-castep
    castep-geom castep-md castep-phonon cfg cif cjson cmdft cp2k-dcd
    cp2k-restart crystal cube dacapo-text db dftb dlp-history dlp4 dmol-arc
    dmol-car dmol-incoor elk eon espresso-in espresso-out extxyz gamess-us-out
    gamess-us-punch gaussian-in gaussian-out gen gpaw-out gpumd gromacs gromos
    json jsv lammps-data lammps-dump-binary lammps-dump-text magres mol mustem
    nomad-json nwchem-in nwchem-out onetep-out orca-output prismatic
    proteindatabank qbox res rmc6f runnerdata sdf siesta-xv struct struct_out
    sys traj turbomole turbomole-gradient v-sim vasp vasp-out vasp-xdatcar
    vasp-xml wout xsd xsf xtd xyz'''.split())


# Their numbers are in any units. The others ASE converts to its own.
OF_ANY_UNITS = frozenset(('extxyz', 'xyz', 'db', 'json', 'traj'))


class NoStructure(IndexError):
    r"""A number beyond the end."""


def ase_structures(path: PathLike,
                   labels: Set[str] = LABELS) -> Iterator[Any]:
    r"""Yields the :class:`ase.Atoms` of a file, one after the other. An
    :obj:`@` is part of its name.

    Args:
        path (str or os.PathLike): The file.
        labels (set of str, optional): Names of labels, which a frame of
            extended XYZ must not have twice. (default: those of
            :class:`~torch_sake.datasets.frames.label_keys.LabelKeys`)

    Raises:
        ValueError: If there is no file, or it cannot be read, with the number
            of the frame.
    """
    path = check_file(path)
    frames, number = _structures(path, labels), 0
    while True:
        try:
            with _no_lost_parts():
                atoms = next(frames, None)
        except Exception as error:
            raise _error(path, number, error) from error
        if atoms is None:
            return
        yield atoms
        number += 1


def format_of(path: PathLike) -> str:
    r"""Returns the name of the format that a file is read in."""
    path = check_file(path)
    try:
        return _filetype(path)
    except Exception as error:
        raise _error(path, 0, error) from error


def ase_structure(path: PathLike, index: int) -> Any:
    r"""Returns one :class:`ase.Atoms` of a file; a negative index counts from
    the end.

    Raises:
        ValueError: As :func:`ase_structures`.
        NoStructure: If there are not as many.
    """
    path = check_file(path)
    try:
        with _no_lost_parts():
            return _structure(path, index)
    except NoStructure:
        raise
    except Exception as error:
        raise _error(path, index, error) from error


@contextmanager
def _no_lost_parts() -> Iterator[None]:
    r"""Raises an error where ASE makes complex labels real."""
    with warnings.catch_warnings():
        warnings.simplefilter('error', getattr(
            numpy, 'exceptions', numpy).ComplexWarning)  # older versions'
        yield


def _error(path: str, number: int, error: Exception) -> ValueError:
    # The readers of ASE raise whatever a line of their format leads to.
    where = f"'{path}', frame {getattr(error, 'frame', number)}"
    if isinstance(error, FrameError):
        return ValueError(f'{where}: The file cannot be read: {error}')
    return ValueError(f'{where}: The file cannot be read by ASE '
                      f'({one_line(error)})')


def _structures(path: str, labels: Set[str]) -> Iterator[Any]:
    # The readers of ASE go through all of an extended XYZ file first, and take
    # all rows of a database at once.
    import ase.db
    import ase.io
    kind = _filetype(path)
    if kind == 'extxyz':
        yield from (parse_xyz(text, labels) for text in _texts(path))
    elif kind == 'db':
        with ase.db.connect(path, type='db', serial=True) as database:
            last = 0
            while rows := list(database.select([('id', '>', last)], sort='id',
                                               limit=ROWS)):
                yield from map(_atoms_of_row, rows)
                last = rows[-1].id
    elif kind == 'json':
        with ase.db.connect(path, type='json', serial=True) as database:
            yield from map(_atoms_of_row, database.select())
    else:
        yield from ase.io.iread(path, ':', format=kind,
                                do_not_split_by_at_sign=True)


def _atoms_of_row(row: Any) -> Any:
    r"""Returns the frame of a row of a database, with all that it says."""
    atoms = row.toatoms()
    for entries in (row.key_value_pairs, row.data):
        atoms.info.update(entries)
    return atoms


def _structure(path: str, index: int) -> Any:
    import ase.io
    kind = _filetype(path)
    if kind == 'extxyz' and index >= 0:
        found = list(map(parse_xyz, islice(_texts(path), index, index + 1)))
    elif kind == 'extxyz':
        found = deque(_texts(path), maxlen=-index)
        found = [parse_xyz(found[0])] if len(found) == -index else []
    else:
        options = {'type': 'db'} if kind == 'db' else {}  # whatever its ending
        end = index + 1 if index >= 0 else None
        found = ase.io.read(path, slice(index, end), format=kind,
                            do_not_split_by_at_sign=True, **options)
        # For one before the first, ASE would take the first.
        if index < 0 and len(found) < -index:
            found = []
    if not found:
        raise NoStructure(f"'{path}' must have a structure {index}")
    return found[0]


def _texts(path: str) -> Iterator[str]:
    from ase.io.formats import open_with_compression
    number = 0
    try:
        with open_with_compression(path, 'r') as file:
            for text in xyz_texts(file):
                yield text
                number += 1
    except Exception as error:
        error.frame = number  # unknown to who counts from the end
        raise


def _check_format(name: str) -> str:
    if name not in READABLE:
        raise ValueError(f"files of the format {name!r} may name other files "
                         f"or programs: convert it to extended XYZ")
    return name


def _filetype(path: str) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats
    path = osp.abspath(path)  # a name may look like an address
    if osp.getsize(path) == 0:
        raise FrameError('It is empty')
    try:
        kind = filetype(path)
        if kind in ioformats:
            return _check_format(kind)
    except UnknownFileTypeError:
        kind = None
    stem = AFTER_ENDING.sub('', path)  # of 'water.xyz@300K'
    if stem == path:
        raise UnknownFileTypeError(kind or 'Could not guess file type')
    return _check_format(filetype(stem, read=False))
