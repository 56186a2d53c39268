import os.path as osp
from collections.abc import Sequence

import numpy as np
import torch
from torch_geometric.data import download_url
from torch_geometric.datasets import MD17

from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.raw_files import DownloadOnly, find_raw_files
from torch_sake.datasets.frames.split import Split, read_indices
from torch_sake.utils.files import PathLike, read_arrays
from torch_sake.utils.units import read_units

UNITS = {'length': 'Angstrom', 'energy': 'kcal/mol'}
# The names of atomic numbers, positions, energies and forces in the files, and
# in those of revised MD17:
LAYOUTS = (('z', 'R', 'E', 'F'),
           ('nuclear_charges', 'coords', 'energies', 'forces'))
MD22_URL = 'http://www.quantum-machine.org/gdml/repo/datasets'
MD22_NAMES = {name: f"md22_{name.replace(' ', '_')}.npz" for name in (
    'Ac-Ala3-NHMe', 'DHA', 'stachyose', 'AT-AT', 'AT-AT-CG-CG',
    'buckyball-catcher', 'double-walled nanotube')}


class _MD17Download(DownloadOnly, MD17):
    pass


def md17_frames(root: PathLike, name: str) -> Frames:
    r"""Reads a trajectory of the MD17 collection in double precision.

    The raw files lie where :class:`~torch_geometric.datasets.MD17` of PyG puts
    them (:obj:`<root>/ethanol/raw/md17_ethanol.npz`,
    :obj:`<root>/raw/rmd17/npz_data/rmd17_ethanol.npz`) or directly in
    :obj:`root`. If they do not, PyG downloads them. Energies are in kcal/mol,
    positions in Angstrom.

    The coupled cluster names (CCSD) come with a pre-defined test set: their
    training frames are followed by their test frames, which start at
    :obj:`frames.test_start`. The revised names come with five splits of 1000
    training and 1000 test frames, :obj:`frames.splits['1']` to
    :obj:`frames.splits['5']`, if the index files of their archive are there
    (:obj:`<root>/raw/rmd17/splits/index_train_01.csv`, or directly in
    :obj:`root`).

    Args:
        root (str or os.PathLike): The folder of the data.
        name (str): A name of :class:`~torch_geometric.datasets.MD17`, such as
            :obj:`'ethanol'`, :obj:`'revised ethanol'` or
            :obj:`'ethanol CCSD(T)'`.

    Raises:
        ValueError: If the name is unknown, or a file is neither there nor can
            be downloaded, or is damaged.
    """
    if name not in MD17.file_names:
        raise ValueError(f"'name' must be one of {sorted(MD17.file_names)} "
                         f"(got {name!r})")
    file_name = MD17.file_names[name]
    file_names, folder, keys = [file_name], osp.join(name, 'raw'), LAYOUTS[0]
    if 'revised' in name:
        folder, keys = osp.join('raw', 'rmd17', 'npz_data'), LAYOUTS[1]
    elif 'CCSD' in name:
        stem = osp.splitext(file_name)[0]
        file_names = [f'{stem}-train.npz', f'{stem}-test.npz']

    def download(root: str) -> None:
        _MD17Download(root, name, train=True if 'CCSD' in name else None)

    paths = find_raw_files(root, folder, file_names, f"MD17 '{name}'",
                           download)
    frames = _read_trajectories(paths, keys, name, f'md17:{name}')
    if 'revised' in name:
        frames.splits = _read_splits(osp.dirname(paths[0]))
    return frames


def md22_frames(root: PathLike, name: str) -> Frames:
    r"""Reads a trajectory of the MD22 collection in double precision.

    The raw file lies in a folder as those of MD17
    (:obj:`<root>/DHA/raw/md22_DHA.npz`) or directly in :obj:`root`. If it does
    not, it is downloaded. Energies are in kcal/mol, positions in Angstrom.

    Args:
        root (str or os.PathLike): The folder of the data.
        name (str): :obj:`'Ac-Ala3-NHMe'`, :obj:`'DHA'`, :obj:`'stachyose'`,
            :obj:`'AT-AT'`, :obj:`'AT-AT-CG-CG'`, :obj:`'buckyball-catcher'` or
            :obj:`'double-walled nanotube'`.

    Raises:
        ValueError: If the name is unknown, or the file is neither there nor
            can be downloaded, or is damaged.
    """
    if name not in MD22_NAMES:
        raise ValueError(f"'name' must be one of {sorted(MD22_NAMES)} "
                         f"(got {name!r})")
    folder = osp.join(name, 'raw')

    def download(root: str) -> None:
        download_url(f'{MD22_URL}/{MD22_NAMES[name]}', osp.join(root, folder))

    paths = find_raw_files(root, folder, [MD22_NAMES[name]],
                           f"MD22 '{name}'", download)
    return _read_trajectories(paths, LAYOUTS[0], name, f'md22:{name}')


def _read_trajectories(paths: list[str], keys: Sequence[str], name: str,
                       source: str) -> Frames:
    r"""Returns the frames of a molecule; those of a second file are its test
    set.
    """
    parts = [_read_raw_file(path, keys) for path in paths]
    z = parts[0][0]
    for path, part in zip(paths, parts):
        if not np.array_equal(part[0], z):
            raise ValueError(f"'{path}' holds another molecule than "
                             f"'{paths[0]}'")

    units = read_units(paths[0], UNITS)
    for path in paths[1:]:
        read_units(path, UNITS, units)  # the same

    pos, energy, force = (np.concatenate(arrays)
                          for arrays in zip(*(part[1:] for part in parts)))
    return Frames(
        z=np.tile(z, len(pos)),
        pos=pos.reshape(-1, 3),
        energy=energy,
        force=force.reshape(-1, 3),
        num_atoms=len(z),
        name=name,
        units=units,
        source=source,
        test_start=len(parts[0][1]) if len(parts) > 1 else None,
    )


def _read_raw_file(path: str, keys: Sequence[str]) -> list[np.ndarray]:
    arrays = read_arrays(path, keys)
    z, pos, energy, force = (arrays[key] for key in keys)
    energy = energy.reshape(-1)
    if z.ndim != 1 or z.size == 0 or energy.size == 0:
        raise ValueError(f"'{path}' must have atoms and frames (got "
                         f"'{keys[0]}' of shape {z.shape} and {energy.size} "
                         f"energies)")
    expected = (energy.size, z.size, 3)
    for key, array in ((keys[1], pos), (keys[3], force)):
        if array.shape != expected:
            raise ValueError(f"'{path}': '{key}' must have shape {expected}, "
                             f"after '{keys[2]}' and '{keys[0]}' "
                             f"(got {array.shape})")
    return [z, pos, energy, force]


def _read_splits(folder: str) -> dict[str, Split]:
    r"""Returns the splits of the revised trajectories that have files."""
    splits = {}
    for place in (folder, osp.join(folder, osp.pardir, 'splits')):
        for number in '12345':
            train, test = (osp.join(place, f'index_{part}_0{number}.csv')
                           for part in ('train', 'test'))
            if osp.isfile(train) and osp.isfile(test):
                splits[number] = Split(train=read_indices(train),
                                       val=torch.empty(0, dtype=torch.long),
                                       test=read_indices(test))
    return splits
