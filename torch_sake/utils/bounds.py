r"""How large and how small numbers may be.

Models take the fourth power of lengths and the square of labels. Both must be
numbers in single precision, which ends at 1e38.
"""

from typing import Any

from torch_sake.utils.plain_checks import check_positive_float

MIN_LENGTH, MAX_LENGTH = 1e-9, 1e9
MAX_LABEL = 1e18


def check_cutoff(name: str, value: Any) -> float:
    r"""Checks a length from which on there is no edge."""
    value = check_positive_float(name, value)
    if not MIN_LENGTH <= value <= MAX_LENGTH:
        raise ValueError(f"'{name}' must lie between {MIN_LENGTH:g} and "
                         f"{MAX_LENGTH:g}, whose fourth powers are numbers in "
                         f"single precision (got {value:g})")
    return value
