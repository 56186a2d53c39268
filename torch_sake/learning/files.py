r"""The files of a loop.

.. code-block:: text

    learn.json            what the loop is made of
    starts.extxyz         the structures that simulations start from
    best.safetensors      the potential, or 'member_0/...' of an ensemble
    learn.csv, learn.png  what came of each round
    round_0/train         the first training
    round_1/threshold.json, walks/, walks.json, to_label.extxyz,
            labels/ or labeled.*, learned.extxyz, errors.json, split.npz,
            train/, round.json

Each is complete or not there, and nothing that is there is made again.
"""

import json
import os.path as osp
from glob import escape, glob
from typing import Any

from torch_sake.utils.files import write_json
from torch_sake.utils.messages import one_line

STATE, STARTS, TABLE = 'learn.json', 'starts.extxyz', 'learn.csv'
PICTURE = 'learn.png'
TO_LABEL, LABELED, LEARNED = 'to_label.extxyz', 'labeled', 'learned.extxyz'


def round_folder(out: str, number: int) -> str:
    r"""Returns the folder of a round; 0 is that of the first training."""
    return osp.join(out, f'round_{number}')


def read_json(path: str) -> dict[str, Any] | None:
    r"""Returns what is in a file, or :obj:`None` if there is none.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        with open(path, encoding='utf-8') as file:
            found = json.load(file)
    except FileNotFoundError:
        return None
    except (OSError, RecursionError, ValueError) as error:
        raise ValueError(f"'{path}' is damaged ({one_line(error)})") from error
    if not isinstance(found, dict):
        raise ValueError(f"'{path}' is damaged (got {type(found)})")
    return found


def once(path: str, make: Any) -> dict[str, Any]:
    r"""Returns what is in a file, which is made if it is not there.

    Args:
        path (str): The file.
        make (callable): A function that returns what is to be in it.
    """
    found = read_json(path)
    if found is None:
        write_json(path, make())
        found = read_json(path)
        assert found is not None
    return found


def find_labeled(folder: str) -> str | None:
    r"""Returns the file of labeled structures in the folder of a round, of any
    ending, or :obj:`None` if there is none.

    Raises:
        ValueError: If there are several.
    """
    found = sorted(glob(osp.join(escape(folder), f'{LABELED}.*')))
    if len(found) > 1:
        raise ValueError(f"There must be one file '{LABELED}.*' in '{folder}' "
                         f"(got {list(map(osp.basename, found))})")
    return found[0] if found else None
