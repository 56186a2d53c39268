r"""Extended XYZ files, frame by frame.

The numbers are read by ASE. What it takes in silence is refused before: frames
that are shorter than their first line says, rows of other columns than
declared, keys that occur twice or are not known for their capital letters.
"""

import re
from collections.abc import Iterator, Set
from io import StringIO
from typing import Any

import numpy

from torch_sake.datasets.frames.ase_labels import is_symmetric
from torch_sake.datasets.frames.label_keys import LabelKeys
from torch_sake.utils.messages import in_words

MAX_DIGITS = 18  # of a number of atoms
MIN_COLUMNS = 4  # an element and a position
STRUCTURE = {'Lattice', 'Properties', 'pbc'}
LABELS = frozenset(LabelKeys().all_names())
REAL_COLUMNS = {'pos', 'forces', 'REF_forces'}
QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|'
                    r'\{[^}]*\}|\[[^\]]*\]')


class FrameError(ValueError):
    r"""What is wrong with a frame, in words for its user."""


def xyz_texts(file: Any) -> Iterator[str]:
    r"""Yields the text of each frame of a text file, without empty lines
    between frames, at which the readers of ASE end. A frame that does not
    begin with its number of atoms, or has fewer, is a :class:`FrameError`.
    """
    for line in filter(str.strip, file):
        count = line.strip()
        if not (count.isascii() and count.isdecimal()
                and len(count) <= MAX_DIGITS):
            raise FrameError(f"A frame must begin with its number of atoms "
                             f"(got {in_words(count)})")
        lines = [line, next(file, '')]
        for number in range(int(count)):  # no more than there are
            atom = next(file, '')
            if len(atom.split(None, MIN_COLUMNS - 1)) < MIN_COLUMNS:
                found = in_words(atom.strip()) if atom else 'the end'
                raise FrameError(f"A frame of {count} atoms must have as many "
                                 f"lines with an element and a position "
                                 f"(got {found} after {number})")
            lines.append(atom)
        yield ''.join(lines)


def parse_xyz(text: str, labels: Set[str] = LABELS) -> Any:
    r"""Returns the :class:`ase.Atoms` of the text of a frame. Lines that
    contradict each other, or name one of :obj:`labels` twice, are a
    :class:`FrameError`; the reader of ASE raises whatever it likes.
    """
    import ase.io
    _, comment, *atoms = text.split('\n')
    info = _read_comment(comment.strip(), STRUCTURE | labels)
    if 'Properties' in info:
        _check_columns(info['Properties'], atoms)
    return ase.io.read(StringIO(text), format='extxyz',
                       properties_parser=lambda comment: info)


def _read_comment(comment: str, read: Set[str]) -> dict[str, Any]:
    from ase.io.extxyz import key_val_str_to_dict
    for quoted in QUOTED.finditer(comment):
        if quoted[0][0] == '"' and comment[quoted.end():][:1].strip():
            raise FrameError(f"Quotes must be around whole values (got "
                             f"{in_words(comment[quoted.start():])})")
    keys = [word.partition('=')[0]
            for word in QUOTED.sub('', comment).split()]
    for key in sorted(read):
        if keys.count(key) > 1:
            raise FrameError(f"'{key}' must be given once "
                             f"(got it {keys.count(key)} times)")
    try:
        info = key_val_str_to_dict(comment) if comment else {}
    except ValueError as error:
        raise _of_nine(error) or error from None
    for key in info.keys() - read:
        for known in ('Lattice', 'Properties', 'pbc'):
            if key.lower() == known.lower():
                raise FrameError(f"'{known}' must be written like this "
                                 f"(got '{key}')")
    # Of other text, ASE makes True:
    pbc = numpy.asarray(info.get('pbc', True))
    if pbc.shape not in ((), (3, )) or not (
            pbc.dtype == bool or pbc.dtype.kind == 'i' and
            ((pbc == 0) | (pbc == 1)).all()):
        raise FrameError(f"'pbc' must be three of T or F "
                         f"(got {in_words(info['pbc'])})")
    # ASE keeps one half of it:
    stress = info.get('stress')
    if stress is not None and not is_symmetric(stress):
        raise FrameError(f"'stress' must be symmetric "
                         f"(got {in_words(stress)})")
    return info


def _of_nine(error: ValueError) -> FrameError | None:
    r"""Returns what to do where ASE expects a matrix."""
    found = re.search(r'item (\w+), expecting special 3x3', str(error))
    if found is None:
        return None
    key, advice = found[1], 'row by row'
    if key in ('stress', 'virial'):
        advice = (f"row by row; the six numbers of Voigt need another name, "
                  f"such as 'REF_{key}' or one for '--{key}_key'")
    return FrameError(f"'{key}' must have nine numbers, {advice}")


def _check_columns(properties: Any, atoms: list[str]) -> None:
    r"""Checks that each atom has the columns that are declared: ASE leaves
    away what is beyond.
    """
    fields = str(properties).split(':')
    if len(fields) % 3 or not all(number.isascii() and number.isdecimal()
                                  for number in fields[2::3]):
        raise FrameError(f"'Properties' must be names, types and numbers of "
                         f"columns (got {in_words(properties)})")
    # Other types become numbers without a word, too.
    for name, kind in zip(fields[::3], fields[1::3]):
        if name in REAL_COLUMNS and kind not in ('R', 'I'):
            raise FrameError(f"'{name}' must be of real numbers, type R, in "
                             f"'Properties' (got {in_words(kind)})")
    columns = dict(zip(fields[::3], fields[2::3]))
    if columns.get('pos') != '3':  # else all atoms would be at zero
        raise FrameError(f"'Properties' must have three columns 'pos' "
                         f"(got {in_words(properties)})")
    expected = sum(map(int, fields[2::3]))
    for number, line in enumerate(atoms):
        columns = len(line.split())
        if columns not in (0, expected):  # the last line is empty
            raise FrameError(f"Atom {number} must have the {expected} columns "
                             f"of 'Properties' (got {columns})")
