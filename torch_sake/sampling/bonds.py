r"""Bonds of molecules, and what they join."""

import numpy as np

from torch_sake.potentials.zbl import COVALENT_RADII

TOLERANCE = 1.25  # of the sum of covalent radii
LAST = len(COVALENT_RADII)


def radii_of(z: np.ndarray) -> np.ndarray:
    r"""Returns the covalent radii of atoms in Angstrom."""
    return np.array(COVALENT_RADII)[np.minimum(z, LAST) - 1]


def distances(pos: np.ndarray) -> np.ndarray:
    r"""Returns the distances of all pairs of atoms."""
    return np.linalg.norm(pos[:, None] - pos, axis=2)


def find_bonds(z: np.ndarray, pos: np.ndarray) -> np.ndarray:
    r"""Returns the pairs of atoms that are closer than 1.25 times the sum of
    their covalent radii, :obj:`[num_bonds, 2]`.
    """
    radii = radii_of(z)
    close = distances(pos) < TOLERANCE * (radii[:, None] + radii)
    return np.argwhere(np.triu(close, k=1))


def find_molecules(num_atoms: int, bonds: np.ndarray) -> np.ndarray:
    r"""Returns the number of the molecule of each atom."""
    i, j = bonds.reshape(-1, 2).T
    first, before = np.arange(num_atoms), None  # atom of its molecule
    while before is None or (first != before).any():
        before = first.copy()
        np.minimum.at(first, i, before[j])
        np.minimum.at(first, j, before[i])
        first = first[first]  # long chains need few turns
    return np.unique(first, return_inverse=True)[1]


def side_of(num_atoms: int, bonds: np.ndarray,
            number: int) -> np.ndarray | None:
    r"""Returns which atoms stand on the side of the second atom of a bond, or
    :obj:`None` if it is part of a ring.

    Args:
        num_atoms (int): The number of atoms.
        bonds (numpy.ndarray): The bonds.
        number (int): The number of the bond.
    """
    first, second = bonds[number]
    molecule = find_molecules(num_atoms, np.delete(bonds, number, axis=0))
    if molecule[first] == molecule[second]:
        return None
    return molecule == molecule[second]


def closest_approach(z: np.ndarray, pos: np.ndarray,
                     bonds: np.ndarray) -> float:
    r"""Returns the smallest distance of two atoms without a bond, divided by
    the sum of their covalent radii; infinity if there are none.
    """
    radii = radii_of(z)
    ratio = distances(pos) / (radii[:, None] + radii)
    ratio[tuple(bonds.T)] = np.inf
    ratio = ratio[np.triu_indices(len(z), k=1)]
    return float(ratio.min(initial=np.inf))
