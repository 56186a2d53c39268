"""Simulations of ions."""

import warnings
from dataclasses import replace

import pytest
import torch

from torch_sake import Potential, VectorSAKE
from torch_sake.checkpoint import save_checkpoint

pytest.importorskip('ase')

import ase.io
from ase.build import molecule

from torch_sake.calculators import SAKECalculator
from torch_sake.simulation import MDConfig, Simulation
from torch_sake.simulation.config import RelaxConfig
from torch_sake.simulation.relaxation import Relaxation
from torch_sake.simulation.structures import read_structure


@pytest.fixture
def ions(tmp_path):
    """What a run on water and its ions leaves behind, the first of which was
    a cation."""
    torch.manual_seed(0)
    arguments = {'hidden_channels': 8, 'num_layers': 2, 'num_rbf': 8,
                 'cutoff': 3.0, 'embed_charge': True}
    potential = Potential(VectorSAKE(**arguments), 0.3).double()
    atoms = molecule('H2O')
    save_checkpoint(tmp_path / 'run' / 'best.safetensors', {
        **{f'potential.{key}': value
           for key, value in potential.state_dict().items()},
        'structure.z': torch.tensor(atoms.numbers),
        'structure.pos': torch.tensor(atoms.positions),
        'structure.charge': torch.tensor([1.0]),
        'structure.spin': torch.tensor([2.0])},
        {'model': {'name': 'VectorSAKE', 'arguments': arguments},
         'prior': {'cutoff': 3.0, 'length': 'Angstrom', 'energy': 'eV'},
         'energy_scale': 0.3, 'elements': [1, 8],
         'states': [[-1, 2], [0, 1], [1, 2]],
         'units': {'length': 'Angstrom', 'energy': 'eV'}})
    return str(tmp_path / 'run')


@pytest.fixture
def anion_file(tmp_path):
    atoms = molecule('H2O')
    atoms.info = {'total_charge': -1, 'multiplicity': 2, 'energy_of_mine': 5}
    path = str(tmp_path / 'anion.extxyz')
    atoms.write(path)
    return path


def energy_of(path, charge, spin, atoms=None):
    atoms = (atoms or molecule('H2O')).copy()
    atoms.info = {}
    atoms.calc = SAKECalculator(path, charge=charge, spin=spin)
    return atoms.get_potential_energy()


def test_structures(ions, anion_file):
    assert read_structure(None, ions).info == {'charge': 1, 'spin': 2}
    assert read_structure(anion_file, ions).info == {
        'total_charge': -1, 'multiplicity': 2}
    assert read_structure(anion_file, ions, 0, 1).info == {
        'charge': 0, 'spin': 1}


@pytest.mark.parametrize('format', ['extxyz', 'traj'])
def test_dynamics(ions, anion_file, tmp_path, format):
    config = MDConfig(checkpoint=[ions], structure=anion_file, interval=2,
                      out=str(tmp_path / 'whole'), num_steps=8, format=format,
                      ensemble='nve')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Simulation(config).run()
    frames = ase.io.read(f'{config.out}/trajectory.{format}', ':')
    for atoms in frames:
        assert atoms.info['total_charge'] == -1
        assert atoms.get_potential_energy() == pytest.approx(
            energy_of(ions, -1, 2, atoms), abs=1e-5)
    last = ase.io.read(f'{config.out}/last.extxyz')
    assert last.info['multiplicity'] == 2
    # It goes on as the same ion, and as no other:
    part = replace(config, out=str(tmp_path / 'part'), num_steps=4)
    Simulation(part).run()
    Simulation(replace(part, num_steps=8, resume=True)).run()
    again = ase.io.read(f'{part.out}/trajectory.{format}', ':')
    assert [atoms.get_potential_energy() for atoms in again] == [
        atoms.get_potential_energy() for atoms in frames]
    molecule('H2O').write(str(tmp_path / 'water.xyz'))
    with pytest.raises(ValueError, match='got other charge_and_spin'):
        Simulation(replace(part, num_steps=9, resume=True,
                           structure=str(tmp_path / 'water.xyz')))
    with pytest.raises(ValueError, match="'charge' must be None"):
        Simulation(replace(part, num_steps=9, resume=True, charge=1))


def test_settings(ions, anion_file, tmp_path):
    config = MDConfig(checkpoint=[ions], structure=anion_file, charge=1,
                      out=str(tmp_path / 'md'), num_steps=2, interval=1)
    simulation = Simulation(config)
    assert simulation.atoms.get_potential_energy() == pytest.approx(
        energy_of(ions, 1, 2))
    simulation.run()
    atoms = ase.io.read(f'{config.out}/trajectory.extxyz', 0)
    assert atoms.info['charge'] == 1 and 'total_charge' not in atoms.info
    for wrong, error in ((dict(charge=0.5), TypeError),
                         (dict(spin=0), ValueError)):
        with pytest.raises(error, match=f"'{[*wrong][0]}' must be"):
            MDConfig(checkpoint=[ions], **wrong)


def test_relaxation(ions, anion_file, tmp_path):
    results = {}
    for charge in (None, 0, 1):
        config = RelaxConfig(checkpoint=ions, structure=anion_file, fmax=0.05,
                             charge=charge, out=str(tmp_path / f'{charge}'))
        relaxation = Relaxation(config)
        results[charge] = relaxation.run()['energy [eV]']
        relaxed = ase.io.read(f'{config.out}/relaxed.extxyz')
        expected = -1 if charge is None else charge
        assert results[charge] == pytest.approx(
            energy_of(ions, expected, 2, relaxed), abs=1e-6)
        assert relaxed.info.get('charge', -1) == expected
    assert len({*results.values()}) == 3


def test_potentials_without_an_embedding(checkpoint, anion_file, tmp_path):
    config = MDConfig(checkpoint=[checkpoint('run')], structure=anion_file,
                      out=str(tmp_path / 'md'), num_steps=3)
    with pytest.warns(UserWarning, match='The structure has charge -1 and '
                      'spin 2, which the potential does not know') as found:
        Simulation(config).run()
    assert len(found) == 1
    with pytest.raises(ValueError, match="'charge' must not be 1"):
        Simulation(replace(config, charge=1, out=str(tmp_path / 'other')))
