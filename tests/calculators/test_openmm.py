import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch_geometric.nn.models import SchNet

from torch_sake import (
    SAKE,
    Ensemble,
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    ZBLRepulsion,
)
from torch_sake.checkpoint import save_checkpoint

openmm = pytest.importorskip('openmm')

from openmm import unit  # noqa: E402

from torch_sake.calculators import openmm_force  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / 'examples'
EV = 96.48533212331  # kJ/mol
BOX = torch.tensor([[3.8, 0.0, 0.0], [1.2, 3.7, 0.0], [-0.8, 0.7, 3.6]],
                   dtype=torch.double)
ALL = torch.ones(3, dtype=torch.bool)


def vector_sake():
    return Potential(VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=2.5), 3.0,
                     100 * torch.rand(100), ZBLRepulsion(2.5)).double()


def all_pairs():
    return Potential(SAKE(8, num_layers=1, num_rbf=5, cutoff=None)).double()


def schnet():
    return Potential(SchNet(8, 8, 2, 5, interaction_graph=(
        RadiusInteractionGraph(2.5)))).double()


def atoms(num_atoms=8):
    grid = torch.cartesian_prod(*3 * [torch.arange(2.0)])[:num_atoms]
    pos = 1.6 * grid + 0.3 * torch.randn(num_atoms, 3)
    return torch.randint(1, 9, (num_atoms, )), pos.double()


def make_context(force, num_atoms, integrator=None, platform='Reference',
                 others=(), pos=None):
    system = openmm.System()
    for _ in range(num_atoms):
        system.addParticle(12.0)
    system.setDefaultPeriodicBoxVectors(*(0.1 * BOX).tolist())
    for other in (force, *others):
        system.addForce(other)
    context = openmm.Context(
        system, integrator or openmm.VerletIntegrator(0.001),
        openmm.Platform.getPlatformByName(platform))
    if pos is not None:
        context.setPositions(0.1 * pos.numpy())
    return context


def evaluate(context):
    """Returns positions, box, energy and forces in Angstrom and eV."""
    state = context.getState(positions=True, energy=True, forces=True)
    pos = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)
    box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(
        unit.angstrom)
    energy = state.getPotentialEnergy().value_in_unit(
        unit.kilojoule_per_mole) / EV
    forces = state.getForces(asNumpy=True).value_in_unit(
        unit.kilojoule_per_mole / unit.angstrom) / EV
    return (torch.from_numpy(pos), torch.from_numpy(box), energy,
            torch.from_numpy(forces))


def assert_same(outputs, potential, z, periodic, rtol=1e-9):
    pos, box, energy, forces = outputs
    with torch.no_grad():
        expected = potential(z, pos, None, *((box, ALL) if periodic else ()))
    assert energy == pytest.approx(float(expected[0]), rel=rtol)
    largest = float(expected[1].abs().max())
    assert largest > 1e-3
    assert torch.allclose(forces, expected[1], rtol=0, atol=rtol * largest)


@pytest.mark.parametrize('build, periodic', [
    (vector_sake, False), (vector_sake, True), (schnet, False),
    (schnet, True), (all_pairs, False)])
@pytest.mark.parametrize('platform', ['Reference', 'CPU'])
def test_energies_and_forces(build, periodic, platform):
    potential, (z, pos) = build(), atoms()
    force = openmm_force(potential, z, periodic)
    assert force.usesPeriodicBoundaryConditions() == periodic
    context = make_context(force, 8, platform=platform)
    # The CPU platform sums forces in float32.
    rtol = 1e-9 if platform == 'Reference' else 1e-6
    for _ in range(3):
        pos = pos + 0.3 * torch.randn_like(pos)
        context.setPositions(0.1 * pos.numpy())
        outputs = evaluate(context)
        assert_same(outputs, potential, z, periodic, rtol)
        if periodic:
            free = float(potential.energy(z, pos).detach())
            assert abs(outputs[2] - free) > 1e-4


def test_single_precision_across_a_large_box():
    # Both sides of a box of 4000 Angstrom are within a molecule.
    z, pos = atoms()
    potential = vector_sake().float()
    outputs = []
    for shift in (50.0, 0.0):
        system_pos = (pos - pos.mean(dim=0) + shift) % 4000.0
        context = make_context(openmm_force(potential, z, True), 8)
        context.setPeriodicBoxVectors(*(400.0 * torch.eye(3)).numpy())
        context.setPositions(0.1 * system_pos.numpy())
        outputs.append(evaluate(context)[3])
    assert (system_pos.amax(dim=0) - system_pos.amin(dim=0) > 3000).all()
    assert (outputs[0] - outputs[1]).abs().max() < 2e-6 * max(
        1.0, outputs[0].abs().max())


@pytest.mark.parametrize('periodic', [False, True])
def test_forces_are_the_slope_of_the_energy(periodic):
    z, pos = atoms(5)
    context = make_context(openmm_force(vector_sake(), z, periodic), 5,
                           pos=pos)
    forces = evaluate(context)[3]
    for i in range(5):
        for k in range(3):
            energies = []
            for sign in (1, -1):
                moved = pos.clone()
                moved[i, k] += sign * 1e-4
                context.setPositions(0.1 * moved.numpy())
                energies.append(evaluate(context)[2])
            slope = (energies[0] - energies[1]) / 2e-4
            assert abs(slope + float(forces[i, k])) < 1e-5


@pytest.mark.parametrize('energy, length, expected', [
    ('kJ/mol', 'nm', (1.0, 1.0)), ('kcal/mol', 'Angstrom', (4.184, 0.1)),
    ('meV', 'Bohr', (0.001 * EV, 0.0529177210903)),
    ('Hartree', 'Angstrom', (2625.49963948, 0.1))])
def test_units(energy, length, expected):
    potential, (z, pos) = vector_sake(), atoms()
    force = openmm_force(potential, z,
                         units={'length': length, 'energy': energy})
    state = make_context(force, 8, pos=10 * expected[1] * pos).getState(
        energy=True, forces=True)
    energy, forces, _ = potential(z, pos)
    assert state.getPotentialEnergy()._value == pytest.approx(
        float(energy.detach()) * expected[0], rel=1e-11)
    assert torch.allclose(
        torch.from_numpy(state.getForces(asNumpy=True)._value),
        forces.detach() * expected[0] / expected[1], rtol=1e-9)


@pytest.mark.parametrize('periodic', [False, True])
@pytest.mark.slow
def test_constant_energy(periodic):
    potential, (z, pos) = vector_sake(), atoms(6)
    spreads = []
    for timestep in (4e-4, 2e-4):
        context = make_context(openmm_force(potential, z, periodic), 6,
                               openmm.VerletIntegrator(timestep), pos=pos)
        context.setVelocitiesToTemperature(1000.0, 1)
        total, kinetic = [], []
        for _ in range(round(0.04 / timestep)):
            context.getIntegrator().step(1)
            state = context.getState(energy=True)
            kinetic.append(state.getKineticEnergy()._value)
            total.append(state.getPotentialEnergy()._value + kinetic[-1])
        spreads.append(max(total) - min(total))
        assert spreads[-1] < 0.01 * (max(kinetic) - min(kinetic))
        # Neighbor lists are still right at the end.
        assert_same(evaluate(context), potential, z, periodic)
    # The errors of the integrator are of second order, and the only ones.
    assert 3.3 < spreads[0] / spreads[1] < 4.7


def test_box_vectors_arrive():
    potential, (z, pos) = vector_sake(), atoms()
    barostat = openmm.MonteCarloBarostat(2e4 * unit.bar, 300.0, 1)
    barostat.setRandomNumberSeed(1)
    integrator = openmm.LangevinIntegrator(300.0, 10.0, 2e-4)
    integrator.setRandomNumberSeed(1)
    context = make_context(openmm_force(potential, z, True), 8, integrator,
                           others=[barostat], pos=pos)
    context.setVelocitiesToTemperature(300.0, 1)
    widths, differences = set(), []
    for _ in range(5):
        integrator.step(10)
        outputs = evaluate(context)
        assert_same(outputs, potential, z, True)
        widths.add(float(outputs[1][0, 0]))
        with torch.no_grad():
            other = potential.energy(z, outputs[0], None, BOX, ALL)
        differences.append(abs(float(other) - outputs[2]))
    # With the box of the beginning, the energies are others.
    assert len(widths) > 1 and max(differences) > 1e-5


def test_checkpoint(tmp_path):
    arguments = {'hidden_channels': 8, 'num_layers': 2, 'num_rbf': 5,
                 'cutoff': 2.5}
    potential = Potential(VectorSAKE(**arguments), 20.0,
                          -1e4 * torch.rand(100))
    path = tmp_path / 'model.safetensors'
    save_checkpoint(path, {
        f'potential.{key}': value
        for key, value in potential.state_dict().items()
    }, {'model': {'name': 'VectorSAKE', 'arguments': arguments},
        'energy_scale': 20.0, 'elements': [1, 6, 8],
        'units': {'length': 'Angstrom', 'energy': 'kcal/mol'}})
    z, pos = torch.tensor([6, 6, 8, 1, 1, 1, 1, 8]), atoms()[1]
    energy, forces, _ = potential(z, pos.float())
    assert float(forces.detach().abs().max()) > 0.1
    for source in (path, str(path)):
        state = make_context(openmm_force(source, z.numpy()), 8,
                             pos=pos).getState(energy=True, forces=True)
        assert state.getPotentialEnergy().value_in_unit(
            unit.kilocalorie_per_mole) == pytest.approx(
                float(energy.detach()), abs=1e-3)
        found = state.getForces(asNumpy=True).value_in_unit(
            unit.kilocalorie_per_mole / unit.angstrom)
        assert torch.allclose(torch.from_numpy(found).float(),
                              forces.detach(), atol=1e-3)
    with pytest.raises(ValueError, match=r'atomic numbers \[7, 9\], .* '
                                         r'\(it knows \[1, 6, 8\]\)'):
        openmm_force(path, [6, 9, 7, 1])
    with pytest.raises(ValueError, match="'units' must not be given"):
        openmm_force(path, z, units={'length': 'nm', 'energy': 'eV'})
    with pytest.raises(ValueError, match='There is no checkpoint'):
        openmm_force('missing.safetensors', z)


def test_ensembles_and_types_of_numbers():
    potential, (z, pos) = Ensemble([vector_sake(), vector_sake()]), atoms()
    outputs = evaluate(make_context(openmm_force(potential, z, True), 8,
                                    pos=pos))
    assert_same(outputs, potential, z, True)
    force = openmm_force(potential.float(), z, True, dtype=torch.double)
    outputs = evaluate(make_context(force, 8, pos=pos))
    assert_same(outputs, potential.double(), z, True)


def test_copies_and_files():
    potential, (z, pos) = vector_sake(), atoms()
    context = make_context(openmm_force(potential, z, True), 8, pos=pos)
    expected = evaluate(context)
    xml = openmm.XmlSerializer.serialize(context.getSystem())
    for system in (openmm.XmlSerializer.deserialize(xml),
                   copy.deepcopy(context.getSystem())):
        force = copy.deepcopy(system.getForce(0))
        assert force.usesPeriodicBoundaryConditions()
        outputs = evaluate(make_context(force, 8, pos=pos))
        assert outputs[2] == expected[2]
        assert torch.equal(outputs[3], expected[3])


def test_forces_have_a_copy_of_the_potential():
    potential, (z, pos) = vector_sake(), atoms()
    with torch.no_grad():
        expected = float(potential.energy(z, pos))
    context = make_context(openmm_force(potential, z, device='cpu'), 8,
                           pos=pos)
    potential.float()
    z += 1
    with torch.no_grad():
        next(potential.parameters()).mul_(1.5)
    assert evaluate(context)[2] == pytest.approx(expected, rel=1e-11)
    assert all(value.grad is None for value in potential.parameters())


def test_nan():
    potential = vector_sake()
    with torch.no_grad():
        potential.model.embedding.weight[7] = torch.nan
    z, pos = torch.tensor([8, 1, 1, 7, 7]), torch.zeros(5, 3).double()
    pos[:, 0] = torch.tensor([0.0, 1.0, 2.0, 9.0, 10.0])
    context = make_context(openmm_force(potential, z), 5, pos=pos)
    with pytest.raises(openmm.OpenMMException, match='force on atom 3 is not'):
        context.getState(energy=True)
    z[:] = 1
    pos[2, 1] = torch.inf
    context = make_context(openmm_force(potential, z), 5, pos=pos)
    with pytest.raises(openmm.OpenMMException, match="'pos' must be finite "
                                                     ".* in row 2"):
        context.getState(energy=True)
    potential.atomic_energies[1] = torch.inf
    context = make_context(openmm_force(potential, z), 5, pos=pos.clamp(max=9))
    with pytest.raises(openmm.OpenMMException, match=r'energy is not finite '
                                                     r'\(got inf\)'):
        context.getState(energy=True)


def test_bad_input(monkeypatch):
    potential, (z, pos) = vector_sake(), atoms()
    with pytest.raises(TypeError, match="'potential' must be a Potential, "):
        openmm_force(potential.model, z)
    with pytest.raises(TypeError, match="'z' must be of integer type"):
        openmm_force(potential, z.double())
    with pytest.raises(ValueError, match="'z' must have shape"):
        openmm_force(potential, [[1, 1]])
    with pytest.raises(ValueError, match="'z' must be atomic numbers"):
        openmm_force(potential, [1, 0])
    for units in ({'length': 'nm'}, 'eV'):
        with pytest.raises(ValueError, match="'units' must have the keys"):
            openmm_force(potential, z, units=units)
    with pytest.raises(ValueError, match=r"'energy' .* \(got 'Kelvin'\)"):
        openmm_force(potential, z,
                     units={'length': 'nm', 'energy': 'Kelvin'})
    with pytest.raises(ValueError, match=r"'length' .* \(got 'foot'\)"):
        openmm_force(potential, z, units={'length': 'foot', 'energy': 'eV'})
    with pytest.raises(ValueError, match="'potential' must have a cutoff"):
        openmm_force(all_pairs(), z, True)
    context = make_context(openmm_force(potential, z[:7]), 8, pos=pos)
    with pytest.raises(openmm.OpenMMException, match=r', 8 \(got 7\)'):
        context.getState(energy=True)
    monkeypatch.delattr(openmm, 'PythonForce')
    with pytest.raises(ImportError, match='8.5 or later'):
        openmm_force(potential, z)


def test_missing_openmm(monkeypatch):
    import torch_sake.calculators
    monkeypatch.delitem(sys.modules, 'torch_sake.calculators.openmm')
    monkeypatch.setitem(sys.modules, 'openmm', None)
    with pytest.raises(ImportError, match=r'torch-sake\[openmm\]'):
        _ = torch_sake.calculators.openmm_force


@pytest.mark.parametrize('periodic', [False, True])
@pytest.mark.slow
def test_example(periodic, tmp_path):
    ase_io, build = pytest.importorskip('ase.io'), pytest.importorskip(
        'ase.build')
    arguments = []
    if periodic:
        molecule = build.molecule('CH3CH2OH', cell=[6.0, 7.0, 8.0], pbc=True)
        molecule.rotate(40, (1, 2, 3), rotate_cell=True)
        arguments = ['--structure', str(tmp_path / 'crystal.extxyz')]
        ase_io.write(arguments[1], molecule)
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / 'openmm_md.py'), '--num_steps', '20',
         *arguments], env=dict(os.environ, OMP_NUM_THREADS='1'),
        capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    rows = re.findall(r'^ *(\d+)' + 4 * r' +(\S+)' + '$', process.stdout, re.M)
    assert [int(row[0]) for row in rows] == [
        *range(0, 21, 2), *range(20, 41, 2)]
    temperatures = [float(row[4]) for row in rows]
    assert 10 < min(temperatures) and max(temperatures) < 1000
    spread = float(re.search(r'total energy: (\S+) kJ/mol',
                             process.stdout).group(1))
    kinetic = [float(row[2]) for row in rows[11:]]
    assert 0 < spread < 0.2 * (max(kinetic) - min(kinetic))
