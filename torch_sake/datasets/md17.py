import os.path as osp
from typing import Any, List

import numpy as np
import torch
from torch_geometric.datasets import MD17

from torch_sake.datasets.frames import Frames
from torch_sake.files import PathLike, read_arrays

UNITS = {'length': 'Angstrom', 'energy': 'kcal/mol'}
# The names of atomic numbers, positions, energies and forces in the files, and
# in those of revised MD17:
LAYOUTS = (['z', 'R', 'E', 'F'],
           ['nuclear_charges', 'coords', 'energies', 'forces'])


class _MD17Download(MD17):
    # Converting a million frames to single precision takes minutes and is not
    # needed here.
    def process(self) -> None:
        pass

    def load(self, *args: Any, **kwargs: Any) -> None:
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
    :obj:`frames.test_start`.

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
    revised = 'revised' in name
    paths = _find_raw_files(osp.expanduser(root), name)
    parts = [_read_raw_file(path, revised) for path in paths]
    z = parts[0][0]
    for path, part in zip(paths, parts):
        if not np.array_equal(part[0], z):
            raise ValueError(f"'{path}' holds another molecule than "
                             f"'{paths[0]}'")

    pos, energy, force = (np.concatenate(arrays)
                          for arrays in zip(*(part[1:] for part in parts)))
    return Frames(
        z=torch.from_numpy(z).long().repeat(len(pos)),
        pos=pos.reshape(-1, 3),
        energy=energy,
        force=force.reshape(-1, 3),
        num_atoms=len(z),
        name=name,
        units=UNITS,
        source=f'md17:{name}',
        test_start=len(parts[0][1]) if len(parts) > 1 else None,
    )


def _find_raw_files(root: str, name: str) -> List[str]:
    file_name = MD17.file_names[name]
    file_names = [file_name]
    folder = osp.join(root, name, 'raw')
    if 'revised' in name:
        folder = osp.join(root, 'raw', 'rmd17', 'npz_data')
    elif 'CCSD' in name:
        stem = osp.splitext(file_name)[0]
        file_names = [f'{stem}-train.npz', f'{stem}-test.npz']

    in_folder = [osp.join(folder, file_name) for file_name in file_names]
    in_root = [osp.join(root, file_name) for file_name in file_names]
    for paths in (in_folder, in_root):
        if all(osp.isfile(path) for path in paths):
            return paths

    # Failures are of the network, of its proxies or of an archive.
    try:
        _MD17Download(root, name, train=True if 'CCSD' in name else None)
    except Exception as error:
        raise ValueError(
            f"There is no file of MD17 '{name}' and its download failed "
            f"({type(error).__name__}: {error}). Place {file_names} in "
            f"'{folder}' or in '{root}'") from error
    return in_folder


def _read_raw_file(path: str, revised: bool) -> List[np.ndarray]:
    keys = LAYOUTS[revised]
    arrays = read_arrays(path, keys)
    z, pos, energy, force = (arrays[key] for key in keys)
    energy = energy.reshape(-1)
    expected = (energy.size, z.size, 3)
    for key, array in ((keys[1], pos), (keys[3], force)):
        if array.shape != expected:
            raise ValueError(f"'{path}': '{key}' must have shape {expected}, "
                             f"after '{keys[2]}' and '{keys[0]}' "
                             f"(got {array.shape})")
    return [z, pos, energy, force]
