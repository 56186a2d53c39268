r"""Writing files completely or not at all, and reading arrays from them."""

import csv
import json
import os
import os.path as osp
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import numpy as np

from torch_sake.utils.messages import one_line
from torch_sake.utils.paths import PathLike, check_file

INCOMPLETE = '.incomplete-'


@contextmanager
def replace_when_complete(path: PathLike) -> Iterator[str]:
    r"""Yields a temporary path in the folder of :obj:`path`, created if
    missing, and moves the file written there to :obj:`path` at the end.
    After an error, an interruption or a power cut, :obj:`path` is as it was
    before, or complete.

    .. code-block:: python

        with replace_when_complete('model.pt') as path:
            torch.save(state, path)

    The temporary name keeps the ending of :obj:`path`, for writers that choose
    the format by it.

    Args:
        path (str or os.PathLike): The file to write.
    """
    folder, name = osp.split(osp.abspath(path))
    os.makedirs(folder, exist_ok=True)
    # A folder of its own: unlike a temporary file, what is written there has
    # the permissions of any other new file.
    with tempfile.TemporaryDirectory(prefix=f'{INCOMPLETE}{name}-',
                                     dir=folder) as tmp:
        temporary = osp.join(tmp, name)
        yield temporary
        # The name must not get to the disk before what it is the name of.
        with open(temporary, 'rb+') as file:
            os.fsync(file.fileno())
        os.replace(temporary, osp.join(folder, name))
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    r"""Gets the names in a folder to the disk, where the system can."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_incomplete(folder: PathLike, name: str | None = None) -> None:
    r"""Removes what a process that was killed left of files that
    :func:`replace_when_complete` was to write.

    Args:
        folder (str or os.PathLike): The folder.
        name (str, optional): The name of the file, which no other process
            writes, or :obj:`None` for all files of a folder that no other
            process writes to. (default: :obj:`None`)
    """
    for entry in os.listdir(folder):
        if entry.startswith(INCOMPLETE) and name in (
                None, entry[len(INCOMPLETE):].rpartition('-')[0]):
            shutil.rmtree(osp.join(folder, entry))


def check_folder(folder: PathLike) -> None:
    r"""Raises an error if the folder of a run, to which it has written, is not
    there any more: what it would write now would lack the rest.
    """
    if not osp.isdir(folder):
        raise ValueError(f"The folder '{folder}' of the run is gone")


@contextmanager
def write_text(path: PathLike) -> Iterator[TextIO]:
    r"""Yields a file of text, see :func:`replace_when_complete`."""
    with replace_when_complete(path) as temporary:
        with open(temporary, 'w', newline='') as file:
            yield file


def write_json(path: PathLike, content: Any, indent: int = 2) -> None:
    r"""Writes a JSON file."""
    with write_text(path) as file:
        json.dump(content, file, indent=indent)


def write_rows(path: PathLike, rows: Sequence[dict[str, Any]]) -> None:
    r"""Writes a CSV file of rows with the columns of the first one."""
    with write_text(path) as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def write_settings(path: PathLike, settings: dict[str, Any]) -> None:
    r"""Writes the settings of a run to a YAML file, which commands take as
    :obj:`--config`.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    # Text that looks like a number, such as a folder '08', stays text:
    Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(
        'tag:yaml.org,2002:str', text, style=None if text.isidentifier()
        else "'"))
    with write_text(path) as file:
        # Through JSON, which has no tuples:
        yaml.dump(json.loads(json.dumps(settings)), file, Dumper=Dumper,
                  sort_keys=False)


def read_arrays(path: PathLike, keys: Sequence[str] = (),
                optional: Sequence[str] = ()) -> dict[str, np.ndarray]:
    r"""Reads the arrays :obj:`keys` of an :obj:`.npz` file, and those of the
    arrays :obj:`optional` that it has.

    Args:
        path (str or os.PathLike): The file.
        keys (list of str): Names of the arrays.
        optional (list of str): Names of arrays that may be missing.

    Raises:
        ValueError: If the file is no :obj:`.npz` file, is truncated or lacks
            one of the arrays.
    """
    path = check_file(path)
    # A member of a damaged archive fails in as many ways as zlib, zipfile and
    # numpy together, hence the broad clause.
    try:
        with np.load(path, allow_pickle=False) as archive:
            present = sorted(archive.files)
            arrays = {key: archive[key] for key in (*keys, *optional)
                      if key in present}
    except Exception as error:
        raise ValueError(f"'{path}' is not a complete .npz file "
                         f"({one_line(error)})") from error
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise ValueError(f"'{path}' has no array {missing} "
                         f"(it has {one_line(present)})")
    return arrays
