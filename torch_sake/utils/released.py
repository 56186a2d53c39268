r"""Potentials that come with the package, in files of its own: nothing is
downloaded.
"""

import hashlib
import json
import os
import os.path as osp
import re
import warnings
from functools import partial
from typing import Annotated, Any, TypedDict

from torch_sake.utils.hints import check_entry
from torch_sake.utils.messages import errors_name
from torch_sake.utils.paths import PathLike
from torch_sake.utils.plain_checks import require

PREFIX = 'pretrained:'
# Of files NAME.safetensors, the checkpoint, and NAME.json, its card.
FOLDER = osp.join(osp.dirname(osp.dirname(osp.abspath(__file__))),
                  'potentials', 'released')
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]*')


def _check_text(pattern: str, name: str, value: str) -> str:
    require(re.fullmatch(pattern, value),
            f"'{name}' must match {pattern} (got {value!r})")
    return value


class _Required(TypedDict):
    description: Annotated[str, partial(_check_text, r'[^\n]+')]
    version: Annotated[str, partial(_check_text, r'[0-9]+(\.[0-9]+)*')]
    sha256: Annotated[str, partial(_check_text, '[0-9a-f]{64}')]


class Card(_Required, total=False):
    r"""What the card of a potential says, in JSON: at least in a line what it
    is, its version, and the digest of its checkpoint.
    """
    elements: list[str]
    method: str
    data: str
    recipe: str
    errors: list[dict[str, Any]]
    not_for: list[str]


class Mark(TypedDict):
    r"""What the checkpoint of a potential of the package says, copies of it
    too.
    """
    name: str
    version: str


class Origin(Mark):
    r"""Which potential of the package a run began with."""
    sha256: str


def is_released(path: PathLike) -> bool:
    r"""Whether this is the name of a potential of the package, rather than a
    path.
    """
    return os.fspath(path).startswith(PREFIX)


def find_released(path: PathLike) -> str:
    r"""Returns the checkpoint of :obj:`'pretrained:NAME'`. Whatever files
    there are elsewhere, the name is that of a potential of the package.

    Raises:
        ValueError: If there is none, or its files are not those that were
            released.
    """
    text = os.fspath(path)
    name = _check_name(text)
    if osp.exists(text):
        warnings.warn(f"'{text}' is the potential that comes with the "
                      f"package, not the file of this name: that would be "
                      f"'{osp.join(os.curdir, text)}'")
    out = osp.join(FOLDER, f'{name}.safetensors')
    found, known = digest_of(out), read_card(name)['sha256']
    require(found == known,
            f"'{out}' must be the file that was released, with the digest "
            f"{known} (got {found}): install torch_sake anew")
    return out


def check_kept(name: str, path: PathLike) -> None:
    r"""Raises an error if a file of the package would be written to."""
    require(not is_released(path),
            f"'{name}' must be a file that may change, not one of the package "
            f"(got '{os.fspath(path)}'): load it first")


def digest_of(path: str) -> str:
    r"""Returns the digest of a file."""
    with open(path, 'rb') as file:
        return hashlib.sha256(file.read()).hexdigest()


def runs_of(path: PathLike) -> str:
    r"""Returns the folder, below the current one, of what is done with
    :obj:`'pretrained:NAME'` if no other is given.
    """
    return osp.join('runs', _check_name(os.fspath(path)))


def read_card(name: str) -> dict[str, Any]:
    r"""Returns the card of a potential.

    Raises:
        ValueError: If it is damaged.
    """
    path = osp.join(FOLDER, f'{name}.json')
    with errors_name(path), open(path, encoding='utf-8') as file:
        return check_entry('', json.load(file), Card)


def released_names() -> list[str]:
    r"""Returns the names of the potentials."""
    found = os.listdir(FOLDER) if osp.isdir(FOLDER) else ()
    return sorted(name for name, ending in map(osp.splitext, found)
                  if ending == '.safetensors' and NAME.fullmatch(name))


def _check_name(text: str) -> str:
    name, names = text.removeprefix(PREFIX), released_names()
    there = ', '.join(f'{PREFIX}{one}' for one in names) or 'none'
    require(name in names, f"There is no potential {text!r} in this version "
                           f"of torch_sake (there is {there})")
    return name
