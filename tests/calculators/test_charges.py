"""Charge and spin of a structure, in programs that move atoms."""

import warnings

import numpy
import pytest
import torch

from torch_sake import Ensemble, Potential, VectorSAKE, load_potential
from torch_sake.checkpoint import save_checkpoint

pytest.importorskip('ase')

from ase import Atoms
from ase.build import molecule
from ase.calculators.fd import calculate_numerical_forces

from torch_sake.calculators import Evaluator, SAKECalculator


def build(embed_charge=True, seed=0):
    torch.manual_seed(seed)
    model = VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=3.5,
                       embed_charge=embed_charge)
    return Potential(model, 2.0).double()


def write(path, embed_charge=True, seed=0, **entries):
    potential = build(embed_charge, seed)
    arguments = {'hidden_channels': 8, 'num_layers': 2, 'num_rbf': 5,
                 'cutoff': 3.5, 'embed_charge': embed_charge}
    save_checkpoint(path, {f'potential.{key}': value for key, value in
                           potential.state_dict().items()},
                    {'model': {'name': 'VectorSAKE', 'arguments': arguments},
                     'energy_scale': 2.0, 'elements': [1, 8],
                     'units': {'length': 'Angstrom', 'energy': 'eV'},
                     **entries})
    return str(path)


def energy_of(charge, spin, potential=None):
    atoms = molecule('H2O')
    return (potential or build()).energy(
        torch.tensor(atoms.numbers), torch.tensor(atoms.positions),
        charge=charge, spin=spin).item()


def test_the_structure_says_it():
    atoms = molecule('H2O')
    atoms.calc = SAKECalculator(build())
    energies = [atoms.get_potential_energy()]
    for info in ({'charge': 1, 'spin': 2}, {'total_charge': -1.0},
                 {'multiplicity': '3', 'other': [1]}, {}):
        atoms.info = info
        energies.append(atoms.get_potential_energy())
        forces = atoms.get_forces()
        assert numpy.allclose(forces, calculate_numerical_forces(
            atoms, eps=1e-4), atol=1e-6)
        assert atoms.get_potential_energies().sum() == pytest.approx(
            energies[-1], abs=1e-10)
    assert energies == pytest.approx([
        energy_of(0, 1), energy_of(1, 2), energy_of(-1, 1), energy_of(0, 3),
        energy_of(0, 1)], abs=1e-10)
    assert len({*energies[:4]}) == 4


def test_only_what_matters_is_computed_again():
    atoms = molecule('H2O')
    atoms.calc = SAKECalculator(build())
    atoms.get_forces()
    assert atoms.calc.check_state(atoms) == []
    atoms.info = {'name': 'water', 'charge': 0}
    assert atoms.calc.check_state(atoms) == ['info']
    atoms.get_forces()
    atoms.info = {'name': 'ice', 'total_charge': 0.0}
    assert atoms.calc.check_state(atoms) == []
    atoms.info['charge'] = 1
    with pytest.raises(ValueError, match="The structure: 'charge' and "
                       r"'total_charge' must be the same \(got 1 and 0\)"):
        atoms.get_forces()
    atoms.info = {'spin': 0}
    with pytest.raises(ValueError, match="The structure: 'spin' must be a mu"):
        atoms.get_forces()


def test_the_calculator_says_it():
    atoms = molecule('H2O')
    atoms.info = {'charge': 1, 'spin': 2}
    atoms.calc = SAKECalculator(build(), charge=-1)
    assert atoms.get_potential_energy() == pytest.approx(energy_of(-1, 2))
    atoms.calc = SAKECalculator(build(), charge=0, spin=1)
    assert atoms.get_potential_energy() == pytest.approx(energy_of(0, 1))
    for wrong in (dict(charge=0.5), dict(charge='one'), dict(spin=0)):
        with pytest.raises(ValueError, match=f"'{[*wrong][0]}' must be a"):
            SAKECalculator(build(), **wrong)


def test_potentials_without_an_embedding():
    atoms = molecule('H2O')
    atoms.calc = SAKECalculator(build(False))
    expected = atoms.get_potential_energy()
    for info, message in (({'charge': 1}, 'The structure has charge 1, which'),
                          ({'spin': 2}, 'has spin 2, which the potential'),
                          ({'charge': 0.5}, "'charge' must be an integer .* "
                                            'left out'),
                          ({'spin': 0}, "'spin' must be .* left out")):
        atoms.info = info
        with pytest.warns(UserWarning, match=message) as found:
            for _ in range(3):
                atoms.rattle(0.0)
                assert atoms.get_potential_energy() == expected
        assert len(found) == 1
    with pytest.raises(ValueError, match="'charge' must not be 1: it has no "
                       "embedding .* Train one with 'embed_charge'"):
        SAKECalculator(build(False), charge=1)
    SAKECalculator(build(False), charge=0, spin=1)


def test_checkpoints_know_their_states(tmp_path):
    """Those of ions of one kind need no embedding."""
    path = write(tmp_path / 'anions.safetensors', False, states=[[-1, 2]])
    atoms = molecule('H2O')
    atoms.info = {'charge': -1, 'spin': 2}
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        atoms.calc = SAKECalculator(path)
        energy = atoms.get_potential_energy()
        SAKECalculator(path, charge=-1, spin=2)
    assert energy == pytest.approx(load_potential(path).energy(
        torch.tensor(atoms.numbers), torch.tensor(atoms.positions)).item())
    atoms.info = {'charge': 0}
    with pytest.warns(UserWarning, match='The structure has charge 0, .* was '
                      'trained on the charge and spin -1 and 2$'):
        assert atoms.get_potential_energy() == energy
    path = write(tmp_path / 'ions.safetensors', states=[[-1, 2], [0, 1]])
    atoms.calc = SAKECalculator(path)
    atoms.info = {'charge': 1}
    with pytest.warns(UserWarning, match='was not trained on the charge and '
                      r'spin \+1 and 1 \(it knows -1 and 2, 0 and 1\)'):
        assert atoms.get_potential_energy() == pytest.approx(energy_of(1, 1))
    for wrong in ([[1]], [[0, 0]], [['a', 1]], 5):
        path = write(tmp_path / 'wrong.safetensors', states=wrong)
        with pytest.raises((TypeError, ValueError), match="wrong.*'states"):
            SAKECalculator(path)


def test_ensembles(tmp_path):
    paths = [write(tmp_path / f'{seed}.safetensors', seed=seed,
                   states=[[0, 1], [seed, 2]]) for seed in range(2)]
    evaluator = Evaluator(paths)
    assert evaluator.states.known == {(0, 1)}
    atoms = molecule('H2O')
    with pytest.warns(UserWarning, match='not trained on'):
        out = evaluator(atoms.numbers, atoms.positions, charge=1, spin=2)
    mean = sum(energy_of(1, 2, build(seed=seed)) for seed in range(2)) / 2
    assert out.energy == pytest.approx(mean)
    mixed = Ensemble([build(), build(False)])
    atoms.calc = SAKECalculator(mixed)
    atoms.get_forces()
    atoms.info = {'charge': 1}
    with pytest.raises(ValueError, match="train it with 'embed_charge'"):
        atoms.get_forces()


def test_openmm():
    openmm = pytest.importorskip('openmm')
    from torch_sake.calculators import openmm_force
    if not hasattr(openmm, 'PythonForce'):
        pytest.skip('OpenMM is too old')
    atoms = molecule('H2O')
    energies = []
    for state in ({}, dict(charge=1, spin=2)):
        force = openmm_force(build(), atoms.numbers, **state)
        for _ in range(2):
            system = openmm.System()
            for _ in atoms:
                system.addParticle(1.0)
            system.addForce(force)
            context = openmm.Context(
                system, openmm.VerletIntegrator(0.001),
                openmm.Platform.getPlatformByName('Reference'))
            context.setPositions(0.1 * atoms.positions)
            energy = context.getState(energy=True).getPotentialEnergy()._value
            energies.append(energy / 96.48533212331)
            force = openmm.XmlSerializer.deserialize(
                openmm.XmlSerializer.serialize(force))
    assert energies == pytest.approx(2 * [energy_of(0, 1)] +
                                     2 * [energy_of(1, 2)])
    with pytest.raises(ValueError, match="'charge' must be an integer"):
        openmm_force(build(), atoms.numbers, charge=0.5)
    with pytest.raises(ValueError, match="'charge' must not be 1"):
        openmm_force(build(False), atoms.numbers, charge=1)


def test_cells():
    atoms = Atoms('OH2', molecule('H2O').positions, cell=[4, 4, 4], pbc=True,
                  info={'charge': 1})
    atoms.calc = SAKECalculator(build())
    stress = atoms.get_stress()
    atoms.info['charge'] = 0
    assert not numpy.allclose(atoms.get_stress(), stress)


def said_of(atoms, calculator):
    atoms.calc = calculator
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        atoms.get_potential_energy()
        atoms.rattle(0.01)
        atoms.get_potential_energy()
    return [str(warning.message) for warning in caught]


def test_initial_charges_and_numbers_of_electrons():
    water = molecule('H2O')
    water.set_initial_charges([1, 0, 0])
    line, = said_of(water, SAKECalculator(build()))
    assert line == ("The structure: the initial charges add up to 1, but "
                    "'charge' is not given in info: it is taken as 0")
    water.info = {'charge': 1, 'spin': 2}
    assert said_of(water, SAKECalculator(build())) == []
    water.info = {}
    assert said_of(water, SAKECalculator(build(), charge=0)) == []
    assert said_of(water, SAKECalculator(build(False))) == []
    line, = said_of(molecule('OH'), SAKECalculator(build()))
    assert ('9 electrons cannot have the multiplicity 2S + 1 = 1 (it has a '
            'charge of 0 and no spin' in line)
    assert said_of(molecule('OH'), SAKECalculator(build(), spin=2)) == []
    assert said_of(molecule('OH'), SAKECalculator(build(False))) == []
