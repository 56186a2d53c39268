r"""The files that settings name. Whether they are there is found out before
anything is imported that reads them.
"""

import os
import os.path as osp
import re

from torch_sake.utils.files import PathLike, local_path

BEST = 'best.safetensors'
LAST = 'last.safetensors'
INDEX = re.compile(r'[-+]?[0-9]{1,9}')  # of a structure in a file

# What data are called that are no file, with a name behind it:
GENERATED = 'xtb'
COLLECTIONS = ('md17', 'rmd17', 'md22', 'qm9')


def find_checkpoint(path: PathLike) -> str:
    r"""Returns the file of a checkpoint, given itself or the folder of a
    training run, of which it is the best one.

    Raises:
        ValueError: If there is none.
    """
    path = local_path('checkpoint', path)
    if osp.isdir(path):
        path = osp.join(path, BEST)
    if not osp.isfile(path):
        raise ValueError(f"There is no checkpoint '{path}'")
    return path


def find_structure(path: PathLike) -> tuple[str, int]:
    r"""Returns a file of structures and the number of one in it, that of
    :obj:`'file@3'` or else the last one. What is the name of a file as a whole
    has no number.

    Raises:
        ValueError: If there is no such file.
    """
    name, index = local_path('structure', path), -1
    before, _, number = name.rpartition('@')
    if not osp.exists(name) and INDEX.fullmatch(number) and before:
        name, index = before, int(number)
    if not osp.isfile(name):
        raise ValueError(f"'structure' must be a file (got '{path}')")
    return name, index


def check_data(data: PathLike, root: PathLike | None = None) -> None:
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
    elif not osp.isfile(local_path('data', data)):
        raise ValueError(f"'data' must be 'xtb:NAME' (a molecule to "
                         f"generate), 'md17:NAME', 'rmd17:NAME' or "
                         f"'md22:NAME' (a trajectory), 'qm9:TARGET' (a target "
                         f"of QM9), 'iso17' or an existing file "
                         f"(got {data!r})")
