import json
import math
import os
import os.path as osp
import sqlite3
import struct
import warnings
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import torch
from torch import Tensor
from torch_geometric.data import Data, OnDiskDataset, SQLiteDatabase

from torch_sake.datasets.frames.file_format import (
    BITS,
    SCHEMA,
    SCHEMAS,
    TABLE,
    WITHOUT_DIGEST,
    Description,
    find_format,
    is_intact,
    read_about,
)
from torch_sake.datasets.frames.frame_arrays import Source, check_infos
from torch_sake.datasets.frames.labeled_frames import LabeledFrames
from torch_sake.utils.messages import errors_name, one_line
from torch_sake.utils.paths import PathLike, local_path


class FramesOnDisk(LabeledFrames, OnDiskDataset):
    r"""Structures labeled with energies, forces and stresses, as far as these
    are known, in a file that :func:`write_frames` wrote. A frame is read when
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
    name: str
    has_forces: bool
    has_stress: bool
    has_cells: bool
    elements: list[int]
    readout: str
    has_infos: bool  # not in older files

    def __init__(self, path: PathLike):
        self.path = osp.abspath(local_path('data', path))
        self.source = os.fspath(path)
        self.format = find_format(self.path)
        if self.format is None:
            raise ValueError(f"'{path}' must be a file of frames that "
                             f"'torch-sake convert' wrote")
        super().__init__(osp.dirname(self.path), schema=SCHEMA, log=False)
        self._databases: dict[int, SQLiteDatabase] = {}
        with errors_name(path):
            about, columns = read_about(self.db.cursor, self.format)
        if self.format == WITHOUT_DIGEST:
            warnings.warn(f"'{path}' is of an older version of torch_sake, "
                          f"without a digest: damage to all but its rows "
                          f"would not be seen")
        for key in Description.__annotations__:
            setattr(self, key, about.get(key, False))
        self.splits = {}  # published ones are not kept
        self.entries = {}
        self._factors: dict[str, float] = {}  # to other units
        self._num_atoms = columns['num_atoms']
        self._digests = columns.get('digests')
        self._known = columns.get('known')
        self._numel = self._num_atoms.size

    @property
    def processed_dir(self) -> str:
        return self.root

    @property
    def processed_file_names(self) -> str:
        return osp.basename(self.path)

    @property
    def num_atoms(self) -> Tensor:
        r"""The number of atoms of each frame."""
        return torch.from_numpy(self._num_atoms)[self._index].long()

    def info(self, index: int) -> dict[str, Any]:
        r"""As :meth:`torch_sake.datasets.Frames.info`."""
        if not self.has_infos:
            return {}
        idx = int(self.indices()[index])
        text = self._read(idx)['info']
        try:
            infos = [json.loads(text)]
        except (RecursionError, ValueError) as error:
            raise ValueError(f"'{self.source}', frame {idx}: What is known "
                             f"of it cannot be read") from error
        return (check_infos(Source(f"'{self.source}'", idx), infos, 1)
                or [{}])[0]

    def mentions(self, name: str) -> bool:
        r"""As :meth:`torch_sake.datasets.Frames.mentions`. A text that looks
        like the name is enough.
        """
        if not self.has_infos:
            return False
        with errors_name(self.source):  # without a look at each frame
            return self.db.cursor.execute(
                f'SELECT 1 FROM {TABLE} WHERE instr(COL_info, ?) LIMIT 1',
                (json.dumps(name), )).fetchone() is not None

    def origin(self, index: int) -> tuple[str, int]:
        r"""As :meth:`torch_sake.datasets.Frames.origin`."""
        return self.source, int(self.indices()[index])

    def known(self, name: str) -> Tensor:
        r"""As :meth:`torch_sake.datasets.Frames.known`."""
        name = 'energy' if name == self.label else name
        indices = self._index
        if self._known is not None:
            return (torch.from_numpy(self._known)[indices] & BITS[name]) > 0
        # Older files know this of stresses only by their frames.
        if name == 'stress' and self.has_stress:
            return torch.tensor([not bool(data.stress.isnan().any())
                                 for data in self])
        there = name == 'energy' or name == 'force' and self.has_forces
        return torch.full((len(indices), ), there)

    # A connection must not be used by two processes, and workers are copies.
    @property
    def db(self) -> SQLiteDatabase:
        process = os.getpid()
        if process not in self._databases:
            self._databases[process] = _ReadOnly(self.path, TABLE,
                                                 SCHEMAS[self.format])
        return self._databases[process]

    def close(self) -> None:
        database = self._databases.pop(os.getpid(), None)
        if database is not None:
            database.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_databases': {}}

    def get(self, idx: int) -> Data:
        idx = int(idx)
        data = self.deserialize(self._read(idx))
        for key, factor in self._factors.items():
            if key in data:
                data[key] *= factor
        return self._add_entries(data, idx)

    def _multiply(self, factors: dict[str, float]) -> None:
        self._factors = {key: factor * self._factors.get(key, 1.0)
                         for key, factor in factors.items()}

    def _read(self, idx: int) -> dict[str, Any]:
        try:
            values, row = self.db.get(idx)
            intact = self._is_intact(idx, values, row)
        # What is damaged is missing, or has a shape that does not fit.
        except (sqlite3.Error, RuntimeError, TypeError, ValueError,
                OverflowError, struct.error) as error:
            raise ValueError(f"'{self.source}', frame {idx}: The frame cannot "
                             f"be read ({one_line(error)})") from error
        if not intact:
            raise ValueError(f"'{self.source}', frame {idx}: The frame is not "
                             f"what was written")
        return row

    def _is_intact(self, idx: int, values: Sequence[Any],
                   row: dict[str, Any]) -> bool:
        keys = ['z', 'pos']
        if self._known is None and self.has_forces or row['force'].numel():
            keys.append('force')
        digest = None if self._digests is None else self._digests[idx]
        return {row[key].size(0) for key in keys} == {
            self._num_atoms[idx]} and is_intact(self.format, values, row,
                                                digest)

    def deserialize(self, row: dict[str, Any]) -> Data:
        # Copies, as the tensors of a row lie in memory that must not change.
        data = Data(z=row['z'].long(), pos=row['pos'].clone())
        data[self.label] = torch.tensor([row['energy']], dtype=torch.double)
        if self.has_forces:
            data.force = row['force'].clone() if row['force'].numel() else (
                torch.full_like(data.pos, torch.nan))
        for key, there, unknown in (('cell', self.has_cells, 0.0),
                                    ('pbc', self.has_cells, False),
                                    ('stress', self.has_stress, torch.nan)):
            if there:
                value = row[key]
                data[key] = value.clone() if value.size(0) > 0 else torch.full(
                    (1, *value.shape[1:]), unknown, dtype=value.dtype)
        return data

    # One by one, which is faster than what SQLiteDatabase does with several.
    def __getitems__(self, indices: list[int]) -> list[Data]:
        return [self[index] for index in indices]

    def index_select(self, idx: Any) -> 'FramesOnDisk':
        frames = super().index_select(idx)
        # A tensor: the numbers of a list are counted by each worker that looks
        # at them, and the memory they are in is copied then.
        frames._indices = torch.as_tensor(frames._indices, dtype=torch.long)
        return frames


class _ReadOnly(SQLiteDatabase):
    def connect(self) -> None:
        # No process writes to the file, which spares locks.
        self._connection = sqlite3.connect(
            f'file:{quote(self.path)}?mode=ro&immutable=1', uri=True)
        self._cursor = self._connection.cursor()
        # Nothing in the file has anything computed:
        self._cursor.execute('PRAGMA trusted_schema = OFF')

    def get(self, index: int) -> tuple[tuple[Any], dict[str, Any]]:
        r"""Returns a row as it is in the file and as what it means."""
        self.cursor.execute(f'SELECT {self._joined_col_names} FROM '
                            f'{self.name} WHERE id = ?', (index, ))
        values = self.cursor.fetchone()
        row = self._deserialize(values)
        if row['energy'] is None:  # SQLite has no NaN
            row['energy'] = math.nan
        return values, row
