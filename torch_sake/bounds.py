r"""How large and how small numbers may be.

Models take the fourth power of lengths and the square of labels. Both must be
numbers in single precision, which ends at 1e38.
"""

from typing import Any

from torch_sake.plain_checks import check_positive_float

MIN_LENGTH, MAX_LENGTH = 1e-9, 1e9
MAX_LABEL = 1e18
# No distance of :mod:`torch_sake.geometry` is shorter than the root of its
# constant 1e-5: with a cutoff below, layers have no edges.
MIN_DISTANCE = 0.0032


def check_cutoff(name: str, value: Any,
                 smallest: float = MIN_LENGTH) -> float:
    r"""Checks a length from which on there is no edge.

    Args:
        name (str): What messages call it.
        value (Any): The length.
        smallest (float, optional): The smallest one that has edges.
            (default: :obj:`1e-9`)

    Raises:
        TypeError, ValueError: If it is no number, or too small or too large.
    """
    value = check_positive_float(name, value)
    if not smallest <= value <= MAX_LENGTH:
        raise ValueError(f"'{name}' must lie between {smallest:g} and "
                         f"{MAX_LENGTH:g}, beyond which powers of lengths are "
                         f"no numbers or layers have no edges (got "
                         f"{value:g})")
    return value
