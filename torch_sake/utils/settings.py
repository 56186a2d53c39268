r"""The types of the settings of a command."""

import os
from dataclasses import fields
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from torch_sake.utils.files import in_words, local_path

MAX_INTEGER = 10**300  # larger ones are no floating point numbers
WORDS = {int: 'an integer', float: 'a number', bool: 'true or false',
         str: 'text', type(None): 'null'}
CLASSES = {int: Integral, float: Real, str: (str, os.PathLike)}


def check_settings(settings: Any, paths: tuple[str, ...] = ()) -> None:
    r"""Checks that all settings are of the types of their class, and expands
    those that are paths, see :func:`~torch_sake.utils.files.local_path`.

    Args:
        settings (dataclass): The settings.
        paths (tuple of str, optional): The names of those that are paths, or
            lists of some. (default: :obj:`()`)

    Raises:
        TypeError: If one is of another type, with its name.
        ValueError: If one is none of the words that it may be, has zero
            bytes, or is an address in the place of a path.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        check_type(field.name, value, field.type)
        if '\0' in str(value):
            raise ValueError(f"'{field.name}' must be text without zero bytes "
                             f"(got {in_words(value)})")
        if field.name in paths and value is not None:
            several = isinstance(value, (list, tuple))
            value = ([local_path(field.name, path) for path in value]
                     if several else local_path(field.name, value))
        elif isinstance(value, os.PathLike):
            value = os.fspath(value)
        if field.name == 'data' and value is not None:
            local_path('data', value)  # a name or a file: readers expand it
        setattr(settings, field.name, value)


def check_type(name: str, value: Any, kind: Any) -> None:
    r"""Raises an error if a value is not of the type of an annotation."""
    if is_of_type(value, kind):
        if isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise ValueError(f"'{name}' must be a number below 1e300 "
                             f"(got {in_words(value)})")
        return
    # Text that is none of several words is a wrong value of the right type.
    is_word = isinstance(value, str) and Literal in map(
        get_origin, (kind, *get_args(kind)))
    raise (ValueError if is_word else TypeError)(
        f"'{name}' must be {describe_type(kind)} (got {in_words(value)})")


def is_of_type(value: Any, kind: Any) -> bool:
    r"""Whether a value is of the type of an annotation. All integers are
    numbers, but neither is :obj:`True`.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(is_of_type(value, one) for one in arguments)
    if origin is Literal:
        return isinstance(value, str) and value in arguments
    if origin in (list, tuple):
        return isinstance(value, (list, tuple)) and (
            origin is list or len(value) == len(arguments)) and all(
                is_of_type(entry, arguments[0]) for entry in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, CLASSES.get(kind, kind))


def describe_type(kind: Any) -> str:
    r"""Returns what a message calls the type of an annotation."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return ' or '.join(map(describe_type, arguments))
    if origin is Literal:
        return f'one of {sorted(arguments)}'
    if origin is list:
        return f'a list, each {describe_type(arguments[0])}'
    if origin is tuple:
        return (f'a list of {len(arguments)}, each '
                f'{describe_type(arguments[0])}')
    return WORDS[kind]
