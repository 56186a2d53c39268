r"""Data that are computed once and kept in a file."""

import json
import os.path as osp
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from torch_sake.utils.files import read_arrays, replace_when_complete
from torch_sake.utils.locks import hold_file
from torch_sake.utils.paths import PathLike

Arrays = dict[str, np.ndarray]


def compute_once(path: PathLike, about: dict[str, Any], keys: Sequence[str],
                 compute: Callable[[], Arrays],
                 key: str = 'metadata') -> Arrays:
    r"""Returns the arrays of a file that the first call computes. Calls at the
    same time wait for it.

    Args:
        path (str or os.PathLike): The file.
        about (dict): All that the arrays follow from, as JSON.
        keys (list of str): The names of the arrays.
        compute (callable): Returns the arrays.
        key (str, optional): What the file calls :obj:`about`.
            (default: :obj:`"metadata"`)

    Raises:
        ValueError: If the file is damaged, or follows from something else.
    """
    if not osp.exists(path):
        with hold_file(path, wait=True):
            if not osp.exists(path):
                save_computed(path, about, compute(), key)
    return read_computed(path, about, keys, key)


def save_computed(path: PathLike, about: dict[str, Any], arrays: Arrays,
                  key: str = 'metadata') -> None:
    r"""Writes arrays and what they follow from."""
    content: dict[str, Any] = {key: json.dumps(about), **arrays}
    with replace_when_complete(path) as temporary:
        np.savez(temporary, **content)


def read_computed(path: PathLike, about: dict[str, Any], keys: Sequence[str],
                  key: str = 'metadata') -> Arrays:
    r"""Reads what :func:`save_computed` wrote."""
    try:
        arrays = read_arrays(path, [*keys, key])
        found = json.loads(str(arrays.pop(key)))
    except ValueError as error:
        raise ValueError(f"{error}. Delete this file to generate it "
                         f"again") from error
    if found != about:
        raise ValueError(f"'{path}' was generated differently: expected "
                         f"{about}, got {found}. Delete this file to "
                         f"generate it again")
    return arrays
