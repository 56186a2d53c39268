"""What an ensemble says of its own errors, in the trajectory."""

import numpy
import pytest

import torch_sake.simulation.molecular_dynamics as module
from torch_sake import Ensemble, load_potential
from torch_sake.calculators.ase import SAKECalculator
from torch_sake.simulation import MDConfig, Simulation
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
