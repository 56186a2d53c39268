r"""What is likely wrong with the members of an ensemble."""

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations

import torch
from torch import Tensor

from torch_sake.potentials.potential import Potential
from torch_sake.utils.elements import symbol_of
from torch_sake.utils.units import ENERGIES

# What members of one level of theory may differ by, in eV per atom:
LARGEST_DIFFERENCE = 1.0


def warn_of_members(paths: Sequence[str], potentials: Sequence[Potential],
                    elements: Sequence[int], units: Mapping[str, str]) -> None:
    r"""Warns of members that are the same, which agree whatever they know,
    and of those with other energies of single atoms, whose energies differ
    for this alone. There is one line of each kind.

    Args:
        paths (list of str): The names of their files.
        potentials (list of Potential): The members.
        elements (list of int): The elements that all of them know.
        units (dict): The units of all of them.
    """
    pairs = [*combinations(range(len(paths)), 2)]
    for first, other in pairs:
        if are_same(potentials[first].state_dict(),
                    potentials[other].state_dict()):
            warnings.warn(f"'{paths[first]}' and '{paths[other]}' are the "
                          f"same potential: that they agree says nothing of "
                          f"their error")
            break
    energies = torch.stack([atomic_energies(potential, elements)
                            for potential in potentials])
    energies *= ENERGIES[units['energy']]
    for first, other in pairs:
        difference = (energies[first] - energies[other]).abs()
        if difference.max() > LARGEST_DIFFERENCE:
            worst = int(difference.argmax())
            warnings.warn(
                f"'{paths[first]}' and '{paths[other]}' have atomic energies "
                f"of {symbol_of(elements[worst])} of "
                f"{float(energies[first, worst]):.6g} and "
                f"{float(energies[other, worst]):.6g} eV: they were trained "
                f"on different references or units, which makes them differ")
            break


def are_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    r"""Whether two potentials have the same tensors."""
    return one.keys() == other.keys() and all(
        torch.equal(one[name], other[name]) for name in one)


def atomic_energies(potential: Potential, elements: Sequence[int]) -> Tensor:
    r"""Returns the energies of single atoms of some elements."""
    if potential.atomic_energies is None:
        return torch.zeros(len(elements), dtype=torch.double)
    energies = potential.atomic_energies.detach().cpu()
    return energies[list(elements)].double()
