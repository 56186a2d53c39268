import json
import math
import os
import os.path as osp
from array import array
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import torch
from torch_geometric.data import SQLiteDatabase
from tqdm import tqdm

from torch_sake.datasets.frames.ase_file import ase_blocks
from torch_sake.datasets.frames.file_format import (
    ARRAYS,
    BITS,
    SCHEMA,
    TABLE,
    Description,
    begin_file,
    row_digest,
    write_about,
)
from torch_sake.datasets.frames.frame_arrays import ATOMIC
from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.label_keys import LabelKeys
from torch_sake.datasets.frames.npz_file import npz_blocks
from torch_sake.datasets.frames.on_disk import FramesOnDisk
from torch_sake.utils.files import remove_incomplete, replace_when_complete
from torch_sake.utils.locks import hold_file
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.units import check_one_unit, find_unit, given_units

BLOCK = 20000  # atoms that are in memory at a time


def convert_frames(data: PathLike, out: PathLike,
                   energy_unit: str | None = None,
                   length_unit: str | None = None, *,
                   units: str | None = None, energy_key: str | None = None,
                   forces_key: str | None = None,
                   stress_key: str | None = None,
                   virial_key: str | None = None) -> FramesOnDisk:
    r"""Converts a file of labeled structures to one whose frames can be read
    one by one, in any order. Neither is ever in memory as a whole.

    Numbers are kept as they are, in the units of the data. Forces are in
    energy per length, stresses in energy per length cubed.

    .. code-block:: python

        frames = convert_frames('molecules.extxyz', 'molecules.frames')
        frames[0]  # Data

    Args:
        data (str or os.PathLike): A file that ASE reads (such as extended XYZ,
            or a database of ASE), in eV and Angstrom, or an :obj:`.npz` file
            with the arrays of MD17 or revised MD17, in the units that it
            declares as :obj:`e_unit` and :obj:`r_unit`, or else in kcal/mol
            and Angstrom.
        out (str or os.PathLike): The file to write. There is none of this name
            until it is complete.
        energy_unit (str, optional): The older name of :obj:`units`.
            (default: :obj:`None`)
        length_unit (str, optional): The unit of lengths, if the data are in
            another one: :obj:`"Angstrom"`, :obj:`"Bohr"` or :obj:`"nm"`.
            (default: :obj:`None`)
        units (str, optional): The unit of energies, if the data are in
            another one: :obj:`"eV"`, :obj:`"meV"`, :obj:`"kcal/mol"`,
            :obj:`"kJ/mol"`, :obj:`"Hartree"` or :obj:`"Rydberg"`.
            (default: :obj:`None`)
        energy_key, forces_key, stress_key, virial_key (str, optional): What
            labels are called in the data, as in
            :func:`~torch_sake.datasets.load_frames`. (default: :obj:`None`)

    Raises:
        ImportError: If ASE is needed and is missing.
        ValueError: If there is a file :obj:`out`, a unit is not known or not
            the one that the data are known to be in, a frame of the data
            cannot be read, is not finite or has arrays of wrong shapes, or
            there are no labels of the names, but other entries that might be
            some. The error has the number of the frame.
    """
    if energy_unit is not None:
        check_one_unit(energy_unit, units)
        units = find_unit('energy', energy_unit, "'energy_unit'")
    given = given_units(units, length_unit)
    keys = LabelKeys(energy_key, forces_key, stress_key, virial_key)
    read = npz_blocks if os.fspath(data).endswith('.npz') else ase_blocks
    with tqdm(unit='frame', desc='converting', mininterval=1.0,
              dynamic_ncols=True) as bar:
        write_frames(_count(read(data, BLOCK, given, keys), bar), out)
    return FramesOnDisk(out)


def _count(blocks: Iterable[Frames], bar: tqdm) -> Iterator[Frames]:
    for block in blocks:
        yield block
        bar.update(len(block))


def write_frames(blocks: Iterable[Frames], out: PathLike) -> None:
    r"""Writes frames to a file of :class:`FramesOnDisk`, completely or not at
    all. What an earlier call that was killed left behind is removed.

    Args:
        blocks (iterable of Frames): The frames, some at a time, of the same
            units and labels.
        out (str or os.PathLike): The file.

    Raises:
        ValueError: If there is a file of this name, another process writes
            it, or there are no frames.
    """
    out = osp.abspath(local_path('out', out))
    with hold_file(out):
        if osp.exists(out):
            raise ValueError(f"'out' must not exist, but there is one "
                             f"already: choose another name (got '{out}')")
        remove_incomplete(*osp.split(out))
        with replace_when_complete(out) as temporary, closing(
                SQLiteDatabase(temporary, TABLE, SCHEMA)) as database:
            _write(database, blocks)


def _write(database: SQLiteDatabase, blocks: Iterable[Frames]) -> None:
    begin_file(database.cursor)
    summary = _Summary()
    for block in blocks:
        first = len(summary.num_atoms)
        summary.add(block)
        rows = list(_rows(block))
        summary.digests.extend(
            row_digest([row[key].numpy() for key in ARRAYS], row['energy'],
                       row['info']) for row in rows)
        database.multi_insert(range(first, first + len(block)), rows)
    if not summary.num_atoms:
        raise ValueError('There are no frames')
    write_about(database.cursor, summary.description(),
                num_atoms=summary.num_atoms, digests=summary.digests,
                known=summary.known)


def _rows(block: Frames) -> Iterator[dict[str, Any]]:
    r"""Yields the rows of the database, without an object of PyG for each."""
    if block._indices is not None:
        block = block.copy()
    data, sizes = block._data, block.num_atoms.tolist()
    # SQLite has no negative zero: the digest is to be that of what it keeps.
    columns: dict[str, Any] = {
        'energy': [math.nan if math.isnan(energy) else energy
                   for energy in (data[block.label] + 0.0).tolist()],
        'info': [json.dumps(block.info(index)) for index in range(len(block))]}
    for key, info in ARRAYS.items():
        if key in data:
            columns[key] = data[key].to(info['dtype']).contiguous().split(
                sizes if key in ATOMIC else 1)
        else:
            columns[key] = len(sizes) * [torch.empty(0, dtype=info['dtype'])]
    for values in zip(*columns.values()):
        yield dict(zip(columns, values))


class _Summary:
    r"""What is known of all frames without a look at them."""
    def __init__(self):
        self.num_atoms, self.digests = array('i'), array('I')
        self.known = array('B')
        self.elements: set[int] = set()
        self.has_cells = self.has_stress = False
        self.has_forces = self.has_infos = False

    def add(self, block: Frames) -> None:
        if not self.num_atoms:
            self.about = {key: getattr(block, key, None)
                          for key in Description.__annotations__}
        where = f"{block.source}, frame {len(self.num_atoms)}"
        if block.units != self.about['units']:
            raise ValueError(f"{where}: The units must be those of the frames "
                             f"before, {self.about['units']} "
                             f"(got {block.units})")
        self.known.extend(sum(
            bit * block.known(block.label if name == 'energy' else name)
            for name, bit in BITS.items()).tolist())
        self.has_forces |= block.has_forces
        self.has_infos |= block.has_infos
        self.num_atoms.extend(block.num_atoms.tolist())
        self.elements.update(block._data.z.unique().tolist())
        # As with frames in memory: stresses are those of crystals.
        pbc = block._data.get('pbc')
        self.has_cells |= pbc is not None and bool(pbc.any())
        self.has_stress |= block.has_stress

    def description(self) -> dict[str, Any]:
        return {**self.about, 'elements': sorted(self.elements),
                'has_forces': self.has_forces, 'has_infos': self.has_infos,
                'has_cells': self.has_cells,
                'has_stress': self.has_cells and self.has_stress}
