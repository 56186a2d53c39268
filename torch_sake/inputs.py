r"""The files that settings name. Whether they are there is found out before
anything is imported that reads them.
"""

import os
import os.path as osp
from typing import Optional

from torch_sake.files import PathLike

BEST = 'best.safetensors'
LAST = 'last.safetensors'

# What data are called that are no file, with a name behind it:
GENERATED = 'xtb'
COLLECTIONS = ('md17', 'rmd17', 'md22', 'qm9')


def find_checkpoint(path: PathLike) -> str:
    r"""Returns the file of a checkpoint, given itself or the folder of a
    training run, of which it is the best one.

    Raises:
        ValueError: If there is none.
    """
    path = os.fspath(path)
    if osp.isdir(path):
        path = osp.join(path, BEST)
    if not osp.isfile(path):
        raise ValueError(f"There is no checkpoint '{path}'")
    return path


def check_file(path: PathLike) -> None:
    r"""Raises an error if there is no such file."""
    if not osp.isfile(osp.expanduser(path)):
        raise ValueError(f"There is no file '{path}'")


def check_structure(path: PathLike) -> None:
    r"""Raises an error if there is no file of a structure, which may have the
    number of one behind it, :obj:`'file@3'`.
    """
    path = osp.expanduser(path)
    if not osp.isfile(path) and not osp.isfile(path.rpartition('@')[0]):
        raise ValueError(f"'structure' must be a file (got {path!r})")


def check_data(data: PathLike, root: Optional[PathLike] = None) -> None:
    r"""Raises an error if labeled structures have neither a name that
    :func:`~torch_sake.datasets.load_frames` knows, with the folder that it
    needs, nor are a file.
    """
    data = os.fspath(data)
    kind, _, name = data.partition(':')
    if kind == GENERATED and name:
        return
    if data == 'iso17' or (kind in COLLECTIONS and name):
        if root is None:
            raise ValueError(f"'root', the folder of the data set, must be "
                             f"given for {data!r}")
    elif not osp.isfile(osp.expanduser(data)):
        raise ValueError(f"'data' must be 'xtb:NAME' (a molecule to "
                         f"generate), 'md17:NAME', 'rmd17:NAME' or "
                         f"'md22:NAME' (a trajectory), 'qm9:TARGET' (a target "
                         f"of QM9), 'iso17' or an existing file "
                         f"(got {data!r})")
