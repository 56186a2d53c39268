r"""Reads the files of QM9. Nothing in them is executed, and what PyG keeps of
them elsewhere, pickled, is not opened.
"""

import os.path as osp
from array import array
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch_geometric.datasets import QM9
from torch_geometric.datasets.qm9 import conversion

from torch_sake.datasets.frames.raw_files import DownloadOnly

ORIGINAL = ('gdb9.sdf', 'gdb9.sdf.csv', 'uncharacterized.txt')
TENSORS = 'qm9_v3.pt'  # of PyG, with the same content
ATOMIC_NUMBERS = {'H': 1, 'C': 6, 'N': 7, 'O': 8, 'F': 9}
ZIP = b'PK\x03\x04'
# Of a list of the molecules that are left out, in lines:
HEAD, TAIL = 9, 2


class Molecules(NamedTuple):
    r"""The molecules, one after the other, with the labels in the columns and
    units of PyG.

    Shapes:
        - atomic numbers :math:`(N)`, positions :math:`(N, 3)`, numbers of
          atoms :math:`(M)`, labels :math:`(M, 19)`
    """
    z: Tensor
    pos: Tensor
    num_atoms: Tensor
    y: Tensor


class _Download(DownloadOnly, QM9):
    pass


def read_molecules(root: str) -> Molecules:
    r"""Returns the molecules of a folder, from the original files if they are
    there, or else from that of PyG. If there are none, PyG downloads some.
    """
    folder = osp.join(root, 'raw')
    original = [osp.join(folder, name) for name in ORIGINAL]
    tensors = osp.join(folder, TENSORS)
    if not all(map(osp.isfile, original)) and not osp.isfile(tensors):
        _Download(root)
    if all(map(osp.isfile, original)):
        return _read_original(*original)
    return _read_tensors(tensors)


def _read_original(structures: str, table: str, left_out: str) -> Molecules:
    names, z, pos, num_atoms = _read_structures(structures)
    rows, y = _read_table(table)
    if rows != names:
        differ = [row != name for row, name in zip(rows, names)]
        first = differ.index(True) if True in differ else len(differ)
        raise ValueError(f"'{table}' must have a row for each molecule of "
                         f"'{structures}' (they differ from molecule "
                         f"{first + 1} on)")
    with open(left_out) as file:
        lines = file.read().split('\n')[HEAD:-TAIL]
    kept = torch.ones(len(names), dtype=torch.bool)
    kept[[int(line.split()[0]) - 1 for line in lines]] = False
    atoms = kept.repeat_interleave(num_atoms)
    return Molecules(z[atoms], pos[atoms], num_atoms[kept], y[kept])


def _read_structures(path: str) -> tuple[list[str], Tensor, Tensor, Tensor]:
    r"""Returns the names, atomic numbers, positions and numbers of atoms of
    an SDF file of the version V2000.
    """
    names, z, pos, num_atoms = [], array('b'), array('d'), array('i')
    with open(path) as file:
        for name in file:
            try:
                counts = list(islice(file, 3))[2]
                number = int(counts[:3])
                if counts[33:39].strip() != 'V2000' or number < 1:
                    raise ValueError(f'it begins with {counts.strip()!r}')
                lines = list(islice(file, number))
                for line in lines:
                    pos.extend((float(line[:10]), float(line[10:20]),
                                float(line[20:30])))
                    z.append(ATOMIC_NUMBERS[line[31:34].strip()])
                # Bonds are not needed. The molecule must have an end.
                if len(lines) < number or not any(
                        line.startswith('$$$$') for line in file):
                    raise ValueError('it ends early')
            except (ValueError, KeyError, IndexError) as error:
                raise ValueError(f"'{path}', molecule {len(names) + 1}, "
                                 f"cannot be read ({error})") from error
            names.append(name.strip())
            num_atoms.append(number)
    return (names, torch.tensor(z, dtype=torch.long),
            torch.tensor(pos, dtype=torch.float).view(-1, 3),
            torch.tensor(num_atoms, dtype=torch.long))


def _read_table(path: str) -> tuple[list[str], Tensor]:
    r"""Returns the names and the labels of the molecules."""
    names, rows = [], []
    with open(path) as file:
        for line in islice(file, 1, None):
            name, *values = line.split(',')
            try:
                row = list(map(float, values[:19]))
            except ValueError as error:
                raise ValueError(f"'{path}', molecule {len(names) + 1}, "
                                 f"cannot be read ({error})") from error
            names.append(name)
            rows.append(row)
    # As PyG does it, so that all digits are the same.
    y = torch.tensor(rows, dtype=torch.float)
    return names, torch.cat([y[:, 3:], y[:, :3]],
                            dim=1) * conversion.view(1, -1)


def _read_tensors(path: str) -> Molecules:
    with open(path, 'rb') as file:
        # Older versions of torch execute what an archive of another kind says.
        if file.read(len(ZIP)) != ZIP:
            raise ValueError(f"'{path}' is no file of tensors")
    molecules: list[Any] = torch.load(path, weights_only=True)
    return Molecules(
        *(torch.cat([data[key] for data in molecules])
          for key in ('z', 'pos')),
        torch.tensor([len(data['z']) for data in molecules]),
        torch.cat([data['y'] for data in molecules]))
