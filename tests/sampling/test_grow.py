"""What is grown from structures."""

from collections import Counter

import numpy as np
import pytest
import torch

from torch_sake.datasets import Frames
from torch_sake.sampling import Structure, grow
from torch_sake.utils.units import BOHR

build = pytest.importorskip('ase.build')
ASE = {'length': 'Angstrom', 'energy': 'eV'}


def frames_of(*atoms, units=ASE, factor=1.0, **arguments):
    return Frames(z=[one.numbers for one in atoms],
                  pos=[one.positions * factor for one in atoms],
                  energy=[None] * len(atoms), name='some', source='some',
                  units=units, **arguments)


ETHANOL = build.molecule('CH3CH2OH')
WATER = build.molecule('H2O')


def count(structures):
    number = Counter()
    for one in structures:
        number[one.config_type] += one.num_frames
    return number


def test_kinds():
    number = count(grow(frames_of(ETHANOL), 1000))
    assert number.pop('IsolatedAtom') == 3
    assert set(number) == {'dynamics', 'turned', 'stretched', 'compressed',
                           'piece', 'dimer'}
    assert sum(number.values()) == pytest.approx(1000, abs=40)
    assert number['turned'] == pytest.approx(250, abs=10)
    assert number['stretched'] == pytest.approx(150, abs=10)


def test_isolated_atoms_alone():
    with pytest.raises(ValueError, match='some: There must be a structure'):
        grow(frames_of(build.molecule('H'), build.molecule('O')), 5)


def test_a_seed_fixes_all():
    first, second, other = (grow(frames_of(ETHANOL, WATER), 60, seed=seed)
                            for seed in (3, 3, 4))
    assert len(first) == len(second)
    for one, two in zip(first, second):
        assert one.config_type == two.config_type
        assert np.array_equal(one.pos, two.pos)
        assert one.temperature == two.temperature
    assert not np.array_equal(first[5].pos, other[5].pos)


def test_all_frames_are_starts():
    atoms = []
    for index in range(20):
        one = ETHANOL.copy()
        one.positions[0] += [0.0, 0.0, 20.0 + index]  # to be known again
        atoms.append(one)
    starts = Counter(
        round(one.pos[0, 2] - ETHANOL.positions[0, 2] - 20.0)
        for one in grow(frames_of(*atoms), 400)
        if one.config_type == 'dynamics')
    assert set(starts) == set(range(20))


def test_units_of_length():
    """Structures are in Angstrom, whatever the frames are in."""
    bohr = frames_of(ETHANOL, factor=1.0 / BOHR,
                     units={'length': 'Bohr', 'energy': 'Hartree'})
    for one, two in zip(grow(bohr, 50), grow(frames_of(ETHANOL), 50)):
        np.testing.assert_allclose(one.pos, two.pos, atol=1e-9)


def test_charges_stay_whole():
    """A charge cannot be shared by pieces: none are made."""
    frames = frames_of(ETHANOL, infos=[{'charge': 1, 'spin': 2}])
    structures = grow(frames, 300)
    assert set(count(structures)) == {'IsolatedAtom', 'dynamics', 'turned',
                                      'compressed'}
    assert {(one.charge, one.spin) for one in structures
            if one.config_type != 'IsolatedAtom'} == {(1, 2)}


def test_periodic():
    silicon = build.bulk('Si', 'diamond', 5.4, cubic=True)
    frames = frames_of(silicon, cell=[silicon.cell.array])
    structures = grow(frames, 100)
    assert set(count(structures)) == {'IsolatedAtom', 'dynamics',
                                      'compressed'}
    assert all(one.pbc.all() for one in structures if len(one.z) > 1)


def test_molecules_of_a_cluster():
    """Pairs are of its molecules, not of the cluster."""
    cluster = WATER.copy()
    for shift in (4.0, 8.0):
        other = WATER.copy()
        other.positions += [shift, 0.0, 0.0]
        cluster += other
    pairs = [one for one in grow(frames_of(cluster), 300)
             if one.config_type == 'dimer']
    assert pairs and {len(one.z) for one in pairs} == {6}


@pytest.mark.parametrize('wrong, message', [
    (dict(num_frames=0), 'num_frames'),
    (dict(temperatures=[]), 'temperatures'),
    (dict(temperatures=[300.0, -1.0]), 'temperatures'),
    (dict(seed=-1), 'seed'),
])
def test_wrong_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        grow(frames_of(WATER), **wrong)


@pytest.mark.parametrize('wrong, message', [
    (dict(z=[8, 1]), "'pos' must be"),
    (dict(pos=[[0.0, 0.0, np.nan]] * 3), "'pos' must be finite"),
    (dict(cell=np.eye(2)), "'cell' must be"),
    (dict(pbc=[True, True, True]), "'pbc' needs a 'cell'"),
    (dict(num_steps=10), "'temperature' must be"),
    (dict(num_steps=5, temperature=300.0), "'num_steps' must be at least"),
])
def test_wrong_structures(wrong, message):
    right = dict(z=WATER.numbers, pos=WATER.positions)
    with pytest.raises((TypeError, ValueError), match=message):
        Structure(**{**right, **wrong})
    assert torch.is_tensor(torch.as_tensor(Structure(**right).pos))
