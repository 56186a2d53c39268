r"""What labels might be where no name says so."""

import os.path as osp
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy

from torch_sake.datasets.frames.ase_structures import ase_structure
from torch_sake.datasets.frames.label_keys import (
    NONE,
    OTHERS,
    PREDICTED,
    LabelKeys,
    has_shape,
)

GUESSED = ('energy', 'forces')
# What has one of these in its name is known to be something else:
STRUCTURES = ('position', 'coord', 'displacement', 'shift', 'vel', 'momenta',
              'momentum', 'magmom', 'initial_', 'dipole', 'spin', 'charge',
              'multiplicity', 'hessian', 'pressure', 'temperature', 'time',
              'step', 'weight', 'volume', 'stress', 'virial', 'fraction')
POSITIONS = {'pos', 'r', 'x', 'xyz'}
WORD = re.compile(r'[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+')
SHORTEST = 2  # letters of a word that says what belongs together
MANY = 10  # names in a message


def find_fitting(label: str, per_frame: Mapping[str, Any],
                 entries: Mapping[str, Any], num_atoms: int) -> list[str]:
    r"""Returns the names of entries of a frame that may be a label for their
    type and shape, whatever their names are, but for what is known to be
    something else. Energies are no integers.

    Args:
        label (str): The label, one of :obj:`GUESSED`.
        per_frame (dict): What there is of the frame as a whole.
        entries (dict): That, and what there is of atoms.
        num_atoms (int): The number of atoms.
    """
    found = per_frame if label == 'energy' else entries
    return [name for name, value in found.items()
            if _may_be_any(name) and has_shape(label, value, num_atoms)
            and numpy.asarray(value).dtype.kind == 'f']


def _may_be_any(name: Any) -> bool:
    if not isinstance(name, str) or name.startswith(PREDICTED):
        return False
    lower = name.lower()
    return lower not in POSITIONS and not any(
        word in lower for word in (*OTHERS, *STRUCTURES))


def belong_together(one: str, other: str) -> bool:
    r"""Whether two names have a word in common, or are one letter each."""
    words, others = ({word.lower() for word in WORD.findall(name)}
                     for name in (one, other))
    return any(len(word) >= SHORTEST for word in words & others) or (
        len(one) == len(other) == 1)


def guesses(keys: LabelKeys, found: Iterable[str],
            fitting: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    r"""Returns names of what might be energies and forces that are missed.

    Args:
        keys (LabelKeys): The names that are given.
        found (list of str): The labels that the file has.
        fitting (dict): The names of what fits, by the label.
    """
    given = [key for _, key in keys.given() if key != NONE]
    found, missed = set(found), {}
    for label in GUESSED:
        names = list(fitting.get(label, ()))
        if label in found or getattr(keys, f'{label}_key'):
            continue
        if given:
            names = [name for name in names if any(
                belong_together(name, key) for key in given)]
        if names:
            missed[label] = names
    return missed


def describe_guesses(path: str, missed: Mapping[str, list[str]]) -> str:
    r"""Returns what might be missed as a line for its reader."""
    texts = []
    for label, names in missed.items():
        quoted = ', '.join(f"'{name}'" for name in names[:MANY])
        which = 'is' if len(names) == 1 else 'are'
        texts.append(f"there is no '{label}' of a known name, and {quoted}, "
                     f"which might be some, {which} not read (--{label}_key "
                     f"{names[0]}, or '{NONE}' to go without)")
    return f"'{path}': {'; '.join(texts)}"


def names_in(path: str, number: int) -> str:
    r"""Returns what a frame of a file has, in words, or nothing if there is
    no such file.
    """
    if not osp.isfile(path) or path.endswith('.npz'):
        return ''
    try:
        atoms = ase_structure(path, number)
    except (ImportError, IndexError, ValueError):  # a file of our own
        return ''
    results = {} if atoms.calc is None else atoms.calc.results
    names = sorted({*map(str, atoms.info), *map(str, results),
                    *atoms.arrays} - {'numbers', 'positions'})
    return ', '.join(f"'{name}'" for name in names[:2 * MANY]) or 'none'
