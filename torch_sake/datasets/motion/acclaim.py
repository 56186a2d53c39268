r"""Skeletons (ASF) and motions (AMC) in the text formats of Acclaim."""

import gzip
import zlib
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np

from torch_sake.utils.bounds import MAX_LENGTH
from torch_sake.utils.messages import in_words, one_line
from torch_sake.utils.paths import PathLike, check_file

AXES = 'xyz'
MAX_DIGITS = 9  # of the number of a frame
ROTATIONS = tuple('r' + axis for axis in AXES)
TRANSLATIONS = tuple('t' + axis for axis in AXES)


class Bone(NamedTuple):
    r"""A bone, which ends in the joint of its name: a vector in the rest pose,
    the angles of the frame of its rotations about x, y and z, and its degrees
    of freedom (:obj:`"rx"` to :obj:`"rz"` and, for the root, :obj:`"tx"` to
    :obj:`"tz"`) in the order of the values in a motion. The first bone of a
    skeleton is its root: a joint without a bone, which moves freely.
    """
    name: str
    offset: list[float]
    axis: list[float]
    channels: list[str]


class Skeleton(NamedTuple):
    r"""The bones of a skeleton, the root first, and the index of each one's
    parent (the root: -1). Angles are in degrees if :obj:`degrees` is set.
    """
    bones: list[Bone]
    parents: list[int]
    degrees: bool


class Motion(NamedTuple):
    r"""The values of all channels, those of one bone after those of another,
    and the number of the first frame, in the file's count.

    Shapes:
        - values :math:`(T, C)`
    """
    values: np.ndarray
    first_frame: int
    degrees: bool


class Line(NamedTuple):
    r"""The words of a line of a file, or some of them."""
    path: str
    number: int
    words: list[str]

    def rest(self, begin: int = 1, end: int | None = None) -> 'Line':
        return self._replace(words=self.words[begin:end])

    def fail(self, expected: str, found: str | None = None) -> NoReturn:
        found = ' '.join(self.words) if found is None else found
        raise ValueError(f"'{self.path}', line {self.number}: There must be "
                         f"{expected} (got {in_words(found)})")

    def check(self, what: str, *options: str) -> str:
        if self.words not in [[option] for option in options]:
            self.fail(what)
        return self.words[0]

    def numbers(self, count: int) -> list[float]:
        try:
            values = [float(word) for word in self.words]
        except ValueError:
            values = []
        if len(values) != count or not (np.abs(values) <= MAX_LENGTH).all():
            self.fail(f'{count} finite numbers of at most {MAX_LENGTH:g}')
        return values

    def channels(self, allowed: tuple[str, ...]) -> list[str]:
        channels = [word.lower() for word in self.words]
        if len(set(channels)) < len(channels) or set(channels) - set(allowed):
            self.fail(f'different channels of {allowed}')
        return channels


def read_skeleton(path: PathLike) -> Skeleton:
    r"""Reads an ASF file, plain or compressed by gzip (:obj:`.gz`).

    Args:
        path (str or os.PathLike): The file.

    Raises:
        ValueError: If it is truncated or cannot be understood; the error has
            the line.
    """
    sections: dict[str, list[Line]] = {}
    for line in _read_lines(path):
        if line.words[0].startswith(':'):
            lines = sections.setdefault(line.words[0][1:].lower(), [])
            line = line.rest()
        elif not sections:
            line.fail('a section, such as :root')
        if line.words:
            lines.append(line)
    for name in ('root', 'bonedata', 'hierarchy'):
        if name not in sections:
            raise ValueError(f"'{path}' must have a section ':{name}' "
                             f"(got {sorted(sections)})")
    degrees = True
    for line in sections.get('units', []):
        if line.words[0] == 'angle':
            degrees = line.rest().check("the unit 'deg' or 'rad'", 'deg',
                                        'rad') == 'deg'
    bones = [_root(sections['root']),
             *map(_bone, _blocks(sections['bonedata']))]
    return Skeleton(bones, _parents(path, bones, sections['hierarchy']),
                    degrees)


def read_motion(path: PathLike, skeleton: Skeleton) -> Motion:
    r"""Reads an AMC file, plain or compressed by gzip (:obj:`.gz`).

    Args:
        path (str or os.PathLike): The file.
        skeleton (Skeleton): The skeleton that moves.

    Raises:
        ValueError: If it is truncated, cannot be understood, lacks a joint or
            a frame; the error has the line.
    """
    slices, width = {}, 0
    for bone in skeleton.bones:
        if bone.channels:
            slices[bone.name] = (width, width + len(bone.channels))
            width += len(bone.channels)
    degrees, first = skeleton.degrees, 0
    rows: list[np.ndarray] = []
    missing: dict[str, tuple[int, int]] = {}
    line = Line(str(path), 0, [])
    for line in _read_lines(path):
        word = line.words[0]
        if word.startswith(':'):
            if word.lower() in (':degrees', ':radians'):
                degrees = word.lower() == ':degrees'
        elif len(line.words) == 1:
            if missing:
                line.fail(f'the joints {sorted(missing)}')
            if not word.isdigit() or len(word) > MAX_DIGITS or (
                    rows and int(word) != first + len(rows)):
                line.fail('the number of the next frame')
            first = first if rows else int(word)
            rows.append(np.empty(width))
            missing = dict(slices)
        elif word not in missing:
            line.fail(f'one of the joints {sorted(missing)}')
        else:
            begin, end = missing.pop(word)
            rows[-1][begin:end] = line.rest().numbers(end - begin)
    if missing or not rows:
        line.fail(f'the joints {sorted(missing)}' if rows else 'a frame',
                  'the end of the file')
    return Motion(np.stack(rows), first, degrees)


def _read_lines(path: PathLike) -> Iterator[Line]:
    r"""Yields all lines with something on them but comments."""
    path = check_file(path)
    opener = gzip.open if path.endswith('.gz') else open
    try:
        with opener(path, 'rt', encoding='ascii') as file:
            for number, line in enumerate(file, 1):
                words = line.split()
                if words and not words[0].startswith('#'):
                    yield Line(path, number, words)
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"'{path}' is not a complete text file "
                         f"({one_line(error)})") from error


def _root(lines: list[Line]) -> Bone:
    channels = []
    for line in lines:
        key, line = line.words[0], line.rest()
        if key == 'order':
            channels = line.channels(TRANSLATIONS + ROTATIONS)
        elif key == 'axis':
            line.check('the order of rotations XYZ', 'XYZ')
        elif key in ('position', 'orientation') and any(line.numbers(3)):
            line.fail('a root at zero')
    return Bone('root', [0.0] * 3, [0.0] * 3, channels)


def _bone(lines: list[Line]) -> Bone:
    values = dict(axis=[0.0] * 3, channels=[])
    for line in lines:
        key, line = line.words[0], line.rest()
        if key == 'name' and len(line.words) == 1:
            values['name'] = line.words[0]
        elif key == 'direction':
            values['direction'] = line.numbers(3)
        elif key == 'length':
            values['length'], = line.numbers(1)
        elif key == 'axis':
            values['axis'] = line.rest(0, 3).numbers(3)
            line.rest(3).check('the order of rotations XYZ', 'XYZ')
        elif key == 'dof':
            values['channels'] = line.channels(ROTATIONS)
    for key in ('name', 'direction', 'length'):
        if key not in values:
            lines[-1].fail(f"a '{key}' in the bone before")
    length = values.pop('length')
    offset = [length * value for value in values.pop('direction')]
    return Bone(offset=offset, **values)


def _blocks(lines: list[Line]) -> Iterator[list[Line]]:
    r"""Yields the lines from each begin to its end, with the end."""
    block: list[Line] | None = None
    for line in lines:
        if line.words[0] == 'begin':
            if block is not None:
                line.fail('an end')
            block = []
        elif block is None:
            line.fail('a begin')
        else:
            block.append(line)
            if line.words[0] == 'end':
                yield block
                block = None
    if block is not None:
        lines[-1].fail('an end', 'the end of the section')


def _parents(path: PathLike, bones: list[Bone],
             lines: list[Line]) -> list[int]:
    index = {bone.name: number for number, bone in enumerate(bones)}
    if len(index) < len(bones):
        raise ValueError(f"'{path}' must have bones of different names "
                         f"(got {[bone.name for bone in bones]})")
    parents: dict[str, str] = {}
    for block in _blocks(lines):
        for line in block[:-1]:
            if set(line.words) - index.keys():
                line.fail('names of bones')
            parent, *children = line.words
            for name in children:
                # The parent must be connected before: there are no circles.
                if name in parents or name == 'root' or not (
                        parent == 'root' or parent in parents):
                    line.fail('bones that are connected to the root once, '
                              'from there on')
                parents[name] = parent
    loose = sorted(set(index) - set(parents) - {'root'})
    if loose:
        raise ValueError(f"'{path}' must connect all bones to the root "
                         f"(got none for {loose})")
    return [-1] + [index[parents[bone.name]] for bone in bones[1:]]
