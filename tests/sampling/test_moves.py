"""Moves keep what they say they keep."""

import numpy as np
import pytest

from torch_sake.sampling.bonds import (
    closest_approach,
    find_bonds,
    find_molecules,
    radii_of,
)
from torch_sake.sampling.moves import (
    dimer,
    piece,
    random_rotation,
    rotation,
    strain,
    stretch_bond,
    turn_bonds,
)
from torch_sake.sampling.structure import Structure

build = pytest.importorskip('ase.build')


def structure(name):
    atoms = build.molecule(name)
    return Structure(atoms.numbers, atoms.positions)


def lengths(z, pos, bonds):
    return np.linalg.norm(pos[bonds[:, 0]] - pos[bonds[:, 1]], axis=1)


def test_bonds():
    """Of ethanol: eight, between the atoms that chemists would say."""
    start = structure('CH3CH2OH')
    pairs = sorted(tuple(sorted(start.z[bond]))
                   for bond in find_bonds(start.z, start.pos))
    assert pairs == [(1, 6)] * 5 + [(1, 8), (6, 6), (6, 8)]


def test_molecules():
    """In the order of their first atoms, however long their chains are."""
    order = np.random.default_rng(0).permutation(40)
    bonds = np.stack([order[:-1], order[1:]], axis=1)
    cut = np.delete(bonds, [9, 29], axis=0)
    found = find_molecules(40, cut)
    parts = [order[:10], order[10:30], order[30:]]
    for number, part in enumerate(sorted(parts, key=min)):
        assert (found[part] == number).all()
    assert find_molecules(40, bonds).max() == 0
    assert find_molecules(3, bonds[:0]).tolist() == [0, 1, 2]


@pytest.mark.parametrize('seed', range(5))
def test_turned_bonds(seed):
    """All bonds and angles stay, another distance changes."""
    start = structure('CH3CH2OH')
    rng = np.random.default_rng(seed)
    turned = turn_bonds(start, rng)
    bonds = find_bonds(start.z, start.pos)
    assert np.array_equal(find_bonds(turned.z, turned.pos), bonds)
    np.testing.assert_allclose(lengths(turned.z, turned.pos, bonds),
                               lengths(start.z, start.pos, bonds), atol=1e-12)
    # Distances between atoms that share a neighbor are angles:
    share = [(i, j) for i in range(9) for j in range(i)
             if any({i, k} in map(set, bonds.tolist())
                    and {j, k} in map(set, bonds.tolist())
                    for k in range(9))]
    np.testing.assert_allclose(
        lengths(turned.z, turned.pos, np.array(share)),
        lengths(start.z, start.pos, np.array(share)), atol=1e-12)
    every = np.argwhere(np.triu(np.ones((9, 9)), 1))
    assert abs(lengths(turned.z, turned.pos, every)
               - lengths(start.z, start.pos, every)).max() > 0.05
    assert closest_approach(turned.z, turned.pos, bonds) > 0.9


@pytest.mark.parametrize('name', ['CH4', 'C6H6', 'H2O'])
def test_nothing_to_turn(name):
    assert turn_bonds(structure(name), np.random.default_rng(0)) is None


def test_stretched_bonds():
    """One bond is much longer or shorter, the others are rattled."""
    start = structure('CH3CH2OH')
    bonds = find_bonds(start.z, start.pos)
    before = lengths(start.z, start.pos, bonds)
    found = []
    for seed in range(60):
        one = stretch_bond(start, np.random.default_rng(seed))
        ratio = lengths(one.z, one.pos, bonds) / before
        found.append(ratio[np.abs(np.log(ratio)).argmax()])
        assert np.sum(np.abs(np.log(ratio)) > np.log(1.9)) <= 1
    assert min(found) < 0.8 and max(found) > 3.0


def test_no_bond_of_a_ring_is_stretched():
    ring = structure('C6H6')
    carbons = Structure(ring.z[:6], ring.pos[:6])
    assert set(carbons.z) == {6}
    assert stretch_bond(carbons, np.random.default_rng(0)) is None
    assert piece(carbons, np.random.default_rng(0)) is None


def test_pieces():
    """They are smaller, connected, and where they were."""
    start = structure('CH3CH2OH')
    sizes = set()
    for seed in range(40):
        one = piece(start, np.random.default_rng(seed))
        sizes.add(len(one.z))
        bonds = find_bonds(one.z, one.pos)
        assert find_molecules(len(one.z), bonds).max() == 0
        for z, pos in zip(one.z, one.pos):
            index = np.flatnonzero((start.pos == pos).all(axis=1))
            assert start.z[index].tolist() == [z]
    assert max(sizes) < 9 and min(sizes) == 1


def test_dimers():
    """Both molecules are rigid, and apart as far as is said."""
    start, other = structure('H2O'), structure('CH4')
    ratios = []
    for seed in range(40):
        one = dimer(start, other, np.random.default_rng(seed))
        assert one.z.tolist() == [*start.z, *other.z]
        for rows, part in ((slice(3), start), (slice(3, 8), other)):
            np.testing.assert_allclose(
                np.linalg.norm(one.pos[rows][:, None] - one.pos[rows],
                               axis=-1),
                np.linalg.norm(part.pos[:, None] - part.pos, axis=-1),
                atol=1e-9)
        vec = one.pos[:3, None] - one.pos[3:]
        ratios.append((np.linalg.norm(vec, axis=-1) / (
            radii_of(start.z)[:, None] + radii_of(other.z))).min())
    assert min(ratios) >= 0.9 - 1e-9 and max(ratios) <= 4.0 + 1e-9
    assert np.median(ratios) < 2.4


def test_strained_cells():
    """Cell and positions are strained together, but for the rattling."""
    cubic = build.bulk('Si', 'diamond', 5.4, cubic=True)
    start = Structure(cubic.numbers, cubic.positions, cubic.cell.array)
    one = strain(start, np.random.default_rng(1))
    assert one.pbc.all() and not np.allclose(one.cell, start.cell)
    inside = one.pos @ np.linalg.inv(one.cell)
    before = start.pos @ np.linalg.inv(start.cell)
    assert np.abs(inside - before).max() < 0.15


def test_rotations():
    turn = rotation(np.array([0.0, 0.0, 2.0]), np.pi / 2)
    np.testing.assert_allclose(turn @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0],
                               atol=1e-15)
    rng = np.random.default_rng(0)
    for _ in range(5):
        matrix = random_rotation(rng)
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(matrix) == pytest.approx(1.0)
