import json
import os
import sys

import numpy as np
import pytest

from torch_sake.datasets import processes as processes_module
from torch_sake.datasets import xtb_frames
from torch_sake.datasets.frames import xtb, xtb_process, xtb_walker
from torch_sake.datasets.frames.xtb_walker import Walker

pytest.importorskip('ase')
pytest.importorskip('tblite.ase')

NAME = 'gfn2-xtb_H2O_400K_{}frames_2walkers_seed3'


def water(root, num_frames=7, **options):
    options = {'temperature': 400, 'seed': 3, 'num_walkers': 2, **options}
    return xtb_frames('water', num_frames, root=root, **options)


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    root = tmp_path_factory.mktemp('cache')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'cpu_count', lambda: 2)
        water(root)
    return root


@pytest.fixture
def no_walkers(monkeypatch):
    def fail(walkers, save):
        pytest.fail(f'walkers were started: {walkers}')

    monkeypatch.setattr(xtb, 'run_walkers', fail)


def run_walker(*args):
    reports = []
    arrays = xtb_walker.run_walker(Walker(*args), lambda: reports.append(1))
    assert len(reports) == len(arrays['energy'])
    return arrays


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(xtb_walker, 'EQUILIBRATION', 20)
    monkeypatch.setattr(xtb_walker, 'INTERVAL', 5)


def test_xtb_frames(cache, no_walkers):
    from ase import Atoms
    from tblite.ase import TBLite

    frames = water(cache)
    assert len(frames) == 7
    assert frames.name == 'water'
    assert frames.source == 'xtb:water'
    assert frames.units == {'length': 'Angstrom', 'energy': 'eV'}
    for data in frames:
        atoms = Atoms(data.z.numpy(), data.pos.numpy())
        assert str(atoms.symbols) == 'OH2'
        assert np.abs(atoms.get_center_of_mass()).max() < 1e-10
        atoms.calc = TBLite(method='GFN2-xTB', verbosity=0)
        assert abs(atoms.get_potential_energy() - data.energy.item()) < 1e-5
        assert np.abs(atoms.get_forces() - data.force.numpy()).max() < 1e-2
        assert data.force.abs().max() > 0.1
    assert len(frames.energy.unique()) == 7

    # Walkers are removed once they are put together.
    assert os.listdir(cache) == [NAME.format(7) + '.npz']
    stored = np.load(cache / os.listdir(cache)[0])
    assert stored['pos'].shape == (7, 3, 3)
    assert str(stored['tblite_version'])[:2] in ('0.', '1.')


def test_xtb_frames_damaged_files(cache, tmp_path, no_walkers):
    name = NAME.format(7) + '.npz'
    content = (cache / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-200])
    with pytest.raises(ValueError, match=f'{name}.*not a complete.*Delete'):
        water(tmp_path)

    arrays = dict(np.load(cache / name))
    metadata = json.loads(str(arrays.pop('metadata')))
    metadata['walkers'][0]['timestep'] = 2.0
    np.savez(tmp_path / name, metadata=json.dumps(metadata), **arrays)
    with pytest.raises(ValueError, match=f'{name}.*generated differently.*'
                       'Delete'):
        water(tmp_path)


@pytest.mark.slow
def test_xtb_frames_continues(cache, tmp_path, monkeypatch):
    r"""One process instead of two, interrupted after the first walker."""
    monkeypatch.setattr(os, 'cpu_count', lambda: 1)
    first = tmp_path / (NAME.format(7) + '_walker0.npz')
    sleep = processes_module.time.sleep
    popen = processes_module.subprocess.Popen
    processes = []

    def interrupt(seconds):
        sleep(seconds)
        if first.exists():
            raise KeyboardInterrupt

    def start(*args, **kwargs):
        processes.append(popen(*args, **kwargs))
        return processes[-1]

    monkeypatch.setattr(processes_module.subprocess, 'Popen', start)
    with monkeypatch.context() as patch:
        patch.setattr(processes_module.time, 'sleep', interrupt)
        with pytest.raises(KeyboardInterrupt):
            water(tmp_path)
    # Only the first is sure to have ended by itself.
    assert all(process.poll() is not None for process in processes)
    processes.clear()
    assert os.listdir(tmp_path) == [first.name]

    frames, expected = water(tmp_path), water(cache)
    started = [json.loads(process.args[-2]) for process in processes]
    assert [walker['index'] for walker in started] == [1]
    for key in ('z', 'pos', 'energy', 'force'):
        assert getattr(frames, key).equal(getattr(expected, key))


def test_xtb_frames_failure(tmp_path):
    with pytest.raises(RuntimeError, match=r"^Walker 0 of 'H2O' .* step \d+"):
        xtb_frames('water', 100, temperature=50_000, num_walkers=1,
                   root=tmp_path)
    assert os.listdir(tmp_path) == []


def test_run_walker(short):
    arrays = run_walker('CH4', 4, 300.0, 0, 0)
    assert arrays['pos'].shape == arrays['force'].shape == (4, 5, 3)
    # More frames continue the same trajectory, other seeds and walkers do not.
    longer = run_walker('CH4', 6, 300.0, 0, 0)
    assert np.array_equal(longer['pos'][:4], arrays['pos'])
    for seed, index in ((1, 0), (0, 1)):
        other = run_walker('CH4', 4, 300.0, seed, index)
        assert not np.isclose(other['energy'], arrays['energy']).any()


@pytest.mark.slow
def test_run_walker_temperature(short, monkeypatch):
    r"""The virial of the relative positions is 3 (n - 1) kT."""
    from ase.units import kB

    # Strong friction for many independent frames in a short time.
    monkeypatch.setattr(xtb_walker, 'FRICTION', 0.1)
    monkeypatch.setattr(xtb_walker, 'EQUILIBRATION', 200)
    arrays = run_walker('HCl', 400, 500.0, 0, 0)
    virial = -(arrays['pos'] * arrays['force']).sum((1, 2)).mean()
    assert abs(virial / (3 * kB) - 500.0) < 150.0


@pytest.mark.parametrize('options,match', [
    ({'molecule': 'etanol'}, "got 'etanol', did you mean .*'ethanol'"),
    ({'molecule': 'xyzzy'}, "'acetone'.*got 'xyzzy'"),
    ({'molecule': 'H'}, "more than one atom"),
    ({'temperature': -1.0}, "'temperature' must be positive"),
    ({'num_frames': 0}, "'num_frames' must be at least 1"),
    ({'num_walkers': 0}, "'num_walkers' must be at least 1"),
    ({'num_walkers': 9, 'num_frames': 8}, "'num_walkers' must be at most"),
    ({'seed': -1}, "'seed' must lie"),
    ({'seed': 1.5}, "'seed' must be"),
])
def test_xtb_frames_errors(tmp_path, options, match, no_walkers):
    with pytest.raises((TypeError, ValueError), match=match):
        xtb_frames(root=tmp_path, **options)


def test_xtb_frames_names(tmp_path, monkeypatch):
    r"""The cache is found by the variable and by both names of a molecule."""
    from ase.build import molecule

    for formula in xtb.FORMULAS.values():
        assert len(molecule(formula)) > 1

    arrays = {'z': np.array([8, 1, 1]), 'pos': np.zeros((1, 3, 3)),
              'energy': np.array([-5.0]), 'force': np.zeros((1, 3, 3)),
              'tblite_version': np.array('0.8.0')}
    metadata = {'walkers': [Walker('H2O', 1, 500.0, 0, 0).metadata()]}
    np.savez(tmp_path / 'gfn2-xtb_H2O_500K_1frames_1walkers_seed0.npz',
             metadata=json.dumps(metadata), **arrays)
    monkeypatch.setenv('TORCH_SAKE_CACHE', str(tmp_path))
    for name in ('water', 'H2O'):
        frames = xtb_frames(name, 1, num_walkers=1)
        assert frames.energy.tolist() == [-5.0]
        assert frames.source == f'xtb:{name}'


def test_xtb_frames_without_packages(tmp_path, monkeypatch):
    monkeypatch.setattr(xtb_process, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match=r'tblite .*torch-sake\[train\]'):
        water(tmp_path)
    monkeypatch.setitem(sys.modules, 'ase.build', None)
    with pytest.raises(ImportError, match=r'ASE: .*torch-sake\[train\]'):
        water(tmp_path)


def test_ions_and_radicals(tmp_path, short):
    """As tblite has them: of another energy, and with what they are."""
    from ase.build import molecule
    from tblite.ase import TBLite

    # Walkers in this process, where steps are few:
    def run(walkers, save):
        for part, walker in walkers.items():
            save(part, xtb_walker.run_walker(walker, lambda: None))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xtb, 'run_walkers', run)
        for state, expected in ((dict(charge=1), (1, 2)),
                                (dict(spin=1), (0, 1))):
            frames = water(tmp_path, 2, **state)
            atoms = molecule('H2O')
            atoms.positions = frames[1].pos
            atoms.calc = TBLite(method='GFN2-xTB', verbosity=0,
                                charge=expected[0], multiplicity=expected[1])
            assert atoms.get_potential_energy() == pytest.approx(
                float(frames[1].energy), abs=1e-6)
            assert frames.info(1) == dict(zip(('charge', 'spin'), expected))
        with pytest.raises(RuntimeError, match='no bonds when it is relaxed'):
            water(tmp_path, 2, spin=3)
    assert len(list(tmp_path.glob('*_charge*_spin*.npz'))) == 2
    for wrong, error, match in (
            (dict(charge=0.5), TypeError, "'charge' must be an integer"),
            (dict(charge=10), ValueError, "'charge' must leave electrons"),
            (dict(charge=1, spin=1), ValueError,
             r"'spin' must be a multiplicity of 9 electrons \(got 1\)")):
        with pytest.raises(error, match=match):
            water(tmp_path, 2, **wrong)
