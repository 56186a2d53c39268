import csv
import os
import signal
import subprocess
import sys
import time

import numpy
import pytest
import torch

import torch_sake.simulation.molecular_dynamics as module
from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.simulation import MDConfig, Simulation, SimulationStopped
from torch_sake.simulation.report import describe, energy_drift, heat

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('ase.md.langevinbaoab')


def simulate(out, **settings):
    simulation = Simulation(MDConfig(out=str(out), **settings))
    simulation.run()
    return simulation


def table(out):
    with open(out / 'log.csv', newline='') as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_constant_energy(checkpoint, molecule_file, tmp_path):
    spreads = []
    for timestep in (0.5, 0.25):
        out = tmp_path / str(timestep)
        simulation = simulate(out, checkpoint=checkpoint('run'),
                              structure=molecule_file, ensemble='nve',
                              num_steps=int(40 / timestep), interval=1,
                              timestep=timestep)
        rows = simulation.records.rows()
        assert rows['time [fs]'][-1] == 40
        energy = numpy.array(rows['total energy [eV]'])
        spreads.append(energy.std())
        assert numpy.ptp(rows['potential energy [eV]']) > 100 * energy.std()
    # The error of velocity Verlet goes with the square of the time step.
    assert 3 < spreads[0] / spreads[1] < 5
    momentum = simulation.atoms.get_momenta().sum(axis=0)
    assert numpy.abs(momentum).max() < 1e-10
    assert rows['temperature [K]'][0] == pytest.approx(300)
    trajectory = ase_io.read(out / 'trajectory.extxyz', ':')
    assert len(trajectory) == len(rows['step']) == 161
    last = ase_io.read(out / 'last.extxyz')
    assert numpy.allclose(last.positions, trajectory[-1].positions, atol=1e-7)
    assert trajectory[7].get_potential_energy() == pytest.approx(
        rows['potential energy [eV]'][7], abs=1e-7)


@pytest.mark.slow
def test_heat_bath(checkpoint, crystal_file, tmp_path):
    simulation = simulate(tmp_path / 'md', checkpoint=checkpoint('run'),
                          structure=crystal_file, num_steps=600, timestep=1.0,
                          interval=5, temperature=500.0, friction=50.0)
    temperature = simulation.records.rows()['temperature [K]'][40:]
    assert 350 < numpy.mean(temperature) < 650


@pytest.mark.slow
def test_constant_pressure(checkpoint, crystal_file, tmp_path):
    volumes = {}
    for pressure in (0.0, 20.0):
        simulation = simulate(tmp_path / str(pressure), timestep=1.0,
                              checkpoint=checkpoint('run'), ensemble='npt',
                              structure=crystal_file, num_steps=150,
                              interval=10, pressure=pressure)
        rows = simulation.records.rows()
        volumes[pressure] = rows['volume [Angstrom^3]'][-1]
        # With that of the motion, of two thirds of the kinetic energy:
        kinetic = 2 * rows['kinetic energy [eV]'][-1] / (
            3 * volumes[pressure])
        stress = simulation.atoms.get_stress()
        assert rows['pressure [GPa]'][-1] == pytest.approx(
            160.21766 * (kinetic - stress[:3].mean()), rel=1e-6)
        cell = simulation.atoms.cell.cellpar()
        assert cell[:3] == pytest.approx(cell[0]) and (
            cell[3:] == pytest.approx(90.0))
    assert volumes[20.0] < 0.98 * volumes[0.0]


@pytest.mark.parametrize('ensemble, isotropic, format', [
    ('nve', True, 'extxyz'), ('langevin', True, 'traj'),
    ('npt', True, 'extxyz'), ('npt', False, 'traj')])
def test_goes_on_as_if_it_had_not_been_stopped(
        checkpoint, crystal_file, tmp_path, ensemble, isotropic, format,
        monkeypatch):
    settings = dict(checkpoint=checkpoint('run'), structure=crystal_file,
                    ensemble=ensemble, isotropic=isotropic, format=format,
                    interval=3)
    whole = simulate(tmp_path / 'whole', num_steps=30, **settings)

    simulate(tmp_path / 'parts', num_steps=11, **settings)
    # Something more was written after the last state:
    stopped = Simulation(MDConfig(out=str(tmp_path / 'parts'), num_steps=20,
                                  resume=True, **settings))
    monkeypatch.setattr(module, 'SECONDS_BETWEEN_SAVES', 1e9)
    advance = stopped._advance

    def killed():
        if stopped.step == 17:
            raise MemoryError
        advance()

    stopped._advance = killed
    with pytest.raises(MemoryError):
        stopped.run()
    assert len(table(tmp_path / 'parts')) == 6  # steps 0 to 15
    with open(tmp_path / 'parts' / f'trajectory.{format}', 'ab') as file:
        file.write(b'8\nhalf a fra')
    parts = simulate(tmp_path / 'parts', num_steps=30, resume=True, **settings)

    assert numpy.array_equal(parts.atoms.positions, whole.atoms.positions)
    assert numpy.array_equal(parts.atoms.cell.array, whole.atoms.cell.array)
    logs = [(tmp_path / part / 'log.csv').read_bytes()
            for part in ('parts', 'whole')]
    assert logs[0] == logs[1]
    assert len(table(tmp_path / 'whole')) == 11
    frames = [ase_io.read(tmp_path / part / f'trajectory.{format}', ':')
              for part in ('parts', 'whole')]
    assert len(frames[0]) == len(frames[1]) == 11
    for one, other in zip(*frames):
        assert numpy.allclose(one.positions, other.positions)


def test_goes_on_with_constraints_digit_by_digit(checkpoint, molecule_file,
                                                 tmp_path):
    from ase.constraints import FixedPlane
    atoms = ase_io.read(molecule_file)
    atoms.set_constraint(FixedPlane([0, 1, 2], [1, 2, 3]))
    atoms.write(tmp_path / 'first.traj')
    settings = dict(checkpoint=checkpoint('run'), ensemble='nve',
                    structure=str(tmp_path / 'first.traj'))
    whole = simulate(tmp_path / 'whole', num_steps=9, **settings)
    simulate(tmp_path / 'parts', num_steps=4, **settings)
    parts = simulate(tmp_path / 'parts', num_steps=9, resume=True, **settings)
    assert numpy.array_equal(parts.atoms.positions, whole.atoms.positions)
    assert numpy.array_equal(parts.atoms.get_momenta(),
                             whole.atoms.get_momenta())


def test_precision(checkpoint, molecule_file, tmp_path):
    energies = []
    for precision in (None, 'float64', 'float32'):
        simulation = Simulation(MDConfig(
            checkpoint('run'), structure=molecule_file, precision=precision,
            out=str(tmp_path / str(precision))))
        energies.append(simulation.atoms.get_potential_energy())
    assert energies[0] == energies[1] != energies[2]
    assert energies[2] == pytest.approx(energies[0], abs=1e-5)


def test_a_simulation_that_follows_has_other_kicks(checkpoint, crystal_file,
                                                   tmp_path):
    r"""The same ones again would heat up what they have met before."""
    structure, kicks = crystal_file, []
    for index in range(3):
        out = tmp_path / str(index)
        simulation = simulate(out, checkpoint=checkpoint('run'), num_steps=1,
                              structure=structure)
        kicks.append(simulation.rng.normal(size=50))
        structure = str(out / 'last.extxyz')
    again = simulate(tmp_path / 'again', checkpoint=checkpoint('run'),
                     num_steps=1, structure=crystal_file)
    assert numpy.array_equal(again.rng.normal(size=50), kicks[0])
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert abs(numpy.corrcoef(kicks[one], kicks[other])[0, 1]) < 0.5


def test_first_step_of_one_that_follows(checkpoint, crystal_file, tmp_path,
                                        monkeypatch):
    drawn = []

    class Generator(numpy.random.Generator):
        def standard_normal(self, *args, **kwargs):
            drawn.append(super().standard_normal(*args, **kwargs))
            return drawn[-1]

        def normal(self, *args, **kwargs):
            drawn.append(super().normal(*args, **kwargs))
            return drawn[-1]

    monkeypatch.setattr(numpy.random, 'default_rng', lambda seed: Generator(
        numpy.random.PCG64(seed)))
    simulate(tmp_path / 'a', checkpoint=checkpoint('run'), num_steps=1,
             structure=crystal_file)
    velocities = drawn[0].flatten()
    drawn.clear()
    simulate(tmp_path / 'b', checkpoint=checkpoint('run'), num_steps=1,
             structure=str(tmp_path / 'a' / 'last.extxyz'))
    kick = drawn[0].flatten()
    assert kick.shape == velocities.shape
    assert abs(numpy.corrcoef(kick, velocities)[0, 1]) < 0.6


def test_rest(checkpoint, molecule_file, tmp_path):
    simulation = simulate(tmp_path / 'md', checkpoint=checkpoint('run'),
                          structure=molecule_file, ensemble='nve',
                          temperature=0, num_steps=2, interval=1)
    rows = simulation.records.rows()
    assert rows['temperature [K]'][0] == 0 < rows['temperature [K]'][-1]
    with pytest.raises(ValueError, match="'temperature' must be positive"):
        MDConfig('run', temperature=0.0)


def test_fewer_steps_than_are_done(checkpoint, molecule_file, tmp_path):
    settings = dict(checkpoint=checkpoint('run'), structure=molecule_file)
    simulate(tmp_path / 'md', num_steps=3, **settings)
    with pytest.raises(ValueError, match="'num_steps' must be at least 3"):
        Simulation(MDConfig(out=str(tmp_path / 'md'), resume=True,
                            num_steps=2, **settings))


def test_nothing_moves(checkpoint, molecule_file, tmp_path):
    from ase.constraints import FixAtoms
    atoms = ase_io.read(molecule_file)
    atoms.set_constraint(FixAtoms(range(len(atoms))))
    atoms.write(tmp_path / 'fixed.traj')
    with pytest.raises(ValueError, match='an atom that can move'):
        Simulation(MDConfig(checkpoint('run'), out=str(tmp_path / 'md'),
                            structure=str(tmp_path / 'fixed.traj')))


def test_seed(checkpoint, molecule_file, tmp_path):
    last = []
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        simulation = simulate(tmp_path / name, checkpoint=checkpoint('run'),
                              structure=molecule_file, num_steps=5, seed=seed)
        last.append(simulation.atoms.positions)
    assert numpy.array_equal(last[0], last[1])
    assert not numpy.allclose(last[0], last[2])


@pytest.mark.parametrize('name', ['CH3CH2OH', 'O2', 'H', 'Si'])
def test_first_velocities(checkpoint, tmp_path, name):
    build = pytest.importorskip('ase.build')
    atoms = build.bulk('Si', cubic=True) if name == 'Si' else (
        build.molecule(name))
    atoms.write(tmp_path / 'first.extxyz')
    atoms = Simulation(MDConfig(
        checkpoint('run'), structure=str(tmp_path / 'first.extxyz'),
        out=str(tmp_path / 'md'))).atoms
    assert numpy.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-10
    assert atoms.get_temperature() == pytest.approx(
        0 if name == 'H' else 300)
    # Only a molecule that can turn around all axes is kept from it:
    turns = numpy.abs(atoms.get_angular_momentum()).max() > 1e-3
    assert turns == (name in ('O2', 'Si'))


def test_velocities_of_the_structure_are_kept(checkpoint, molecule_file,
                                              tmp_path):
    first = simulate(tmp_path / 'a', checkpoint=checkpoint('run'), num_steps=7,
                     structure=molecule_file, ensemble='nve')
    second = Simulation(MDConfig(
        checkpoint('run'), structure=str(tmp_path / 'a' / 'last.extxyz'),
        out=str(tmp_path / 'b')))
    assert numpy.allclose(second.atoms.get_momenta(),
                          first.atoms.get_momenta(), atol=1e-7)


def test_not_a_number(checkpoint, molecule_file, tmp_path):
    simulation = Simulation(MDConfig(
        checkpoint('run'), structure=molecule_file, out=str(tmp_path / 'md'),
        ensemble='nve', num_steps=50, interval=5))
    advance = simulation._advance

    def broken():
        if simulation.step == 12:
            simulation.good = simulation.atoms.positions.copy()
            weight = simulation.calculator.evaluator.potential.model.embedding
            with torch.no_grad():
                weight.weight[8] = torch.nan
        advance()

    simulation._advance = broken
    with pytest.raises(SimulationStopped, match='force on atom . is not '
                       'finite.*after step 12.*last.extxyz'):
        simulation.run()
    last = ase_io.read(tmp_path / 'md' / 'last.extxyz')
    assert numpy.allclose(last.positions, simulation.good, atol=1e-7)
    assert len(table(tmp_path / 'md')) == 3
    assert len(ase_io.read(tmp_path / 'md' / 'trajectory.extxyz', ':')) == 3


@pytest.mark.slow
def test_uncertainty(checkpoint, molecule_file, tmp_path):
    paths = [checkpoint('a', 0), checkpoint('b', 1)]
    # Atoms far apart, of which little is felt, on their way to each other:
    atoms = ase_io.read(molecule_file)
    atoms.positions *= 2.0
    atoms.set_velocities(-0.1 * atoms.positions)
    path = str(tmp_path / 'collapse.extxyz')
    atoms.write(path)
    settings = dict(checkpoint=paths, structure=path, interval=7,
                    ensemble='nve')
    simulation = simulate(tmp_path / 'free', num_steps=100, **settings)
    column = 'uncertainty of forces [eV/Angstrom]'
    before = simulation.records.rows()[column]
    assert min(before) > 0 and max(before) > 1.05 * before[0]
    with pytest.raises(SimulationStopped, match='uncertainty of .* at step 0'):
        simulate(tmp_path / 'a', max_force_std=0.9 * before[0], **settings)
    limit = 0.5 * (before[0] + max(before))
    with pytest.raises(SimulationStopped, match='force on atom .* at step'):
        simulate(tmp_path / 'b', max_force_std=limit, num_steps=100,
                 **settings)
    rows = table(tmp_path / 'b')
    assert float(rows[-1][column]) > limit
    assert all(float(row[column]) <= limit for row in rows[:-1])
    assert len(ase_io.read(tmp_path / 'b' / 'trajectory.extxyz', ':')) == len(
        rows)
    again = Simulation(MDConfig(out=str(tmp_path / 'b'), num_steps=100,
                                resume=True, **settings))
    assert again.step == int(rows[-1]['step'])
    assert again.records.num_frames == len(rows)


def test_bad_input(checkpoint, molecule_file, crystal_file, tmp_path):
    path = checkpoint('run')
    with pytest.raises(ValueError, match="'structure' must be a file"):
        Simulation(MDConfig(path, structure='absent.xyz'))
    (tmp_path / 'bad.xyz').write_text('2\n\nH 0 0 0\n')
    with pytest.raises(ValueError, match="bad.xyz', frame 0: The file cannot "
                       'be read: A frame of 2 atoms'):
        Simulation(MDConfig(path, structure=str(tmp_path / 'bad.xyz')))
    (tmp_path / 'none.xyz').write_text('0\n\n')
    with pytest.raises(ValueError, match="'structure' must have atoms"):
        Simulation(MDConfig(path, structure=str(tmp_path / 'none.xyz')))
    atoms = ase_io.read(crystal_file)
    atoms.pbc = [True, True, False]
    atoms.write(tmp_path / 'slab.extxyz')
    for file in (molecule_file, str(tmp_path / 'slab.extxyz')):
        with pytest.raises(ValueError, match="'ensemble' must not be 'npt'"):
            Simulation(MDConfig(path, structure=file, ensemble='npt'))
    with pytest.raises(ValueError, match="'max_force_std' needs several"):
        Simulation(MDConfig(path, structure=molecule_file, max_force_std=1.0))
    with pytest.raises(ValueError, match="'max_force_std' must be positive"):
        MDConfig([path, path], max_force_std=0.0)
    with pytest.raises(ValueError, match="'pressure' must be finite"):
        MDConfig(path, ensemble='npt', pressure=numpy.inf)
    for seed, error in ((True, TypeError), (-1, ValueError),
                        (2**63, ValueError)):
        with pytest.raises(error, match="'seed' must"):
            MDConfig(path, seed=seed)
    with pytest.raises(ValueError, match="'checkpoint' must be at least one"):
        MDConfig([])
    with pytest.raises(ValueError, match="'format' must be one of"):
        MDConfig(path, format='xyz')
    with pytest.raises(ValueError, match="'timestep' must be positive"):
        MDConfig(path, timestep=0.0)
    for settings in ({'pressure': 1.0}, {'isotropic': False}):
        with pytest.raises(ValueError, match="are settings of ensemble 'npt'"):
            MDConfig(path, ensemble='nve', **settings)
        MDConfig(path, ensemble='nve', resume=True, **settings)
    with pytest.raises(ValueError, match="'resume' needs a simulation"):
        Simulation(MDConfig(path, structure=molecule_file, resume=True))
    out = str(tmp_path / 'md')
    simulate(out, checkpoint=path, structure=molecule_file, num_steps=2)
    with pytest.raises(ValueError, match="'out' must not hold a simulation"):
        Simulation(MDConfig(path, structure=molecule_file, out=out))
    with pytest.raises(ValueError, match="'timestep' must be 0.5 "):
        Simulation(MDConfig(path, structure=molecule_file, out=out,
                            resume=True, timestep=1.0))
    with pytest.raises(ValueError, match='got other numbers'):
        Simulation(MDConfig(path, structure=crystal_file, out=out,
                            resume=True))
    from ase.constraints import FixAtoms
    for name in ('pbc', 'masses', 'constraints'):
        atoms = ase_io.read(molecule_file)
        if name == 'pbc':
            atoms.set_cell([9, 9, 9])
            atoms.pbc = True
        elif name == 'masses':
            atoms.set_masses(2 * atoms.get_masses())
        else:
            atoms.set_constraint(FixAtoms([0]))
        atoms.write(tmp_path / 'other.traj')
        with pytest.raises(ValueError, match=f'got other {name}'):
            Simulation(MDConfig(path, structure=str(tmp_path / 'other.traj'),
                                out=out, resume=True))
    tensors, description = load_checkpoint(path)
    name = next(key for key in tensors if key.startswith('potential.'))
    save_checkpoint(tmp_path / 'trained.safetensors',
                    dict(tensors, **{name: tensors[name] + 1}), description)
    with pytest.raises(ValueError, match="'checkpoint' must be "):
        Simulation(MDConfig(str(tmp_path / 'trained.safetensors'), out=out,
                            structure=molecule_file, resume=True))
    description['elements'] = [1, 6]
    save_checkpoint(tmp_path / 'other.safetensors', tensors, description)
    with pytest.raises(ValueError, match=r'atomic numbers \[8\], which'):
        Simulation(MDConfig(str(tmp_path / 'other.safetensors'),
                            structure=molecule_file,
                            out=str(tmp_path / 'new'))).run()


@pytest.mark.skipif(sys.platform == 'win32', reason='POSIX signals')
@pytest.mark.slow
def test_kill(checkpoint, molecule_file, tmp_path, wait_until):
    path, out = checkpoint('run'), tmp_path / 'md'
    command = [sys.executable, '-c', 'from torch_sake.cli import main; '
               'import sys; sys.exit(main())', 'md', '--checkpoint', path,
               '--structure', molecule_file, '--out', str(out), '--num_steps',
               '100000', '--interval', '1', '--compile', 'false']
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(process, (out / 'log.csv').exists)
    time.sleep(1.0)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    simulation = Simulation(MDConfig(path, structure=molecule_file, interval=1,
                                     out=str(out), num_steps=30, resume=True))
    simulation.run()
    assert [int(row['step']) for row in table(out)][:31] == list(range(31))
    process = subprocess.Popen([*command, '--resume'],
                               stderr=subprocess.DEVNULL)
    size = os.path.getsize(out / 'log.csv')
    wait_until(process, lambda: os.path.getsize(out / 'log.csv') > size)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    rows = table(out)
    assert [int(row['step']) for row in rows] == list(range(len(rows)))
    assert (out / 'md.png').exists()


def test_no_drift_from_two_points():
    rows = {'time [fs]': [0.0, 10.0], 'total energy [eV]': [1.0, 2.0]}
    assert energy_drift(rows, 1) == {'drift': 0.0, 'fluctuation': 0.0,
                                     'largest': 0.0}


def test_drift():
    time = numpy.arange(100.0) * 1000
    energy = 3.0 + 2e-5 * time / 1000 + 1e-4 * (-1)**numpy.arange(100)
    rows = {'time [fs]': time, 'total energy [eV]': energy,
            'temperature [K]': [300.0, 310.0] * 50}
    drift = energy_drift(rows, num_atoms=10)
    assert drift['drift'] == pytest.approx(0.2, abs=1e-3)
    assert drift['fluctuation'] == pytest.approx(0.01, rel=0.01)
    assert 'drift 0.199' in describe(rows, 10, True)
    text = describe(rows, 10, False)
    assert '305.0 +- 5.0 K' in text and 'trusted' not in text
    rows['temperature [K]'][7] = 10001.0
    assert 'has been 10001 K' in heat(rows)[0]
    # Whoever asks for a report has it as an error:
    assert 'trusted' not in describe(rows, 10, False)


@pytest.mark.compile
@pytest.mark.slow
def test_goes_on_compiled_or_not_as_it_began(checkpoint, molecule_file,
                                             tmp_path):
    settings = dict(out=str(tmp_path / 'md'), checkpoint=checkpoint('run'),
                    structure=molecule_file)
    simulate(num_steps=2, **settings)
    settings['resume'] = True
    assert not Simulation(MDConfig(num_steps=20_000, **settings)).compiled
    assert Simulation(MDConfig(num_steps=20_000, compile=True,
                               **settings)).compiled
    settings.update(out=str(tmp_path / 'other'), resume=False)
    assert Simulation(MDConfig(num_steps=20_000, **settings)).compiled


def test_what_a_state_counts_is_on_the_disk_before_it(
        checkpoint, molecule_file, tmp_path, monkeypatch):
    synced, fsync = [], os.fsync  # by inode, as temporary names change

    def record(descriptor):
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', record)
    simulate(tmp_path / 'md', checkpoint=checkpoint('run'), num_steps=2,
             structure=molecule_file)
    last = {inode: number for number, inode in enumerate(synced)}
    order = [last[os.stat(tmp_path / 'md' / name).st_ino]
             for name in ('trajectory.extxyz', 'log.csv', 'restart.npz')]
    assert order == sorted(order)


def test_leftovers_of_a_kill(checkpoint, molecule_file, tmp_path):
    settings = dict(out=str(tmp_path / 'md'), checkpoint=checkpoint('run'),
                    structure=molecule_file)
    simulate(num_steps=2, **settings)
    for name in ('restart.npz', 'last.extxyz', 'log.csv', 'mine'):
        (tmp_path / 'md' / f'.incomplete-{name}-x').mkdir()
    Simulation(MDConfig(num_steps=4, resume=True, **settings))
    assert [path.name for path in (tmp_path / 'md').glob('.*')] == [
        '.incomplete-mine-x']
