r"""Elements by their symbols and numbers."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch_sake.utils.messages import in_words
from torch_sake.utils.plain_checks import require


def symbol_of(number: int) -> str:
    r"""Returns the symbol of an element."""
    from ase.data import chemical_symbols
    return chemical_symbols[number]


def symbols_of(numbers: Iterable[int]) -> str:
    r"""Returns the symbols of elements as a text, or their numbers where
    there is no ASE to know them.
    """
    try:
        return ', '.join(map(symbol_of, numbers))
    except ImportError:
        return ', '.join(map(str, numbers))


def number_of(name: str, element: Any) -> int:
    r"""Returns the atomic number of an element, given by that or by its
    symbol, as settings have it.

    Raises:
        ValueError: If there is no such element. The error has the
            :obj:`name` of the setting.
    """
    from ase.data import atomic_numbers
    text = str(element)
    if re.fullmatch('[1-9][0-9]{0,2}', text) and (
            int(text) <= max(atomic_numbers.values())):
        return int(text)
    number = atomic_numbers.get(text, 0)
    require(number > 0, f"'{name}' must have symbols of elements, such as "
                        f"'H', or atomic numbers (got {in_words(element)})")
    return number


def check_atomic_energies(name: str, value: Any) -> str | dict[str, float]:
    r"""Checks where the energies of the elements come from. Returns those that
    are given by symbol, in the order of atomic numbers.
    """
    if not isinstance(value, Mapping):
        require(value != 'average',
                f"'{name}' must be 'fit', which fits the energies of the "
                f"elements to those of the frames, as averages of other "
                f"programs do (got 'average')")
        require(value in ('fit', 'isolated'),
                f"'{name}' must be 'fit', 'isolated' or energies of elements "
                f"such as '{{H: -13.6, O: -2041.8}}' (got {in_words(value)})")
        return value
    require(value, f"'{name}' must have energies of elements (got none)")
    energies: dict[int, float] = {}
    for element, energy in value.items():
        number = number_of(name, element)
        symbol = symbol_of(number)
        require(number not in energies, f"'{name}' must give '{symbol}' once")
        require(math.isfinite(energy), f"'{name}' of '{symbol}' must be "
                                       f"finite (got {in_words(energy)})")
        energies[number] = float(energy)
    return {symbol_of(number): energies[number] for number in sorted(energies)}
