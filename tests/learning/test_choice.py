"""Which structures are labeled."""

import os

import numpy
import pytest

from torch_sake.learning import LearnConfig
from torch_sake.learning.choice import (
    NUM_EARLIER,
    NUM_LAST,
    candidates,
    choose,
    is_too_close,
)
from torch_sake.learning.distances import (
    closest,
    distance,
    largest_difference,
    num_edges,
    shape_of,
)
from torch_sake.learning.walks import Outcome, Walk, seed_of, walks_of

ase = pytest.importorskip('ase')
build = pytest.importorskip('ase.build')
ase_io = pytest.importorskip('ase.io')


def water(bond=0.96):
    return ase.Atoms('OH2', [[0, 0, 0], [bond, 0, 0], [-0.24, 0.93, 0]])


@pytest.fixture
def walk(tmp_path):
    """Writes a trajectory of molecules of given bonds."""
    def make(bonds, structure=0, temperature=300.0, walker=0, reason='unsure',
             uncertainties=None):
        folder = str(tmp_path / f'{structure}_{temperature}_{walker}')
        os.makedirs(folder)
        frames = []
        for index, bond in enumerate(bonds):
            atoms = water(bond)
            std = index if uncertainties is None else uncertainties[index]
            atoms.arrays['forces_std'] = numpy.full((3, 3), std / 3**0.5)
            atoms.info.update(charge=1, energy_std=0.1)
            frames.append(atoms)
        ase_io.write(os.path.join(folder, 'trajectory.extxyz'), frames)
        return (Walk(structure, temperature, walker, folder, 0),
                Outcome(1, len(bonds), 0.1, reason))
    return make


def config(**settings):
    return LearnConfig(**{'structures': 'a.xyz', 'label': 'xtb',
                          'data': 'b.xyz', 'num_labels': 100, **settings})


def bonds_of(atoms):
    return [round(one.get_distance(0, 1), 4) for one in atoms]


def chosen(pairs, known=(), **settings):
    return choose(config(**settings), 1, *zip(*pairs), known)


def test_doubt_comes_first_then_the_time_before(walk):
    """Of earlier parts, the least certain frame of each."""
    bonds = [0.9 + 0.01 * index for index in range(12)]
    found = candidates(*walk(bonds, uncertainties=[
        0, 5, 0, 9, 1, 1, 2, 0, 0, 1, 2, 3]))
    assert bonds_of(found) == pytest.approx([
        1.01, 1.0, 0.99,  # the last ones, then those of four parts before
        0.97, 0.96, 0.93, 0.91])
    assert len(found) == NUM_LAST + NUM_EARLIER
    assert found[0].info['uncertainty'] == '3 eV/Angstrom'
    assert found[0].info['charge'] == 1
    assert 'energy_std' not in found[0].info
    assert {*found[0].arrays} == {'numbers', 'positions'}


def test_few_frames(walk):
    assert bonds_of(candidates(*walk([0.95]))) == [0.95]
    found = candidates(*walk([0.9, 0.91, 0.92, 0.93], walker=1))
    assert bonds_of(found) == pytest.approx([0.93, 0.92, 0.91, 0.9])


def test_who_is_sure_has_none(walk):
    assert candidates(*walk([0.9, 1.0], reason=None)) == []
    assert chosen([walk([0.9, 1.0], walker=1, reason=None)]) == []


def test_atoms_that_are_too_close_are_left_out(walk):
    """Those before come in their place."""
    found = candidates(*walk([0.8, 0.7, 0.5, 0.3]))
    assert bonds_of(found) == pytest.approx([0.7, 0.8])
    assert candidates(*walk([0.3], walker=1)) == []


def test_atoms_of_the_largest_element_that_are_too_close():
    for dist, is_close in ((0.7, True), (0.98, True), (1.0, False)):
        assert is_too_close(ase.Atoms('C2', [[0, 0, 0], [dist, 0, 0]])
                            ) == is_close


def test_what_is_alike_is_labeled_once(walk):
    pairs = [walk([0.96, 0.9605, 1.2]), walk([1.201, 1.4], walker=1)]
    assert sorted(bonds_of(chosen(pairs))) == pytest.approx([
        0.9605, 1.2, 1.4]) or sorted(bonds_of(chosen(pairs))) == (
            pytest.approx([0.9605, 1.201, 1.4]))
    assert len(chosen(pairs, min_distance=0.0)) == 5
    # Those of rounds before, in any orientation:
    known = water(1.4)
    known.rotate(70, (1, 2, 3))
    assert 1.4 not in bonds_of(chosen(pairs, [shape_of(known)]))


@pytest.mark.parametrize('number', [2, 4, 8])
def test_they_are_spread(walk, number):
    """Over structures, then over temperatures, then over simulations."""
    pairs = [walk([1 + 0.03 * place + 0.3 * structure + 0.1 * walker
                   for place in range(3)], structure, temperature, walker)
             for structure in range(2)
             for temperature in (300.0, 600.0) for walker in range(2)]
    for seed in range(3):
        found = chosen(pairs, num_labels=number, seed=seed, min_distance=0.0)
        assert len(found) == number
        for names in (['structure'], ['structure', 'temperature']):
            kinds = {tuple(atoms.info[name] for name in names)
                     for atoms in found}
            assert len(kinds) == min(number, 2**len(names))
    assert bonds_of(found) == bonds_of(chosen(
        pairs, num_labels=number, seed=seed, min_distance=0.0))
    assert {atoms.info['config_type'] for atoms in found} == {'learn_1'}


def test_distance_knows_no_place():
    molecule = build.molecule('CH3CH2OH')
    shape = shape_of(molecule)
    moved = molecule.copy()
    moved.rotate(33, (1, -2, 3))
    moved.positions += 7.0
    order = numpy.random.default_rng(0).permutation(9)
    moved = moved[order]
    assert distance(shape, shape_of(moved)) < 1e-9
    assert largest_difference(shape, shape_of(moved)) < 1e-9
    moved.positions[0, 0] += 0.1
    assert 0.01 < distance(shape, shape_of(moved)) < 0.1
    assert 0.05 < largest_difference(shape, shape_of(moved)) < 0.1 + 1e-9
    other = build.molecule('CH3OCH3')  # of the same atoms
    assert 0.1 < distance(shape, shape_of(other)) < numpy.inf
    assert distance(shape, shape_of(build.molecule('H2O'))) == numpy.inf
    assert closest(shape, []) == (numpy.inf, -1)
    assert closest(shape, map(shape_of, [other, molecule])) == (0.0, 1)


def test_distance_of_crystals():
    """A cell counts, and who is in which image does not."""
    crystal = build.bulk('Cu', cubic=True)
    shape = shape_of(crystal)
    moved = crystal.copy()
    moved.positions[0] += crystal.cell[1]
    assert distance(shape, shape_of(moved)) < 1e-9
    moved.set_cell(crystal.cell.array * 1.01)  # not the atoms
    assert largest_difference(shape, shape_of(moved)) > 0.03
    assert distance(shape, shape_of(ase.Atoms(
        crystal.numbers, crystal.positions))) == numpy.inf
    assert num_edges(crystal, 2.7) == 4 * 12
    assert num_edges(water(), None) == 6


def test_simulations_of_a_round():
    settings = config(temperatures=[300, 600], num_walkers=2)
    walks = walks_of(settings, 3, 'here', 2)
    assert len(walks) == 8
    assert len({walk.seed for walk in walks}) == 8
    assert len({walk.folder for walk in walks}) == 8
    others = walks_of(settings, 4, 'here', 2)
    assert {walk.seed for walk in walks}.isdisjoint(
        walk.seed for walk in others)
    assert seed_of(0, 1, 2) != seed_of(0, 12)
