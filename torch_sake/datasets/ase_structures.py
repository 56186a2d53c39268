r"""Structures of any file that ASE reads."""

import os.path as osp
from collections import deque
from itertools import islice
from typing import Any, Iterator

from torch_sake.datasets.extxyz import FrameError, parse_xyz, xyz_texts
from torch_sake.files import PathLike, check_file, one_line

ROWS = 100  # of a database that are read at once


def ase_structures(path: PathLike) -> Iterator[Any]:
    r"""Yields the :class:`ase.Atoms` of a file, one after the other.

    Args:
        path (str or os.PathLike): The file. An :obj:`@` is part of its name.

    Raises:
        ValueError: If there is no file, or it cannot be read, with the number
            of the frame.
    """
    path = check_file(path)
    frames, number = _structures(path), 0
    while True:
        try:
            atoms = next(frames, None)
        except Exception as error:
            raise _error(path, number, error) from error
        if atoms is None:
            return
        yield atoms
        number += 1


def ase_structure(path: PathLike, index: int) -> Any:
    r"""Returns one :class:`ase.Atoms` of a file.

    Args:
        path (str or os.PathLike): The file. An :obj:`@` is part of its name.
        index (int): Which one; negative ones count from the end.

    Raises:
        ValueError: As :func:`ase_structures`.
        IndexError: If there are not as many.
    """
    path = check_file(path)
    try:
        return _structure(path, index)
    except (StopIteration, IndexError):
        raise IndexError(f"'{path}' must have a structure {index}") from None
    except Exception as error:
        raise _error(path, index, error) from error


def _error(path: str, number: int, error: Exception) -> ValueError:
    # The readers of ASE raise whatever a line of their format leads to.
    where = f"'{path}', frame {getattr(error, 'frame', number)}"
    if isinstance(error, FrameError):
        return ValueError(f'{where}: The file cannot be read: {error}')
    return ValueError(f'{where}: The file cannot be read by ASE '
                      f'({one_line(error)})')


def _structures(path: str) -> Iterator[Any]:
    # The readers of ASE go through all of an extended XYZ file first, and take
    # all rows of a database at once.
    import ase.db
    import ase.io
    kind = _filetype(path)
    if kind == 'extxyz':
        yield from map(parse_xyz, _texts(path))
    elif kind == 'db':
        with ase.db.connect(path, type='db', serial=True) as database:
            last = 0
            while rows := list(database.select([('id', '>', last)], sort='id',
                                               limit=ROWS)):
                yield from (row.toatoms() for row in rows)
                last = rows[-1].id
    else:
        yield from ase.io.iread(path, ':', format=kind,
                                do_not_split_by_at_sign=True)


def _structure(path: str, index: int) -> Any:
    import ase.io
    kind = _filetype(path)
    if kind != 'extxyz':
        return ase.io.read(path, index, format=kind,
                           do_not_split_by_at_sign=True)
    texts = _texts(path)
    if index >= 0:
        return parse_xyz(next(islice(texts, index, None)))
    last = deque(texts, maxlen=-index)
    return parse_xyz(last[index])


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


def _filetype(path: str) -> str:
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats
    path = osp.abspath(path)  # a name may look like an address
    try:
        kind = filetype(path)
        if kind in ioformats:
            return kind
    except UnknownFileTypeError:
        kind = None
    stem, separator, _ = osp.basename(path).rpartition('@')
    if not separator:
        raise UnknownFileTypeError(kind or 'Could not guess file type')
    return filetype(stem, read=False)  # of 'water.xyz@300K'
