r"""The files that settings name. Whether they are there is found out before
anything is imported that reads them.
"""

import os
import os.path as osp
import re
from typing import Any, NamedTuple

from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.released import find_released, is_released

BEST = 'best.safetensors'
LAST = 'last.safetensors'
INDEX = re.compile(r'[-+]?[0-9]{1,9}')  # of a structure in a file


class DataSet(NamedTuple):
    r"""What loads a data set.

    Args:
        reader (str): The import path of a function of the folder and, if
            there is one, the name. What is generated takes the name first,
            then :obj:`root`, :obj:`seed` and options as keywords.
        what (str, optional): What the name stands for.
        generated (bool, optional): Whether the data need no files.
    """
    reader: str
    what: str = ''
    generated: bool = False


_READERS = 'torch_sake.datasets.frames'
# All labeled structures that are called by a name:
FRAMES = {
    'xtb:NAME': DataSet(f'{_READERS}.xtb:xtb_frames', 'a molecule to generate',
                        generated=True),
    'md17:NAME': DataSet(f'{_READERS}.md17:md17_frames', 'a trajectory'),
    'rmd17:NAME': DataSet(f'{_READERS}.md17:rmd17_frames', 'a revised one'),
    'md22:NAME': DataSet(f'{_READERS}.md17:md22_frames', 'a trajectory'),
    'qm9:TARGET': DataSet(f'{_READERS}.qm9:qm9_frames', 'a target of QM9'),
    'iso17': DataSet(f'{_READERS}.iso17:ISO17'),
}


def find_checkpoint(path: PathLike) -> str:
    r"""Returns the file of a checkpoint, given itself, the folder of a
    training run, of which it is the best one, or the name of a potential that
    comes with the package, :obj:`'pretrained:NAME'`.

    Raises:
        ValueError: If there is none.
    """
    path = local_path('checkpoint', path)
    if is_released(path):
        return find_released(path)
    if osp.isdir(path):
        path = osp.join(path, BEST)
    if not osp.isfile(path):
        raise ValueError(f"There is no checkpoint '{path}'")
    return path


def find_structure(path: PathLike,
                   called: str = 'structure') -> tuple[str, int]:
    r"""Returns a file of structures and the number of one in it, that of
    :obj:`'file@3'` or else the last one. What is the name of a file as a whole
    has no number.

    Raises:
        ValueError: If there is no such file.
    """
    name, index = local_path(called, path), -1
    before, _, number = name.rpartition('@')
    if not osp.exists(name) and INDEX.fullmatch(number) and before:
        name, index = before, int(number)
    if not osp.isfile(name):
        raise ValueError(f"'{called}' must be a file (got '{path}')")
    return name, index


def find_data_set(data: str, data_sets: dict[str, Any] = FRAMES
                  ) -> tuple[Any, list[str]]:
    r"""Returns the data set of a name such as :obj:`'md17:aspirin'`, or
    :obj:`None` if there is none, and what stands behind the colon, if there is
    one.
    """
    kind, colon, name = data.partition(':')
    for key, data_set in data_sets.items():
        if key.partition(':')[:2] == (kind, colon) and bool(colon) == bool(
                name):
            return data_set, [name] if name else []
    return None, []


def check_data(data: PathLike, root: PathLike | None = None,
               called: str = 'data') -> None:
    r"""Raises an error if labeled structures have neither a name that
    :func:`~torch_sake.datasets.load_frames` knows, with the folder that it
    needs, nor are a file.
    """
    data = os.fspath(data)
    data_set, _ = find_data_set(data)
    if data_set is None and not osp.isfile(local_path(called, data)):
        names = ', '.join(f"'{key}'" + (f' ({found.what})' if found.what else
                                        '') for key, found in FRAMES.items())
        # What has a folder or an ending is meant to be a file.
        missing = osp.sep in data or osp.splitext(data)[1]
        raise ValueError((f"There is no file {data!r}: " if missing else '')
                         + f"'{called}' must be {names} or an existing file "
                           f"(got {data!r})")
    if data_set is not None and not data_set.generated and root is None:
        raise ValueError(f"'root', the folder of the data set, must be given "
                         f"for {data!r}")
