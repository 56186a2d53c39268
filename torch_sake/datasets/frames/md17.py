import os.path as osp

import numpy as np
import torch
from torch_geometric.data import download_url
from torch_geometric.datasets import MD17

from torch_sake.datasets.frames.frames import Frames, molecule_frames
from torch_sake.datasets.frames.npz_file import UNITS, array_blocks
from torch_sake.datasets.frames.raw_files import download_files, find_raw_files
from torch_sake.datasets.frames.split import Split, read_indices
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import check_option
from torch_sake.utils.units import read_units

MD22_URL = 'http://www.quantum-machine.org/gdml/repo/datasets'
MD22_NAMES = {name: f"md22_{name.replace(' ', '_')}.npz" for name in (
    'Ac-Ala3-NHMe', 'DHA', 'stachyose', 'AT-AT', 'AT-AT-CG-CG',
    'buckyball-catcher', 'double-walled nanotube')}


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
    check_option('name', name, MD17.file_names)
    file_names, folder = [MD17.file_names[name]], osp.join(name, 'raw')
    if 'revised' in name:
        folder = osp.join('raw', 'rmd17', 'npz_data')
    elif 'CCSD' in name:
        stem = osp.splitext(file_names[0])[0]
        file_names = [f'{stem}-train.npz', f'{stem}-test.npz']
    paths = find_raw_files(
        root, folder, file_names, f"MD17 '{name}'",
        lambda root: download_files(MD17, root, name, 'CCSD' in name or None))
    frames = _read_trajectory(paths, name, f'md17:{name}')
    if 'revised' in name:
        frames.splits = _read_splits(osp.dirname(paths[0]))
    return frames


def rmd17_frames(root: PathLike, name: str) -> Frames:
    r"""Reads a revised trajectory, as :func:`md17_frames`."""
    return md17_frames(root, f'revised {name}')


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
    check_option('name', name, MD22_NAMES)
    folder, file_name = osp.join(name, 'raw'), MD22_NAMES[name]
    paths = find_raw_files(
        root, folder, [file_name], f"MD22 '{name}'", lambda root: download_url(
            f'{MD22_URL}/{file_name}', osp.join(root, folder)))
    return _read_trajectory(paths, name, f'md22:{name}')


def _read_trajectory(paths: list[str], name: str, source: str) -> Frames:
    r"""Returns the frames of a molecule; those of a second file are its test
    set.
    """
    parts = [next(array_blocks(path))[1] for path in paths]
    z, units = parts[0]['z'], read_units(paths[0], UNITS)
    for path, part in zip(paths[1:], parts[1:]):
        if not np.array_equal(part['z'], z):
            raise ValueError(f"'{path}' holds another molecule than "
                             f"'{paths[0]}'")
        read_units(path, UNITS, units)  # the same
    if len(parts) == 1:
        return molecule_frames(**parts[0], name=name, units=units,
                               source=source)
    arrays = {key: np.concatenate([part[key] for part in parts])
              for key in ('pos', 'energy', 'force')}
    return molecule_frames(z, **arrays, name=name, units=units, source=source,
                           test_start=len(parts[0]['energy']))


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
