import json
import os
import os.path as osp
import sqlite3
import struct
import zlib
from typing import Any, Dict, List
from urllib.parse import quote

import torch
from torch import Tensor
from torch_geometric.data import Data, OnDiskDataset, SQLiteDatabase

from torch_sake.datasets.frames import label_name
from torch_sake.datasets.split import Split
from torch_sake.files import PathLike, local_path

# Where an SQLite file says what it is a file of:
APPLICATION_ID, FORMAT = 0x53414B45, 2
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
# What the frames are labeled with is called 'energy', whatever it is.
SCHEMA = {**ARRAYS, 'energy': float, 'checksum': int}


class FramesOnDisk(OnDiskDataset):
    r"""Structures labeled with energies and, if these are known, forces and
    stresses, in a file that :func:`write_frames` wrote. A frame is read when
    it is asked for; what it consists of is what
    :class:`~torch_sake.datasets.Frames` says.

    The file is an SQLite database with one row for each frame. It is opened
    for reading only, and by each process on its own.

    Args:
        path (str or os.PathLike): The file.

    Raises:
        ValueError: If there is no such file or it is truncated; later, if a
            frame cannot be read or is not what was written. The error has the
            number of the frame.
    """
    def __init__(self, path: PathLike):
        self.path = osp.abspath(local_path('data', path))
        self.source = os.fspath(path)
        if not is_frames_on_disk(self.path):
            raise ValueError(f"'{path}' must be a file of frames that "
                             f"'torch-sake convert' wrote")
        super().__init__(osp.dirname(self.path), schema=SCHEMA, log=False)
        self._databases: Dict[int, SQLiteDatabase] = {}
        try:
            about, num_atoms = self.db.cursor.execute(
                f'SELECT description, num_atoms FROM {ABOUT}').fetchone()
        except sqlite3.DatabaseError as error:
            raise ValueError(f"'{path}' cannot be read ({error})") from error
        about = json.loads(about)
        self.name: str = about['name']
        self.units: Dict[str, str] = about['units']
        self.has_forces: bool = about['has_forces']
        self.has_stress: bool = about['has_stress']
        self.has_cells: bool = about['has_cells']
        self.elements: List[int] = about['elements']
        self.readout: str = about['readout']
        self.test_start = about['test_start']
        self.split_seed = about['split_seed']
        self.splits: Dict[str, Split] = {}  # published ones are not kept
        self._num_atoms = torch.frombuffer(bytearray(num_atoms),
                                           dtype=torch.int32)
        self._numel = self._num_atoms.numel()

    @property
    def processed_dir(self) -> str:
        return self.root

    @property
    def processed_file_names(self) -> str:
        return osp.basename(self.path)

    @property
    def label(self) -> str:
        r"""The name of what the frames are labeled with."""
        return label_name(self.units)

    @property
    def num_atoms(self) -> Tensor:
        r"""The number of atoms of each frame."""
        return self._num_atoms[torch.as_tensor(self.indices())].long()

    # A connection must not be used by two processes, and workers are copies.
    @property
    def db(self) -> SQLiteDatabase:
        process = os.getpid()
        if process not in self._databases:
            self._databases[process] = _ReadOnly(self.path, TABLE, SCHEMA)
        return self._databases[process]

    def close(self) -> None:
        database = self._databases.pop(os.getpid(), None)
        if database is not None:
            database.close()

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, '_databases': {}}

    def get(self, idx: int) -> Data:
        idx = int(idx)
        try:
            row = self.db.get(idx)
            intact = row['checksum'] == checksum(row)
        # What is damaged is missing, or has a shape that does not fit.
        except (sqlite3.DatabaseError, RuntimeError, TypeError,
                ValueError) as error:
            raise ValueError(f"'{self.source}', frame {idx}: The frame cannot "
                             f"be read ({error})") from error
        if not intact:
            raise ValueError(f"'{self.source}', frame {idx}: The frame is not "
                             f"what was written")
        return self.deserialize(row)

    def deserialize(self, row: Dict[str, Any]) -> Data:
        # Copies, as the tensors of a row lie in memory that must not change.
        data = Data(z=row['z'].long(), pos=row['pos'].clone())
        data[self.label] = torch.tensor([row['energy']], dtype=torch.double)
        if self.has_forces:
            data.force = row['force'].clone()
        if self.has_cells:
            known = row['pbc'].size(0) > 0
            data.cell = row['cell'].clone() if known else torch.zeros(
                1, 3, 3, dtype=torch.double)
            data.pbc = row['pbc'].clone() if known else torch.zeros(
                1, 3, dtype=torch.bool)
        if self.has_stress:
            known = row['stress'].size(0) > 0
            data.stress = row['stress'].clone() if known else torch.full(
                (1, 3, 3), torch.nan, dtype=torch.double)
        return data

    # One by one, which is faster than what SQLiteDatabase does with several.
    def __getitems__(self, indices: List[int]) -> List[Data]:
        return [self[index] for index in indices]

    def index_select(self, idx: Any) -> 'FramesOnDisk':
        frames = super().index_select(idx)
        # A tensor: the numbers of a list are counted by each worker that looks
        # at them, and the memory they are in is copied then.
        frames._indices = torch.as_tensor(frames._indices, dtype=torch.long)
        frames.test_start = frames.split_seed = None
        return frames

    def __repr__(self) -> str:
        return (f"{self.__class__.__name__}({len(self)}, "
                f"source='{self.source}')")


class _ReadOnly(SQLiteDatabase):
    def connect(self) -> None:
        # No process writes to the file, which spares locks.
        self._connection = sqlite3.connect(
            f'file:{quote(self.path)}?mode=ro&immutable=1', uri=True)
        self._cursor = self._connection.cursor()


def checksum(row: Dict[str, Any]) -> int:
    r"""Returns the CRC-32 of all arrays of a row and of its energy."""
    out = zlib.crc32(struct.pack('<d', row['energy']))
    for key in ARRAYS:
        out = zlib.crc32(row[key].numpy(), out)
    return out


def is_frames_on_disk(path: PathLike) -> bool:
    r"""Returns whether a file is one of :class:`FramesOnDisk`.

    Raises:
        ValueError: If it is one that is truncated or of another version.
    """
    path = osp.expanduser(path)
    if not osp.isfile(path):
        return False
    with open(path, 'rb') as file:
        header = file.read(100)
    if len(header) < 100 or not header.startswith(b'SQLite format 3\0'):
        return False
    # See the documentation of the header in the format of SQLite files.
    page_size, = struct.unpack('>H', header[16:18])
    num_pages, = struct.unpack('>I', header[28:32])
    version, application_id = struct.unpack('>I4xI', header[60:72])
    if application_id != APPLICATION_ID:
        return False
    if version != FORMAT:
        raise ValueError(f"'{path}' must be a file of frames of format "
                         f"{FORMAT} (got format {version})")
    expected = num_pages * (65536 if page_size == 1 else page_size)
    if osp.getsize(path) != expected:
        raise ValueError(f"'{path}' is truncated: It must have {expected} "
                         f"bytes (got {osp.getsize(path)})")
    return True
