r"""Charges of atoms, which say nothing to a potential."""

from collections.abc import Iterable, Mapping
from typing import Any

# What files call the total charge, in units of e:
CHARGES = ('charge', 'total_charge')
INITIAL = 'initial_charges'


def unsaid_charge(atoms: Any, info: Mapping[str, Any] | None = None) -> int:
    r"""Returns the rounded sum of the initial charges of :class:`ase.Atoms`,
    or zero where their :obj:`info` says the total charge.
    """
    charges = atoms.arrays.get(INITIAL)
    names = atoms.info if info is None else info
    if charges is None or any(name in names for name in CHARGES):
        return 0
    total = float(charges.sum())
    return round(total) if abs(total) < 1e6 else 0


def describe_unsaid(where: str, charge: int,
                    others: Iterable[int] = ()) -> str:
    r"""Returns what is wrong with a sum of initial charges in words, with the
    sums of all such frames if there are several.
    """
    others = sorted({charge, *others})
    of_others = '' if len(others) == 1 else (
        f" (those of others to "
        f"{', '.join(str(other) for other in others if other != charge)})")
    return (f"{where}: the initial charges add up to {charge}{of_others}, but "
            f"'charge' is not given in info: it is taken as 0")
