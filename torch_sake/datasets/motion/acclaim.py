r"""Skeletons (ASF) and motions (AMC) in the text formats of Acclaim."""

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from torch_sake.utils.bounds import MAX_LENGTH
from torch_sake.utils.files import PathLike, check_file, in_words, one_line

AXES = 'xyz'
MAX_DIGITS = 9  # of the number of a frame
ROTATIONS = tuple('r' + axis for axis in AXES)
TRANSLATIONS = tuple('t' + axis for axis in AXES)
Line = tuple[int, list[str]]  # its number in the file, and its words


@dataclass(frozen=True)
class Bone:
    r"""A bone, which ends in the joint of its name. The first of a skeleton
    is its root: a joint without a bone, which moves freely.

    Args:
        name (str): The name.
        offset (list): The bone as a vector in the rest pose, :obj:`[3]`.
        axis (list): Angles of the frame of its rotations about x, y and z,
            :obj:`[3]`.
        channels (list of str): Its degrees of freedom, of :obj:`"rx"`,
            :obj:`"ry"`, :obj:`"rz"` and, for the root, :obj:`"tx"` and so on,
            in the order of the values in a motion.
    """
    name: str
    offset: list[float]
    axis: list[float]
    channels: list[str]


@dataclass(frozen=True)
class Skeleton:
    r"""The bones of a skeleton, the root first, and the index of each one's
    parent (the root: -1). Angles are in degrees if :obj:`degrees` is set.
    """
    bones: list[Bone]
    parents: list[int]
    degrees: bool


@dataclass(frozen=True)
class Motion:
    r"""The values of all channels, those of one bone after those of another,
    and the number of the first frame, in the file's count.

    Shapes:
        - values :math:`(T, C)`
    """
    values: np.ndarray
    first_frame: int
    degrees: bool


def read_skeleton(path: PathLike) -> Skeleton:
    r"""Reads an ASF file, plain or compressed by gzip (:obj:`.gz`).

    Args:
        path (str or os.PathLike): The file.

    Raises:
        ValueError: If it is truncated or cannot be understood; the error has
            the line.
    """
    sections: dict[str, list[Line]] = {}
    for number, words in _read_lines(path):
        if words[0].startswith(':'):
            lines = sections.setdefault(words[0][1:].lower(), [])
            words = words[1:]
        elif not sections:
            _fail(path, number, 'a section, such as :root', words)
        if words:
            lines.append((number, words))
    for name in ('root', 'bonedata', 'hierarchy'):
        if name not in sections:
            raise ValueError(f"'{path}' must have a section ':{name}' "
                             f"(got {sorted(sections)})")
    degrees = True
    for number, words in sections.get('units', []):
        if words[0] == 'angle':
            degrees = _angle_unit(path, number, words[1:])
    bones = [_root(path, sections['root'])]
    bones += [_bone(path, block)
              for block in _blocks(path, sections['bonedata'])]
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
    degrees, first, rows, missing, number = skeleton.degrees, None, [], {}, 0
    for number, words in _read_lines(path):
        if words[0].startswith(':'):
            if words[0].lower() in (':degrees', ':radians'):
                degrees = words[0].lower() == ':degrees'
        elif len(words) == 1:
            if missing:
                _fail(path, number, f'the joints {sorted(missing)}', words)
            if not words[0].isdigit() or len(words[0]) > MAX_DIGITS or (
                    rows and int(words[0]) != first + len(rows)):
                _fail(path, number, 'the number of the next frame', words)
            first = int(words[0]) if first is None else first
            rows.append(np.empty(width))
            missing = dict(slices)
        elif words[0] not in missing:
            _fail(path, number, f'one of the joints {sorted(missing)}', words)
        else:
            begin, end = missing.pop(words[0])
            rows[-1][begin:end] = _numbers(path, number, words[1:],
                                           end - begin)
    if missing or not rows:
        _fail(path, number, f'the joints {sorted(missing)}' if rows else
              'a frame', ['the end of the file'])
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
                    yield number, words
    except (EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"'{path}' is not a complete text file "
                         f"({one_line(error)})") from error


def _fail(path: PathLike, number: int, expected: str,
          words: list[str]) -> NoReturn:
    raise ValueError(f"'{path}', line {number}: There must be {expected} "
                     f"(got {in_words(' '.join(words))})")


def _numbers(path: PathLike, number: int, words: list[str],
             count: int) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = []
    if len(values) != count or not (np.abs(values) <= MAX_LENGTH).all():
        _fail(path, number, f'{count} finite numbers of at most '
              f'{MAX_LENGTH:g}', words)
    return values


def _angle_unit(path: PathLike, number: int, words: list[str]) -> bool:
    if words not in (['deg'], ['rad']):
        _fail(path, number, "the unit 'deg' or 'rad'", words)
    return words == ['deg']


def _check_order(path: PathLike, number: int, words: list[str]) -> None:
    if words != ['XYZ']:
        _fail(path, number, 'the order of rotations XYZ', words)


def _channels(path: PathLike, number: int, words: list[str],
              allowed: tuple[str, ...]) -> list[str]:
    channels = [word.lower() for word in words]
    if len(set(channels)) < len(channels) or set(channels) - set(allowed):
        _fail(path, number, f'different channels of {allowed}', words)
    return channels


def _root(path: PathLike, lines: list[Line]) -> Bone:
    channels = []
    for number, (key, *words) in lines:
        if key == 'order':
            channels = _channels(path, number, words, TRANSLATIONS + ROTATIONS)
        elif key == 'axis':
            _check_order(path, number, words)
        elif key in ('position', 'orientation') and any(
                _numbers(path, number, words, 3)):
            _fail(path, number, 'a root at zero', words)
    return Bone('root', [0.0] * 3, [0.0] * 3, channels)


def _bone(path: PathLike, lines: list[Line]) -> Bone:
    values = dict(axis=[0.0] * 3, channels=[])
    for number, (key, *words) in lines:
        if key == 'name' and len(words) == 1:
            values['name'] = words[0]
        elif key == 'direction':
            values['direction'] = _numbers(path, number, words, 3)
        elif key == 'length':
            values['length'], = _numbers(path, number, words, 1)
        elif key == 'axis':
            values['axis'] = _numbers(path, number, words[:3], 3)
            _check_order(path, number, words[3:])
        elif key == 'dof':
            values['channels'] = _channels(path, number, words, ROTATIONS)
    for key in ('name', 'direction', 'length'):
        if key not in values:
            _fail(path, lines[-1][0], f"a '{key}' in the bone before", ['end'])
    length = values.pop('length')
    offset = [length * value for value in values.pop('direction')]
    return Bone(offset=offset, **values)


def _blocks(path: PathLike, lines: list[Line]) -> Iterator[list[Line]]:
    r"""Yields the lines from each begin to its end, with the end."""
    block = None
    for number, words in lines:
        if (words[0] == 'begin') == (block is not None):
            _fail(path, number, 'an end' if words[0] == 'begin' else
                  'a begin', words)
        if words[0] == 'begin':
            block = []
            continue
        block.append((number, words))
        if words[0] == 'end':
            yield block
            block = None
    if block is not None:
        _fail(path, lines[-1][0], 'an end', ['the end of the section'])


def _parents(path: PathLike, bones: list[Bone],
             lines: list[Line]) -> list[int]:
    index = {bone.name: number for number, bone in enumerate(bones)}
    if len(index) < len(bones):
        raise ValueError(f"'{path}' must have bones of different names "
                         f"(got {[bone.name for bone in bones]})")
    parents: dict[str, str] = {}
    for block in _blocks(path, lines):
        for number, words in block[:-1]:
            for name in words:
                if name not in index:
                    _fail(path, number, 'names of bones', words)
            for name in words[1:]:
                # The parent must be connected before: there are no circles.
                if name in parents or name == 'root' or not (
                        words[0] == 'root' or words[0] in parents):
                    _fail(path, number, 'bones that are connected to the root '
                          'once, from there on', words)
                parents[name] = words[0]
    loose = sorted(set(index) - set(parents) - {'root'})
    if loose:
        raise ValueError(f"'{path}' must connect all bones to the root "
                         f"(got none for {loose})")
    return [-1] + [index[parents[bone.name]] for bone in bones[1:]]
