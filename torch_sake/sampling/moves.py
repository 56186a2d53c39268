r"""Moves that lead from a structure to another one. Each returns
:obj:`None` where it does not apply.
"""

from dataclasses import replace

import numpy as np

from torch_sake.sampling.bonds import (
    closest_approach,
    find_bonds,
    find_molecules,
    radii_of,
    side_of,
)
from torch_sake.sampling.structure import Structure

TRIALS = 20
# Distances of atoms without a bond, over the sum of their covalent radii:
CLOSEST = 0.9


def rattle(start: Structure, rng: np.random.Generator) -> Structure:
    r"""Every atom is moved, by 0.02 to 0.2 Angstrom along each axis."""
    width = np.exp(rng.uniform(np.log(0.02), np.log(0.2)))
    return replace(start, pos=start.pos
                   + width * rng.standard_normal(start.pos.shape))


def strain(start: Structure, rng: np.random.Generator) -> Structure:
    r"""The whole structure is strained by some percent and rattled, a periodic
    one with its cell; all lengths shrink by up to a seventh.
    """
    matrix = rng.uniform(0.86, 1.05) * np.eye(3) + (
        0.03 * rng.standard_normal((3, 3)))
    strained = replace(
        start, pos=start.pos @ matrix,
        cell=None if start.cell is None else start.cell @ matrix)
    return rattle(strained, rng)


def turn_bonds(start: Structure, rng: np.random.Generator) -> Structure | None:
    r"""One to three bonds are turned by any angle, such that no atoms come too
    close. A bond in a ring, and one with a single atom on a side, stays.
    """
    bonds = find_bonds(start.z, start.pos)
    number = len(start.z)
    molecules = find_molecules(number, bonds)
    sizes = np.bincount(molecules)[molecules]
    sides = {index: side for index in range(len(bonds))
             if (side := side_of(number, bonds, index)) is not None
             and 1 < side.sum() < sizes[bonds[index][0]] - 1}
    if not sides:
        return None
    for _ in range(TRIALS):
        pos = start.pos.copy()
        count = rng.integers(1, min(len(sides), 3) + 1)
        for index in rng.choice(list(sides), count, replace=False):
            first, second = bonds[index]
            turn = rotation(pos[second] - pos[first],
                            rng.uniform(-np.pi, np.pi))
            side = sides[index]
            pos[side] = pos[first] + (pos[side] - pos[first]) @ turn.T
        if closest_approach(start.z, pos, bonds) > CLOSEST:
            return replace(start, pos=pos)
    return None


def stretch_bond(start: Structure,
                 rng: np.random.Generator) -> Structure | None:
    r"""A bond that is in no ring has 0.7 to 1 (every fourth time), 1 to 2
    (every second time) or 2 to 4 times its length.
    """
    bonds = find_bonds(start.z, start.pos)
    for index in rng.permutation(len(bonds)):
        side = side_of(len(start.z), bonds, index)
        if side is None:
            continue
        first, second = bonds[index]
        low, high = [(0.7, 1.0), (1.0, 2.0), (1.0, 2.0), (2.0, 4.0)][
            rng.integers(4)]
        pos = start.pos.copy()
        pos[side] += (rng.uniform(low, high) - 1.0) * (pos[second]
                                                       - pos[first])
        return rattle(replace(start, pos=pos), rng)
    return None


def piece(start: Structure, rng: np.random.Generator) -> Structure | None:
    r"""One of two sides of a bond that is in no ring; that of a second bond of
    it every other time.
    """
    found = None
    for _ in range(rng.integers(1, 3)):
        bonds = find_bonds(start.z, start.pos)
        sides = [side for index in range(len(bonds))
                 if (side := side_of(len(start.z), bonds, index)) is not None]
        if not sides:
            break
        side = sides[rng.integers(len(sides))]
        if rng.integers(2):
            side = ~side
        found = start = replace(start, z=start.z[side], pos=start.pos[side],
                                spin=None)
    return found


def dimer(start: Structure, other: Structure,
          rng: np.random.Generator) -> Structure | None:
    r"""Two molecules, turned at random. Their closest atoms are 0.9 to 4 times
    the sum of the covalent radii apart, more often close than far.
    """
    one, two = (molecule_of(structure, rng) for structure in (start, other))
    pos = one.pos - one.pos.mean(axis=0)
    turned = (two.pos - two.pos.mean(axis=0)) @ random_rotation(rng)
    direction = rng.standard_normal(3)
    direction /= np.linalg.norm(direction)
    target = np.exp(rng.uniform(np.log(CLOSEST), np.log(4.0)))
    sums = radii_of(one.z)[:, None] + radii_of(two.z)
    # The ratio rises with the distance, once the two are apart.
    low, high = 0.0, 4.0 * sums.max() + np.ptp(pos) + np.ptp(turned) + (
        2.0 * max(np.abs(pos).max(), np.abs(turned).max()))
    for _ in range(40):
        middle = (low + high) / 2.0
        vec = turned + middle * direction - pos[:, None]
        ratio = (np.linalg.norm(vec, axis=2) / sums).min()
        low, high = (middle, high) if ratio < target else (low, middle)
    return Structure(np.concatenate([one.z, two.z]),
                     np.concatenate([pos, turned + high * direction]))


def molecule_of(start: Structure, rng: np.random.Generator) -> Structure:
    r"""Returns one of the molecules of a structure."""
    molecules = find_molecules(len(start.z), find_bonds(start.z, start.pos))
    chosen = molecules == rng.integers(molecules.max() + 1)
    return Structure(start.z[chosen], start.pos[chosen])


def rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    r"""Returns the rotation about an axis, by Rodrigues' formula."""
    x, y, z = axis / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return (np.eye(3) + np.sin(angle) * cross
            + (1.0 - np.cos(angle)) * cross @ cross)


def random_rotation(rng: np.random.Generator) -> np.ndarray:
    r"""Returns a rotation, all of which are equally likely."""
    matrix, upper = np.linalg.qr(rng.standard_normal((3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    return matrix * np.linalg.det(matrix)
