r"""Settings, and entries of files such as the description of a checkpoint, are
checked against type hints. Those that come with checks of their values are
written as :obj:`Annotated[type, check]`, with a function
:obj:`check(name, value)` that returns the value as it is to be.
"""

import os
from dataclasses import fields
from numbers import Integral, Real
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

from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.messages import in_words
from torch_sake.utils.names import check_import_path
from torch_sake.utils.paths import (
    check_no_address,
    check_sources,
    local_path,
    local_paths,
)
from torch_sake.utils.plain_checks import (
    check_float,
    check_fraction,
    check_not_negative,
    check_positive_int,
    check_seed,
    check_single,
    require,
    to_list,
)

PositiveInt = Annotated[int, check_positive_int]
Count = Annotated[int, check_not_negative]
Seed = Annotated[int, check_seed]
FiniteFloat = Annotated[float, check_float]
PositiveFloat = Annotated[float, check_single]
NotNegative = Annotated[float, check_not_negative]
Fraction = Annotated[float, check_fraction]
Cutoff = Annotated[float, check_cutoff]
Data = Annotated[str, check_no_address]  # a name or a file
Sources = Annotated[str | list[str], check_sources]  # or several
ModelPath = Annotated[str, check_import_path]
Path = Annotated[str, local_path]
Paths = Annotated[str | list[str], local_paths]
Texts = Annotated[str | list[str], to_list]

UNIONS = (Union, UnionType)
MAX_INTEGER = 10**300  # larger ones are no floating point numbers
WORDS = {int: 'an integer', float: 'a number', bool: 'true or false',
         str: 'text', type(None): 'null'}
CLASSES = {int: Integral, float: Real, str: (str, os.PathLike)}
PLAIN = (str, float, bool)  # entries of these need no further check


def check_settings(settings: Any) -> None:
    r"""Checks all settings against the type hints of their class.

    Args:
        settings (dataclass): The settings.

    Raises:
        TypeError, ValueError: If one is not what its hint says. The error has
            its name.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        setattr(settings, field.name,
                check_entry(field.name, value, field.type, is_setting=True))


def check_entry(name: str, value: Any, hint: Any,
                is_setting: bool = False) -> Any:
    r"""Returns a value, checked against a type hint.

    Args:
        name (str): What messages call it.
        value (Any): The value.
        hint (type): A class, :obj:`Any`, a union, :obj:`Literal`,
            :obj:`list`, :obj:`tuple` of items of one type, :obj:`dict`, a
            :obj:`TypedDict`, which may have more keys than it knows, or one of
            these :obj:`Annotated` with checks.
        is_setting (bool, optional): If set to :obj:`True`, messages call types
            by the words of people, and an item by the name of its list.
            (default: :obj:`False`)

    Raises:
        TypeError, ValueError: If it is not what the hint says.
    """
    if type(value) is hint and hint in PLAIN and not is_setting:
        return value  # most of what a file holds
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        value = check_entry(name, value, arguments[0], is_setting)
        for check in arguments[1:]:
            value = check(name, value)
        return value
    if kind in UNIONS:
        for one in arguments:
            if is_of_type(value, one):
                return check_entry(name, value, one, is_setting)
    if not is_of_type(value, hint, items=kind in UNIONS):
        # Text that is none of several words is a wrong value of its type.
        is_word = isinstance(value, str) and Literal in map(
            get_origin, (hint, *arguments))
        raise (ValueError if is_word else TypeError)(
            f"'{name}' must be {describe_type(hint, is_setting)} "
            f"(got {in_words(value)})")
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise ValueError(f"'{name}' must be a number below 1e300 "
                         f"(got {in_words(value)})")
    if kind is str and is_setting:
        value = os.fsdecode(value)
        require('\0' not in value, f"'{name}' must be text without zero bytes "
                                   f"(got {in_words(value)})")
    elif kind in (list, tuple):
        return kind(check_entry(name if is_setting else _join(name, index),
                                item, arguments[0], is_setting)
                    for index, item in enumerate(value))
    elif kind is dict:
        for key, item in value.items():
            entry = _join(name, key)
            check_entry(entry, key, arguments[0], is_setting)
            check_entry(entry, item, arguments[1], is_setting)
    elif is_typeddict(kind):
        for key, item in get_type_hints(kind, include_extras=True).items():
            entry = _join(name, key)
            require(key in value or key not in kind.__required_keys__,
                    f"'{entry}' is missing")
            if key in value:
                check_entry(entry, value[key], item)
    return value


def is_of_type(value: Any, hint: Any, items: bool = True) -> bool:
    r"""Whether a value, with the items of a list, is of the type of a hint,
    which may yet have checks that it does not pass. All integers are numbers,
    but neither is :obj:`True`.
    """
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Annotated:
        return is_of_type(value, arguments[0], items)
    if kind in UNIONS:
        return any(is_of_type(value, one, items) for one in arguments)
    if kind is Literal:
        return isinstance(value, str) and value in arguments
    if kind in (list, tuple):
        return isinstance(value, (list, tuple)) and (
            kind is list or len(value) == len(arguments)) and (
                not items or all(is_of_type(item, arguments[0])
                                 for item in value))
    if kind is dict and arguments:
        return isinstance(value, dict) and (not items or all(
            is_of_type(key, arguments[0]) and is_of_type(item, arguments[1])
            for key, item in value.items()))
    if isinstance(value, bool):
        return kind in (bool, Any)
    return kind is Any or isinstance(value, dict if is_typeddict(kind) else
                                     CLASSES.get(kind, kind))


def describe_type(hint: Any, is_setting: bool = True) -> str:
    r"""Returns what people call the type of a setting; or what those do who
    read files, but for :obj:`None`.
    """
    kind, arguments = get_origin(hint) or hint, get_args(hint)
    if kind is Literal:
        return f'one of {sorted(arguments)}'
    if kind is Annotated or kind in UNIONS and not is_setting:
        return describe_type(arguments[0], is_setting)
    if not is_setting:
        return f"of type {'dict' if is_typeddict(kind) else kind.__name__}"
    if kind in UNIONS:
        return ' or '.join(map(describe_type, arguments))
    if kind in (list, tuple):
        number = '' if kind is list else f' of {len(arguments)}'
        return f'a list{number}, each {describe_type(arguments[0])}'
    if kind is dict:
        return f'a mapping, each value {describe_type(arguments[1])}'
    return WORDS[kind]


def _join(name: str, key: Any) -> str:
    key = str(key) if str(key).isprintable() else ascii(key)
    return f'{name}.{key}' if name else key
