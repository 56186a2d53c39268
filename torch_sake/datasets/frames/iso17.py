import os
import os.path as osp
from typing import Any

import numpy
import torch
from torch_geometric.data import download_url, extract_tar

from torch_sake.datasets.frames.ase_labels import real_numbers
from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.raw_files import find_raw_files
from torch_sake.datasets.frames.split import Split, read_indices
from torch_sake.utils.messages import one_line
from torch_sake.utils.paths import PathLike
from torch_sake.utils.units import ASE_UNITS

URL = 'http://quantum-machine.org/datasets/iso17.tar.gz'
REFERENCE, WITHIN, OTHER = 'reference.db', 'test_within.db', 'test_other.db'
IDS = ('train_ids.txt', 'validation_ids.txt')


class ISO17(Frames):
    r"""Molecular dynamics of isomers of C7O2H10 by density functional theory
    (PBE with the dispersion of Tkatchenko and Scheffler), from `"SchNet: A
    Continuous-filter Convolutional Neural Network for Modeling Quantum
    Interactions" <https://arxiv.org/abs/1706.08566>`_.

    The frames of three databases follow one another: :obj:`reference.db`, 80 %
    of the steps of 80 % of the molecules, :obj:`test_within.db`, the other
    steps of these molecules, and :obj:`test_other.db`, the other molecules.
    The published splits are :obj:`splits['within']` and
    :obj:`splits['other']`, named by their test frames; training and validation
    frames are those of :obj:`train_ids.txt` and :obj:`validation_ids.txt`.
    Energies are in eV, positions in Angstrom.

    The files lie where the archive puts them, in :obj:`<root>/raw/iso17`, or
    directly in :obj:`root`. If they do not, they are downloaded.

    Args:
        root (str or os.PathLike): The folder of the data.

    Raises:
        ImportError: If ASE is missing.
        ValueError: If a file is neither there nor can be downloaded, or is
            damaged.
    """
    def __init__(self, root: PathLike):
        paths = find_raw_files(root, osp.join('raw', 'iso17'),
                               [REFERENCE, WITHIN, OTHER, *IDS], 'ISO17',
                               _download)
        parts = [_read_database(path) for path in paths[:3]]
        ids = parts[0].pop('ids')
        ends = numpy.cumsum([0, *(len(part['energy']) for part in parts)])
        super().__init__(
            **{key: torch.from_numpy(numpy.concatenate(
                [part[key] for part in parts])) for key in parts[0]},
            name='iso17', units=ASE_UNITS, source='iso17',
            test_start=int(ends[1]))
        train, val = (_frames_of_ids(path, ids) for path in paths[3:])
        for name, begin, end in zip(('within', 'other'), ends[1:], ends[2:]):
            self.splits[name] = Split(train, val, torch.arange(begin, end))


def _download(root: str) -> None:
    folder = osp.join(root, 'raw')
    path = download_url(URL, folder)
    extract_tar(path, folder)
    os.unlink(path)


def _read_database(path: str) -> dict[str, numpy.ndarray]:
    r"""Returns the frames of a database, one after the other, and their
    numbers in it.
    """
    try:
        from ase.db import connect
    except ImportError as error:
        raise ImportError("ISO17 needs ASE: "
                          "pip install 'torch-sake[train]'") from error
    rows: dict[str, list[Any]] = {
        key: [] for key in ('ids', 'z', 'pos', 'energy', 'force')}
    # A damaged database fails in as many ways as SQLite, JSON and ASE.
    try:
        for row in connect(path, type='db').select():
            where = f"'{path}', frame {len(rows['ids'])}"
            energy = real_numbers('total_energy', row['total_energy'], where)
            force = real_numbers('atomic_forces', row.data['atomic_forces'],
                                 where)
            values = (row.id, row.numbers, row.positions, float(energy),
                      force.reshape(row.positions.shape))
            for key, value in zip(rows, values):
                rows[key].append(value)
    except Exception as error:
        raise ValueError(f"'{path}', frame {len(rows['ids'])}: The database "
                         f"cannot be read ({one_line(error)})") from error
    if not rows['ids']:
        raise ValueError(f"'{path}' has no frames")
    rows['num_atoms'] = [len(z) for z in rows['z']]
    return {key: numpy.concatenate(value) if key in ('z', 'pos', 'force')
            else numpy.array(value) for key, value in rows.items()}


def _frames_of_ids(path: str, ids: numpy.ndarray) -> torch.Tensor:
    r"""Returns the indices of the frames that a list of numbers names. The
    numbers of all frames ascend.
    """
    ids, numbers = torch.from_numpy(ids), read_indices(path)
    frames = torch.searchsorted(ids, numbers).clamp(max=len(ids) - 1)
    unknown = ids[frames] != numbers
    if unknown.any():
        raise ValueError(f"'{path}' must hold numbers of frames of "
                         f"'{REFERENCE}' (got {int(numbers[unknown][0])})")
    return frames
