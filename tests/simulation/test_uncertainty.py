"""What an ensemble says of its own errors, in the trajectory."""

import numpy
import pytest
import torch

import torch_sake.simulation.molecular_dynamics as module
from torch_sake import Ensemble, load_potential
from torch_sake.calculators.ase import SAKECalculator
from torch_sake.checkpoint import load_checkpoint
from torch_sake.evaluation.fit_uncertainty import write_uncertainty
from torch_sake.potentials.uncertainty import Rigidity, factorize
from torch_sake.simulation import MDConfig, Simulation, SimulationStopped
from torch_sake.simulation.records import Records
from torch_sake.simulation.report import UNCERTAINTY, describe

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('ase.md.langevinbaoab')


def simulate(out, **settings):
    simulation = Simulation(MDConfig(out=str(out), interval=2, **settings))
    simulation.run()
    return simulation


def std_of(atoms):
    return {**atoms.info, **atoms.arrays}['forces_std']


@pytest.mark.parametrize('format', ['extxyz', 'traj'])
def test_trajectory_has_uncertainties(checkpoint, molecule_file, tmp_path,
                                      format, monkeypatch):
    """Those of its own structures, also of what goes on."""
    monkeypatch.setattr(module, 'SECONDS_BETWEEN_SAVES', -1.0)  # each step
    settings = dict(checkpoint=[checkpoint('a', 0), checkpoint('b', 1)],
                    structure=molecule_file, format=format, compile=False)
    whole = simulate(tmp_path / 'whole', num_steps=8, **settings)
    part = Simulation(MDConfig(out=str(tmp_path / 'part'), interval=2,
                               num_steps=8, **settings))

    def stop(dynamics=part.dynamics.run):
        def run(steps):
            if part.step == 5:
                raise KeyboardInterrupt
            return dynamics(steps)
        return run

    part.dynamics.run = stop()
    with pytest.raises(KeyboardInterrupt):
        part.run()
    assert int(part.records.num_frames) == 3
    simulate(tmp_path / 'part', num_steps=8, resume=True, **settings)
    rows = whole.records.rows()
    ensemble = Ensemble([load_potential(path)
                         for path in settings['checkpoint']])
    frames = [ase_io.read(tmp_path / name / f'trajectory.{format}', ':')
              for name in ('whole', 'part')]
    assert len(frames[0]) == len(frames[1]) == 5
    for index, (atoms, other) in enumerate(zip(*frames)):
        calculator = SAKECalculator(ensemble)
        calculator.calculate(atoms)
        expected = calculator.results
        for found in (atoms, other):
            assert std_of(found) == pytest.approx(expected['forces_std'],
                                                  abs=1e-6)
            assert found.info['energy_std'] == pytest.approx(
                expected['energy_std'], abs=1e-6)
        assert numpy.linalg.norm(std_of(atoms), axis=1).max() == (
            pytest.approx(rows[UNCERTAINTY][index], abs=1e-6))
        assert 'energy' in atoms.calc.results
        assert 'forces' in atoms.calc.results
    assert numpy.ptp(rows[UNCERTAINTY]) > 1e-6
    step = rows['step'][int(numpy.argmax(rows[UNCERTAINTY]))]
    assert f'largest uncertainty of forces [eV/Angstrom]: ' \
        f'{max(rows[UNCERTAINTY]):.4g}, at step {step:.0f}' in describe(
            rows, 9, False)


def test_one_potential_has_none(checkpoint, molecule_file, tmp_path):
    """Nor that of the structure it starts from."""
    atoms = ase_io.read(molecule_file)
    atoms.info['energy_std'] = 1.0
    atoms.arrays['forces_std'] = atoms.positions.copy()
    path = str(tmp_path / 'start.extxyz')
    atoms.write(path)
    simulation = simulate(tmp_path / 'md', num_steps=2, structure=path,
                          checkpoint=checkpoint('a'), compile=False)
    for atoms in ase_io.read(tmp_path / 'md' / 'trajectory.extxyz', ':'):
        assert 'forces_std' not in atoms.arrays
        assert 'energy_std' not in atoms.info
    assert 'uncertainty' not in describe(simulation.records.rows(), 9, False)


@pytest.fixture
def rigid(checkpoint):
    """Writes a single checkpoint with uncertainties, of forces or without."""
    def write(name, has_forces=True):
        folder = checkpoint(name)
        rigidity = Rigidity([1, 6, 8, 14], 17, has_forces)
        f = torch.randn(4, 60, 17, dtype=torch.double)
        f[..., :16] *= 0.1
        rigidity.factors = factorize(f.mT @ f, torch.full((4, ), 60.0), 1e-4)
        rigidity.scales = torch.tensor([[1e-3, 1e-4]]).double().repeat(4, 1)
        write_uncertainty(folder, rigidity)
        return folder
    return write


@pytest.mark.parametrize('format', ['extxyz', 'traj'])
def test_one_checkpoint(rigid, molecule_file, tmp_path, format):
    """Its own uncertainties, in the results, the trajectory and the log."""
    path = rigid('a')
    simulation = simulate(tmp_path / 'md', num_steps=6, format=format,
                          checkpoint=path, structure=molecule_file,
                          compile=False)
    rows = simulation.records.rows()
    frames = ase_io.read(tmp_path / 'md' / f'trajectory.{format}', ':')
    assert len(frames) == len(rows[UNCERTAINTY]) == 4
    potential = load_potential(path)
    for atoms, largest in zip(frames, rows[UNCERTAINTY]):
        out = potential.uncertainty(torch.tensor(atoms.numbers),
                                    torch.tensor(atoms.positions))
        assert numpy.linalg.norm(std_of(atoms), axis=1) == pytest.approx(
            out.forces.numpy(), rel=1e-4)
        assert largest == pytest.approx(float(out.forces.max()), rel=1e-4)
        assert atoms.info['energy_std'] == pytest.approx(
            float(out.energy), rel=1e-4)
        assert atoms.get_potential_energy() == pytest.approx(float(
            potential.energy(torch.tensor(atoms.numbers),
                             torch.tensor(atoms.positions))), abs=1e-5)
    assert 'largest uncertainty' in describe(rows, 9, False)


def test_one_checkpoint_stops(rigid, molecule_file, tmp_path):
    atoms = ase_io.read(molecule_file)
    atoms.set_velocities(-0.05 * atoms.positions)  # to where it is dense
    atoms.write(tmp_path / 'start.extxyz')
    settings = dict(checkpoint=rigid('a'), compile=False, ensemble='nve',
                    structure=str(tmp_path / 'start.extxyz'))
    free = simulate(tmp_path / 'free', num_steps=40, **settings)
    found = free.records.rows()[UNCERTAINTY]
    limit = 0.5 * (found[0] + max(found))
    assert max(found) > 1.01 * found[0]
    with pytest.raises(SimulationStopped, match='The force on atom .* has an '
                       'uncertainty of .* above'):
        simulate(tmp_path / 'limited', num_steps=40, max_force_std=limit,
                 **settings)
    records = Records(str(tmp_path / 'limited'), 'extxyz', 2,
                      load_restart(tmp_path / 'limited'))
    assert records.rows()[UNCERTAINTY][-1] > limit


def load_restart(folder):
    with numpy.load(folder / 'restart.npz') as state:
        return dict(state)


def test_what_cannot_stop(rigid, checkpoint, molecule_file, tmp_path):
    for index, path in enumerate((checkpoint('old'),
                                  rigid('energies', has_forces=False))):
        with pytest.raises(ValueError, match="'max_force_std' needs several "
                           "checkpoints, or one that has uncertainties of "
                           "forces .*has none"):
            Simulation(MDConfig(path, structure=molecule_file,
                                out=str(tmp_path / str(index)),
                                max_force_std=1.0))
    simulation = simulate(tmp_path / 'md', num_steps=2, checkpoint=path,
                          structure=molecule_file, compile=False)
    assert UNCERTAINTY not in simulation.records.rows()


def test_uncertainties_that_are_fitted_anew(rigid, checkpoint, molecule_file,
                                            tmp_path):
    """Atoms do not feel them: a simulation goes on. Its log cannot get or lose
    their column."""
    out = tmp_path / 'md'
    settings = dict(structure=molecule_file, compile=False)
    path = rigid('a')
    simulate(out, num_steps=2, checkpoint=path, **settings)
    before = load_checkpoint(path)[0]
    torch.manual_seed(1)
    rigidity = Rigidity([1, 6, 8, 14], 17)
    rigidity.factors = before['potential.rigidity.factors'].clone()
    rigidity.scales = 2.0 * before['potential.rigidity.scales']
    write_uncertainty(path, rigidity)
    rows = simulate(out, num_steps=4, checkpoint=path, resume=True,
                    **settings).records.rows()
    assert rows['step'] == [0, 2, 4]
    assert rows[UNCERTAINTY][2] > 1.5 * rows[UNCERTAINTY][1]
    plain = checkpoint('b')  # with the weights of the other one
    with pytest.raises(ValueError, match='needs a checkpoint with uncert'):
        Simulation(MDConfig(plain, out=str(out), interval=2, num_steps=6,
                            resume=True, **settings))
    with pytest.raises(ValueError, match="'checkpoint' must be"):
        Simulation(MDConfig(checkpoint('c', seed=1), out=str(out), interval=2,
                            num_steps=6, resume=True, **settings))


def test_calculator(rigid, molecule_file):
    atoms = ase_io.read(molecule_file)
    for has_forces in (True, False):
        path = rigid(f'a{has_forces}', has_forces)
        for source in (path, load_potential(path)):
            atoms.calc = SAKECalculator(source)
            atoms.get_forces()
            assert atoms.calc.results['energy_std'] > 0
            assert ('forces_std' in atoms.calc.results) is has_forces
