r"""The files of :class:`~torch_sake.datasets.FramesOnDisk`."""

import json
import os.path as osp
import struct
import zlib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, TypedDict

import numpy
import torch

from torch_sake.models.readout import READOUTS
from torch_sake.utils.checks import MAX_ATOMIC_NUMBER
from torch_sake.utils.fingerprint import digest
from torch_sake.utils.hints import Count, PositiveInt, check_entry
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import check_elements
from torch_sake.utils.units import check_units_of_label

# Where an SQLite file says what it is a file of. In 3, all labels are known,
# and nothing else is. In 2, rows have checksums of their own, and nothing
# vouches for the rest.
APPLICATION_ID, FORMAT, WITHOUT_DIGEST = 0x53414B45, 4, 2
TABLE, ABOUT = 'Frames', 'About'
ARRAYS = {  # of each frame, and the shape of their rows; empty if not known
    'z': dict(dtype=torch.uint8, size=(-1, )),
    'pos': dict(dtype=torch.double, size=(-1, 3)),
    'force': dict(dtype=torch.double, size=(-1, 3)),
    'cell': dict(dtype=torch.double, size=(-1, 3, 3)),
    'pbc': dict(dtype=torch.bool, size=(-1, 3)),
    'stress': dict(dtype=torch.double, size=(-1, 3, 3)),
}
# Tensors are stored as their bytes: with such a schema, nothing is pickled.
# What the frames are labeled with is called 'energy', whatever it is. It is
# NULL where it is not known. What else is known of a frame is a text of JSON.
SCHEMA = {**ARRAYS, 'energy': float, 'info': str}
SCHEMAS = {FORMAT: SCHEMA, 3: {**ARRAYS, 'energy': float},
           2: {**ARRAYS, 'energy': float, 'checksum': int}}
# Of each frame, in the table of all; of known labels, a bit for each:
COLUMNS = {FORMAT: {'num_atoms': 'int32', 'digests': 'uint32',
                    'known': 'uint8'},
           3: {'num_atoms': 'int32', 'digests': 'uint32'},
           2: {'num_atoms': 'int32'}}
BITS = {'energy': 1, 'force': 2, 'stress': 4}


class _Optional(TypedDict, total=False):
    has_infos: bool


class Description(_Optional):
    r"""What is known of all frames."""
    name: str
    units: Annotated[dict[str, str], check_units_of_label]
    has_forces: bool
    has_stress: bool
    has_cells: bool
    elements: Annotated[list[int], partial(check_elements,
                                           end=MAX_ATOMIC_NUMBER + 1)]
    readout: Literal[READOUTS]
    test_start: PositiveInt | None
    split_seed: Count | None


def row_digest(arrays: Sequence[Any], energy: float,
               info: str = '') -> int:
    r"""Returns what tells apart the arrays of a row, as anything that has
    their bytes, its energy and its text: a CRC-32, which is to be seen in
    damage, and not by who means to deceive.
    """
    sizes = [memoryview(value).nbytes for value in arrays]
    out = zlib.crc32(struct.pack(f'<d{len(sizes)}Q', energy, *sizes))
    for value in arrays:
        out = zlib.crc32(value, out)
    return zlib.crc32(info.encode(), out)


def is_intact(version: int, values: Sequence[Any], row: dict[str, Any],
              digest_of_row: int | None) -> bool:
    r"""Returns whether a row, as it is in the file and as what it means, is
    what was written.
    """
    if version != WITHOUT_DIGEST:
        return digest_of_row == row_digest(values[:len(ARRAYS)], row['energy'],
                                           row.get('info', ''))
    crc = zlib.crc32(struct.pack('<d', row['energy']))
    for key in ARRAYS:
        crc = zlib.crc32(row[key].numpy(), crc)
    return row['checksum'] == crc


def begin_file(cursor: Any) -> None:
    r"""Has a file say what it is. One that is not completed is thrown away: no
    journal has to save it.
    """
    for pragma in ('journal_mode = OFF', 'synchronous = OFF',
                   f'application_id = {APPLICATION_ID}',
                   f'user_version = {FORMAT}'):
        cursor.execute(f'PRAGMA {pragma}')


def write_about(cursor: Any, about: dict[str, Any],
                **of_frames: Sequence[int]) -> None:
    r"""Writes the table of what is known of all frames: the description, the
    numbers of atoms, the digests of the rows, which labels are known, and the
    digest of all these.
    """
    text = json.dumps(about)
    arrays = {name: numpy.array(of_frames[name], kind)
              for name, kind in COLUMNS[FORMAT].items()}
    cursor.execute(f"CREATE TABLE {ABOUT} (description TEXT, "
                   f"{' BLOB, '.join(arrays)} BLOB, digest TEXT)")
    cursor.execute(f"INSERT INTO {ABOUT} VALUES (?, {'?, ' * len(arrays)}?)", (
        text, *(array.tobytes() for array in arrays.values()),
        digest_of_all(arrays, text)))


def read_about(cursor: Any, version: int) -> tuple[
        dict[str, Any], dict[str, numpy.ndarray]]:
    r"""Returns the description and the columns that there are."""
    tables = cursor.execute('SELECT type, name FROM sqlite_master').fetchall()
    if sorted(tables) != [('table', ABOUT), ('table', TABLE)]:
        raise ValueError(f"The file must have the tables '{ABOUT}' and "
                         f"'{TABLE}' and nothing else (got {tables})")
    rows = cursor.execute(f'SELECT * FROM {ABOUT}').fetchmany(2)
    kinds = COLUMNS[version]
    types = [str, *(bytes for _ in kinds)]
    if version != WITHOUT_DIGEST:
        types.append(str)
    if [list(map(type, row)) for row in rows] != [types]:
        raise ValueError(f"The table '{ABOUT}' must have one row of "
                         f"{len(types)} columns")
    text, *values = rows[0]
    columns = {name: numpy.frombuffer(bytearray(value), kind)
               for (name, kind), value in zip(kinds.items(), values)}
    if version != WITHOUT_DIGEST and values[-1] != digest_of_all(columns,
                                                                 text):
        raise ValueError("The file is damaged: What it says of its frames "
                         "is not what was written")
    about, end = json.loads(text), columns['num_atoms'].size
    check_entry('description', about, Description)
    # Each of the two is found without a look at what is in between.
    ids = cursor.execute(f'SELECT (SELECT MIN(id) FROM {TABLE}), '
                         f'(SELECT MAX(id) FROM {TABLE})').fetchone()
    if ids != (0, end - 1) or {column.size for column in
                               columns.values()} != {end}:
        raise ValueError(f"The file must have the rows 0 to {end - 1} "
                         f"(got {ids[0]} to {ids[1]})")
    if about['test_start'] is not None and about['test_start'] >= end:
        raise ValueError(f"'description.test_start' must be below {end} "
                         f"(got {about['test_start']})")
    return about, columns


def digest_of_all(columns: Mapping[str, numpy.ndarray],
                  description: str) -> str:
    r"""Returns the digest of all frames and their order, by their columns in
    the table of all, and of their description.
    """
    return digest({'rows' if name == 'digests' else name: column
                   for name, column in columns.items()}, description)


def find_format(path: PathLike) -> int | None:
    r"""Returns the format of a file of frames, or :obj:`None` if it is none.

    Raises:
        ValueError: If it is one that is truncated or of another version.
    """
    if not osp.isfile(path):
        return None
    with open(path, 'rb') as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b'SQLite format 3\0'):
        return None
    # See the documentation of the header in the format of SQLite files.
    page_size, = struct.unpack('>H', header[16:18])
    num_pages, = struct.unpack('>I', header[28:32])
    version, application_id = struct.unpack('>I4xI', header[60:72])
    if application_id != APPLICATION_ID:
        return None
    if version not in SCHEMAS:
        raise ValueError(f"'{path}' must be a file of frames of format "
                         f"{' or format '.join(map(str, SCHEMAS))} "
                         f"(got format {version})")
    expected = num_pages * (65536 if page_size == 1 else page_size)
    if osp.getsize(path) != expected:
        raise ValueError(f"'{path}' is truncated: It must have {expected} "
                         f"bytes (got {osp.getsize(path)})")
    return version
