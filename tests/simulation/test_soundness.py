"""Structures that are none, or become none."""

import json
import re

import numpy
import pytest

from torch_sake.cli import main
from torch_sake.simulation import MDConfig, Simulation, Unsound
from torch_sake.simulation.soundness import Soundness, closest_pair

ase = pytest.importorskip('ase')
ase_io = pytest.importorskip('ase.io')
pytest.importorskip('ase.md.langevinbaoab')
pytest.importorskip('jsonargparse')


@pytest.fixture
def run(checkpoint, tmp_path, capsys):
    """Runs a command on a structure: its status, what it prints, its folder,
    and the last line of errors."""
    def run(command, atoms, *arguments):
        structure, out = str(tmp_path / 'first.traj'), tmp_path / command
        atoms.write(structure)
        status = main([command, '--checkpoint', checkpoint('run'),
                       '--structure', structure, '--out', str(out),
                       *arguments])
        printed = capsys.readouterr()
        return status, printed.out, out, (
            printed.err.strip().splitlines() or [''])[-1]
    return run


def water(*others):
    return ase.Atoms('OHH' + len(others) * 'H', [
        [0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0], *others])


COINCIDENT = [
    (water([0.96, 0, 0]), 'atoms 1 and 3 at a distance of 0 '),
    (ase.Atoms('H3', numpy.zeros((3, 3))), 'atoms . and . at a distance of 0'),
    (water([-0.24, 0.93, 0.05]), 'atoms 2 and 3 at a distance of 0.05 '),
    (ase.Atoms('OH', [[0, 0, 0], [0, 0, 4.99]], cell=[5, 5, 5], pbc=True),
     'atoms 0 and 1 at a distance of 0.01 '),
    (ase.Atoms('O', cell=[5, 5, 0.06], pbc=True),
     'atoms 0 and 0 at a distance of 0.06 '),
]


@pytest.mark.parametrize('command', ['relax', 'md'])
@pytest.mark.parametrize('atoms, message', COINCIDENT)
def test_atoms_at_one_point(run, command, atoms, message):
    status, printed, out, error = run(command, atoms, '--num_steps', '1')
    assert status == 2
    assert "'structure' must have atoms that do not lie on each other" in error
    assert re.search(message, error)
    assert not out.exists() or not list(out.iterdir())


@pytest.mark.parametrize('distance', [4.0, 1e6])
def test_relaxation_of_an_atom_that_nothing_acts_on(run, distance):
    status, printed, out, error = run('relax', water([0, 0, distance]))
    assert status == 1
    assert 'Atoms [3] have no neighbor within the cutoff, 3 Angstrom' in error
    assert 'is not relaxed' in error
    assert 'Atoms [3] have no neighbor' in printed and 'converged: False' in (
        printed)
    assert json.loads((out / 'relax.json').read_text())['converged'] is False
    assert len(ase_io.read(out / 'relaxed.extxyz')) == 4


def test_relaxation_that_gives_an_atom_a_neighbor(run, monkeypatch):
    """What was said before is not true in the end."""
    from torch_sake.simulation.relaxation import Relaxation

    def optimize(self):
        self.atoms.positions[3] = [0, 0, 1.0]
        self.converged, self.steps = True, 1

    monkeypatch.setattr(Relaxation, '_optimize', optimize)
    status, printed, out, error = run('relax', water([0, 0, 4.0]))
    assert status == 0 and 'Atoms [3] have no neighbor' in printed
    assert json.loads((out / 'relax.json').read_text())['converged'] is True


def test_relaxation_in_which_a_force_is_not_finite(run, monkeypatch):
    from torch_sake.calculators import SAKECalculator
    calculate, calls = SAKECalculator.calculate, []

    def broken(self, *args):
        calls.append(args)
        if len(calls) > 2:
            raise ValueError('The force on atom 1 is not finite (got nan)')
        calculate(self, *args)

    monkeypatch.setattr(SAKECalculator, 'calculate', broken)
    status, _, _, error = run('relax', water())
    assert status == 1 and 'not finite (got nan), after step' in error


def test_simulation_that_comes_apart(run):
    atoms = water()
    atoms.set_velocities([[0, 0, 0], [0.5, 0, 0], [0, 0, 0]])
    status, printed, out, error = run('md', atoms, '--ensemble', 'nve',
                                      '--num_steps', '80')
    assert status == 1
    assert ('Atoms [1] have no neighbor within the cutoff, 3 Angstrom: the '
            'structure has come apart') in error and str(out) in error
    assert 'ps, temperature' in printed
    last = ase_io.read(out / 'last.extxyz')
    assert last.get_distance(0, 1) > 3
    assert len(ase_io.read(out / 'trajectory.extxyz', ':')) == 5


def test_simulation_in_which_one_was_alone_before(run):
    status, printed, _, error = run('md', water([0, 0, 50.0]), '--num_steps',
                                    '2', '--temperature', '10')
    assert status == 0 and 'come apart' not in printed + error
    assert 'Atoms [3] have no neighbor within the cutoff, 3 Angstrom: ' in (
        printed)


def test_simulation_that_is_too_hot(run):
    atoms = water()
    atoms.set_velocities([[0, 0, 0], [0, 0, 5.0], [0, 0, 0]])
    status, printed, _, error = run('md', atoms, '--ensemble', 'nve',
                                    '--num_steps', '1')
    assert status == 1 and 'The temperature has been' in error
    assert 'cannot be trusted' in error and 'come apart' not in error


@pytest.mark.parametrize('command, arguments', [
    ('md', ['--ensemble', 'npt', '--pressure', '-100', '--timestep', '2',
            '--num_steps', '400', '--isotropic', 'true']),
    ('relax', ['--cell', 'true', '--pressure', '-100'])])
def test_cell_that_bursts(run, command, arguments, crystal_file):
    before = ase_io.read(crystal_file)
    status, _, out, error = run(command, before, *arguments)
    assert status == 1 and 'The volume has changed from 160.1 to ' in error
    if command == 'md':  # the last good one
        after = ase_io.read(out / 'last.extxyz')
        assert 5 < after.get_volume() / before.get_volume() < 10
    else:
        assert not json.loads((out / 'relax.json').read_text())['converged']


def test_what_python_code_sees(checkpoint, tmp_path):
    atoms = water()
    atoms.set_velocities([[0, 0, 0], [0.5, 0, 0], [0, 0, 0]])
    atoms.write(tmp_path / 'first.traj')
    simulation = Simulation(MDConfig(
        checkpoint('run'), structure=str(tmp_path / 'first.traj'),
        out=str(tmp_path / 'md'), ensemble='nve', num_steps=80))
    assert simulation.soundness.remarks == []
    simulation.run()
    with pytest.raises(Unsound, match='has come apart. The simulation is in'):
        simulation.check_result()


def test_atoms_that_are_too_close():
    atoms = water([0.96, 0.2, 0])
    soundness = Soundness(atoms, None)
    assert soundness.remarks == [
        'Atoms 1 and 3 are 0.2 Angstrom apart, closer than any bond (their '
        'covalent radii add up to 0.62)']
    assert Soundness(water(), 3.0).faults(atoms) == soundness.remarks
    for name in ('C2H6', 'CH3CH2OH', 'H2', 'Si2H6', 'SO2', 'LiF', 'Na2'):
        build = pytest.importorskip('ase.build')
        molecule = build.molecule(name)
        assert Soundness(molecule, None).remarks == []
    assert closest_pair(ase.Atoms('H'))[2] == numpy.inf


def test_atoms_that_nothing_acts_on():
    # Without a cutoff, an atom that is far away is lost all the same:
    atoms = water([1e6, 1e6, 1e6])
    soundness = Soundness(atoms, None)
    assert len(soundness.remarks) == 1 and 'Atoms [3]' in soundness.remarks[0]
    assert soundness.faults(atoms) == []
    assert 'Atoms [3]' in soundness.faults(atoms, forces_matter=True)[0]
    # Where nothing acts on any atom, there is nothing to simulate:
    atoms = water()
    atoms.positions *= 100
    faults = Soundness(atoms, 5.0).faults(atoms)
    assert len(faults) == 1 and 'nothing acts on them' in faults[0]


def test_crystals_are_sound():
    build = pytest.importorskip('ase.build')
    for name in ('Si', 'Cu', 'Cs', 'Al', 'C'):
        atoms = build.bulk(name)
        soundness = Soundness(atoms, 6.0)
        assert soundness.remarks == [] and soundness.faults(atoms) == []
        first, second, dist, bond = closest_pair(
            atoms * (2, 1, 1) if len(atoms) == 1 else atoms)
        assert dist == numpy.inf or dist > 0.5 * bond
        larger = atoms.copy()
        larger.set_cell(2.2 * atoms.cell, scale_atoms=True)
        assert any('The volume has changed' in fault
                   for fault in soundness.faults(larger))
