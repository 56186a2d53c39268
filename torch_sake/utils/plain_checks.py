r"""Checks of plain values: the numbers, names and paths of settings. They need
no torch.
"""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

import numpy


def check_positive_int(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"'{name}' must be an integer (got {value!r})")
    if value < 1:
        raise ValueError(f"'{name}' must be at least 1 (got {value})")
    if value >= 2**63:
        raise ValueError(f"'{name}' must be below 2^63 (got {value})")
    return int(value)


def check_seed(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"'{name}' must be an integer (got {value!r})")
    if not 0 <= value < 2**63:
        raise ValueError(f"'{name}' must lie between 0 and 2^63 - 1 "
                         f"(got {value})")
    return int(value)


def check_float(name: str, value: Any) -> float:
    value = _as_float(name, value)
    if not math.isfinite(value):
        raise ValueError(f"'{name}' must be finite (got {value})")
    return value


def check_positive_float(name: str, value: Any) -> float:
    value = _as_float(name, value)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"'{name}' must be positive and finite "
                         f"(got {value})")
    return value


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


def check_paths(name: str, value: Any) -> list[str]:
    r"""Returns a path, or a list of some, as a list."""
    if isinstance(value, str):
        return [value]
    if len(value) == 0:
        raise ValueError(f"'{name}' must be at least one (got {value})")
    return value


def check_no_arguments(kwargs: dict[str, Any], names: Iterable[str],
                       owner: str) -> None:
    given = sorted(set(kwargs) & set(names))
    if given:
        raise TypeError(f"{given} must not be given to {owner}")


def check_option(name: str, value: Any, options: Iterable[str]) -> str:
    options = sorted(options)
    if value not in options:
        raise ValueError(f"'{name}' must be one of {options} (got {value!r})")
    return value
