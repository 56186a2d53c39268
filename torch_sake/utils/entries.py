r"""Entries of files, such as the description of a checkpoint, are checked
against type hints. Those that come with checks of their values are written as
:obj:`Annotated[type, check]`, with a function :obj:`check(name, value)`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import torch
from torch import Tensor

from torch_sake.utils.checks import check_float, check_positive_int
from torch_sake.utils.files import PathLike, in_words, one_line

SINGLE = torch.finfo(torch.float)
LONGEST = 1000  # message


def check_not_negative(name: str, value: Any) -> None:
    if not 0 <= value < 2**63:
        raise ValueError(f"'{name}' must not be negative and be below 2^63 "
                         f"(got {shown(value)})")


def check_single(name: str, value: Any) -> None:
    r"""Checks a factor of numbers in single precision."""
    if not SINGLE.tiny <= value <= SINGLE.max:
        raise ValueError(f"'{name}' must be positive and finite in single "
                         f"precision (got {value})")


PositiveInt = Annotated[int, check_positive_int]
PositiveFloat = Annotated[float, check_single]
FiniteFloat = Annotated[float, check_float]
Count = Annotated[int, check_not_negative]


def check_entry(name: str, value: Any, hint: Any) -> None:
    r"""Checks that an entry is what a type hint says.

    Args:
        name (str): What messages call it.
        value (Any): The entry.
        hint (type): A class, :obj:`Any`, :obj:`Optional`, :obj:`Literal`,
            :obj:`List`, :obj:`Dict`, a :obj:`TypedDict`, which may have more
            keys than it knows, or one of these :obj:`Annotated` with checks.

    Raises:
        TypeError, ValueError: If it is not.
    """
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        check_entry(name, value, arguments[0])
        for check in arguments[1:]:
            check(name, value)
    elif kind in (Union, UnionType):  # with None
        if value is not None:
            check_entry(name, value, arguments[0])
    elif kind is Literal:
        if value not in arguments:
            raise ValueError(f"'{name}' must be one of {sorted(arguments)} "
                             f"(got {shown(value)})")
    elif is_typeddict(kind):
        _check_type(name, value, dict)
        hints = get_type_hints(kind, include_extras=True)
        for key, item in hints.items():
            if key in value:
                check_entry(_join(name, key), value[key], item)
            elif key in kind.__required_keys__:
                raise ValueError(f"'{_join(name, key)}' is missing")
    elif kind is not Any:
        _check_type(name, value, kind)
        if kind is dict:
            for key, item in value.items():
                check_entry(_join(name, key), key, arguments[0])
                check_entry(_join(name, key), item, arguments[1])
        elif kind is list:
            for index, item in enumerate(value):
                check_entry(_join(name, index), item, arguments[0])


def _check_type(name: str, value: Any, kind: type) -> None:
    found = type(value)
    # A whole number is a number, but true and false are none.
    if found is not kind and (found, kind) != (int, float) and not (
            kind is Tensor and isinstance(value, Tensor)):
        raise TypeError(f"'{name}' must be of type {kind.__name__} "
                        f"(got {shown(value)})")


def _join(name: str, key: Any) -> str:
    key = str(key) if str(key).isprintable() else ascii(key)
    return f'{name}.{key}' if name else key


def shown(value: Any) -> str:
    r"""Returns a value in few words of one line."""
    if isinstance(value, Tensor):
        return f'a tensor of {value.dtype} and shape {list(value.shape)}'
    return in_words(value)


@contextmanager
def errors_name(path: PathLike) -> Iterator[None]:
    r"""Within this context, all that fails is a :class:`ValueError` of one
    line that names a file. What reads the entries of a file, such as the
    constructor of a model, fails in more ways than can be listed.
    """
    try:
        yield
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        text = str(error)
        if isinstance(error, KeyError):
            text = f'{text} is missing'
        elif not isinstance(error, (TypeError, ValueError)):
            text = f'{type(error).__name__}: {text}'
        name = f"'{path}'"
        if not text.startswith(name):
            text = f'{name}: {text}'
        raise ValueError(one_line(text, LONGEST)) from error


def check_elements(name: str, value: Iterable[int], end: int) -> None:
    r"""Checks that atomic numbers are those of elements below :obj:`end`."""
    if not value or not all(0 < number < end for number in value):
        raise ValueError(f"'{name}' must be atomic numbers from 1 to "
                         f"{end - 1} (got {shown(value)})")
