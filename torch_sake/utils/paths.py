r"""Paths of this machine."""

import os
import os.path as osp
import re
from collections.abc import Sequence
from typing import Union

from torch_sake.utils.plain_checks import require

PathLike = Union[str, 'os.PathLike[str]']
# What fsspec, by which PyG and Lightning open files, would take for one: a
# scheme, a chain of them, or data in the place of a path.
ADDRESS = re.compile(r'.*://|[\w.+-]+::|data:', re.DOTALL | re.IGNORECASE)


def local_path(name: str, path: PathLike) -> str:
    r"""Returns a path of this machine, with the home folder in the place of a
    leading :obj:`~`.

    Args:
        name (str): What messages call it.
        path (str or os.PathLike): The path.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is an address, such as :obj:`'http://host/folder'`.
    """
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        raise TypeError(f"'{name}' must be a path (got {path!r})")
    require(not ADDRESS.match(text), f"'{name}' must be a path of this "
                                     f"machine, no address (got {text!r})")
    return osp.expanduser(text)


def check_file(path: PathLike, name: str = 'data') -> str:
    r"""Returns the path of a file, see :func:`local_path`.

    Args:
        path (str or os.PathLike): The path.
        name (str, optional): What messages call it. (default: :obj:`"data"`)

    Raises:
        ValueError: If there is none, or it is a folder, a device or a pipe,
            which a reader might wait for without end.
    """
    path = local_path(name, path)
    if not osp.isfile(path):
        what = ''
        if osp.exists(path):
            what = f" ({'a folder' if osp.isdir(path) else 'no regular file'})"
        raise ValueError(f"There is no file '{path}'{what}")
    return path


def local_paths(name: str, paths: PathLike | Sequence[PathLike]) -> list[str]:
    r"""Returns a path, or several, as a list, see :func:`local_path`."""
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    require(paths, f"'{name}' must be at least one (got {paths})")
    return [local_path(name, path) for path in paths]


def check_no_address(name: str, data: str) -> str:
    r"""Returns the name of data, or a path that its reader expands."""
    local_path(name, data)
    return data


def check_sources(name: str, data: str | list[str]) -> str | list[str]:
    r"""Returns the names of several data, see :func:`check_no_address`, or
    that of one as it is.
    """
    if isinstance(data, str):
        return check_no_address(name, data)
    require(data, f"'{name}' must be at least one (got {data})")
    for one in data:
        check_no_address(name, one)
    require(len(set(data)) == len(data),
            f"'{name}' must be different ones (got {data})")
    return data if len(data) > 1 else data[0]


def first_name(data: str | list[str]) -> str:
    r"""Returns what a folder is called by: the name of data, or the first of
    several and how many others there are.
    """
    if isinstance(data, str):
        data = [data]
    more = f'+{len(data) - 1}' if len(data) > 1 else ''
    return data[0].replace(':', '-').replace('/', '-') + more
