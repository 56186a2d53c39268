r"""Checks of plain values: numbers, names and lists of some. They need no
torch. Each has the name that messages call a value by, and returns the value.
"""

import math
from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import Any

import numpy

from torch_sake.utils.messages import in_words

# The numbers that are normal in single precision:
MIN_SINGLE, MAX_SINGLE = 2.0**-126, (2 - 2.0**-23) * 2.0**127


def require(condition: Any, message: str) -> None:
    r"""Raises an error if a condition does not hold."""
    if not condition:
        raise ValueError(message)


def to_list(name: str, value: Any) -> list[Any]:
    r"""Returns one of something, or several, as a list."""
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    require(values, f"'{name}' must be at least one (got {value})")
    return values


def check_positive_int(name: str, value: Any) -> int:
    value = _as_int(name, value)
    require(value >= 1, f"'{name}' must be at least 1 (got {value})")
    require(value < 2**63, f"'{name}' must be below 2^63 (got {value})")
    return value


def check_seed(name: str, value: Any) -> int:
    value = _as_int(name, value)
    require(0 <= value < 2**63, f"'{name}' must lie between 0 and 2^63 - 1 "
                                f"(got {value})")
    return value


def check_not_negative(name: str, value: Any) -> Any:
    require(0 <= value < 2**63, f"'{name}' must not be negative and be below "
                                f"2^63 (got {in_words(value)})")
    return value


def check_float(name: str, value: Any) -> float:
    value = _as_float(name, value)
    require(math.isfinite(value), f"'{name}' must be finite (got {value})")
    return value


def check_positive_float(name: str, value: Any) -> float:
    value = _as_float(name, value)
    require(math.isfinite(value) and value > 0,
            f"'{name}' must be positive and finite (got {value})")
    return value


def check_single(name: str, value: Any) -> Any:
    r"""Checks a factor of numbers in single precision."""
    require(MIN_SINGLE <= value <= MAX_SINGLE,
            f"'{name}' must be positive and finite in single precision "
            f"(got {value})")
    return value


def check_fraction(name: str, value: Any) -> Any:
    require(0 <= value < 1, f"'{name}' must be at least 0 and below 1 "
                            f"(got {value})")
    return value


def _as_int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"'{name}' must be an integer (got {value!r})")
    return int(value)


def _as_float(name: str, value: Any) -> float:
    if callable(getattr(value, 'numel', None)) and value.numel() == 1:
        value = value.item()  # of a tensor
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"'{name}' must be a number (got {value!r})")
    try:
        return float(value)
    except OverflowError:  # of an integer
        return math.inf if value > 0 else -math.inf


def check_bool(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, numpy.bool_)):
        raise TypeError(f"'{name}' must be a bool (got {value!r})")
    return bool(value)


def check_option(name: str, value: Any, options: Iterable[str]) -> str:
    options = sorted(options)
    require(value in options,
            f"'{name}' must be one of {options} (got {value!r})")
    return value


def check_elements(name: str, value: Collection[int],
                   end: int) -> Collection[int]:
    r"""Checks that atomic numbers are those of elements below :obj:`end`."""
    require(value and all(0 < number < end for number in value),
            f"'{name}' must be atomic numbers from 1 to {end - 1} "
            f"(got {in_words(value)})")
    return value


def check_no_arguments(kwargs: dict[str, Any], names: Iterable[str],
                       owner: str) -> None:
    given = sorted(set(kwargs) & set(names))
    if given:
        raise TypeError(f"{given} must not be given to {owner}")
