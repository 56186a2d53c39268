"""Runs whose data have changed, or have something in them that was not
learned, and runs that go wrong.
"""

import json
import os
import shutil

import numpy
import pytest

from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('jsonargparse')
pytest.importorskip('matplotlib')


@pytest.fixture
def train(small, tmp_path):
    def run(data, *arguments):
        return main(['train', '--data', data, '--out', str(tmp_path / 'run'),
                     *small, *arguments])
    return run


def scale_labels(frames):
    for atoms in frames:
        atoms.calc.results['energy'] *= 23.06
        atoms.calc.results['forces'] *= 23.06
    return frames


def scale_some_labels(frames):
    scale_labels(frames[1::3])
    return frames


@pytest.mark.parametrize('change', [
    scale_some_labels, scale_labels, lambda frames: frames[::-1],
    lambda frames: frames[:26]
], ids=['a few labels', 'other units', 'other order', 'fewer frames'])
@pytest.mark.slow
def test_data_that_have_changed(train, water_file, tmp_path, capsys, change):
    run = str(tmp_path / 'run')
    assert train(water_file) == 0
    before = load_checkpoint(os.path.join(run, 'last.safetensors'))
    ase_io.write(water_file, change(ase_io.read(water_file, ':')))
    capsys.readouterr()
    assert train(water_file, '--num_test', '6', '--resume') == 2
    assert "'resume' needs the" in capsys.readouterr().err
    assert train(water_file, '--resume') == 2
    after = load_checkpoint(os.path.join(run, 'last.safetensors'))
    assert after[1] == before[1]
    capsys.readouterr()
    arguments = ['evaluate', '--checkpoint', run, '--data', water_file]
    assert main(arguments) == 2
    assert "'part' must be 'all' for data other" in capsys.readouterr().err
    assert main([*arguments, '--part', 'all']) == 0


@pytest.mark.slow
def test_data_that_have_moved(train, water_file, tmp_path):
    run, moved = str(tmp_path / 'run'), str(tmp_path / 'moved.extxyz')
    assert train(water_file) == 0
    trained = json.load(open(os.path.join(run, 'test.json')))
    shutil.move(water_file, moved)
    # By default, these are measured on frames that are not fitted to:
    for part in ([], ['--part', 'test']):
        assert main(['evaluate', '--checkpoint', run, '--data', moved,
                     *part]) == 0
        path = os.path.join(run, 'evaluation', 'evaluation.json')
        assert json.load(open(path)) == trained


@pytest.mark.parametrize('part', ['val', 'test'])
def test_elements_that_are_not_learned(train, water_file, tmp_path, capsys,
                                       part):
    frames = ase_io.read(water_file, ':')
    frames[21].symbols[0] = 'S'
    ase_io.write(water_file, frames)
    split = {'train': numpy.arange(16), 'val': numpy.arange(16, 20),
             'test': numpy.arange(20, 30)}
    if part == 'val':
        split['val'], split['test'] = split['test'], split['val']
    path = str(tmp_path / 'split.npz')
    numpy.savez(path, **split)
    assert train(water_file, '--split', path) == 2
    assert (f"atomic numbers [16] in '{water_file}', frame 21, of '{part}' "
            f"only" in capsys.readouterr().err)


def test_elements_that_models_do_not_have(train, water_file, capsys):
    frames = ase_io.read(water_file, ':')
    frames[3].symbols[0] = 'Md'
    ase_io.write(water_file, frames)
    assert train(water_file) == 2
    assert 'below 100, as the models have (got 101)' in capsys.readouterr().err


def test_slabs_among_crystals_with_stresses(train, copper_file, tmp_path):
    from ase.build import fcc111
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator
    frames = ase_io.read(copper_file, ':')
    for index in range(0, 24, 4):
        slab = fcc111('Cu', (1, 1, 2))
        assert not slab.cell[2].any() and slab.pbc.tolist() == [True, True,
                                                                False]
        slab.rattle(0.1, seed=index)
        slab.calc = EMT()
        slab.calc = SinglePointCalculator(
            slab, energy=slab.get_potential_energy(),
            forces=slab.get_forces())
        frames[index] = slab
    path = str(tmp_path / 'slabs.extxyz')
    ase_io.write(path, frames)
    assert train(path, '--stress_weight', '1.0', '--cutoff', '4.0') == 0
    errors = json.load(open(tmp_path / 'run' / 'test.json'))['model']
    assert 0 < errors['stress_mae'] < 1


@pytest.mark.parametrize('interval', ['1', '3', '6'])
def test_run_that_diverges(train, water_file, tmp_path, capsys, interval):
    assert train(water_file, '--optimizer', 'adam', '--learning_rate', '1e20',
                 '--max_grad_norm', '1e30', '--val_interval', interval) == 1
    assert "a 'learning_rate' below 1e+20 may help" in capsys.readouterr().err
    assert not list(tmp_path.glob('run/*.safetensors'))


def test_forecaster_that_diverges(tmp_path, capsys):
    assert main(['dynamics', '--sizes', '[20, 8, 8]', '--num_epochs', '3',
                 '--batch_size', '4', '--root', str(tmp_path), '--out',
                 str(tmp_path / 'run'), '--learning_rate', '1e20']) == 1
    assert "a 'learning_rate' below 1e+20 may help" in capsys.readouterr().err


@pytest.mark.parametrize('arguments, message', [
    (['train', '--out', 'file'], "'file'"),
    (['train', '--device', 'toaster'], "'device' must be 'auto' or"),
    (['train', '--device', 'cuda:99'], "'device' must be one that torch"),
    (['train', '--seed', '-1'], "'seed' must lie between 0"),
    (['evaluate', '--checkpoint', 'x', '--seed', '-1'], "'seed' must lie"),
    (['md', '--checkpoint', '[]'], "'checkpoint' must be at least one"),
    (['md', '--checkpoint', 'x', '--seed', '-1'], "'seed' must lie"),
    (['dynamics', '--device', 'cuda', '--seed', '-1'], "'seed' must lie"),
], ids=str)
def test_wrong_arguments(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').write_text('')
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_settings_that_are_no_text(tmp_path, capsys):
    (tmp_path / 'run.yaml').write_bytes(bytes(range(256)))
    assert main(['train', '--config', str(tmp_path / 'run.yaml')]) == 2
    assert "'--config' must be a file of text" in capsys.readouterr().err


@pytest.mark.parametrize('error, status', [
    (MemoryError(), 1), (RuntimeError("DefaultCPUAllocator: can't allocate "
                                      "memory: you tried ..."), 1),
    (RuntimeError('a bug'), None)], ids=str)
def test_out_of_memory(monkeypatch, capsys, error, status):
    def run(config):
        raise error

    monkeypatch.setattr('torch_sake.cli.train.train', run)
    if status is None:  # is to be reported, with all that Python says of it
        with pytest.raises(RuntimeError):
            main(['train'])
    else:
        assert main(['train']) == status
        assert 'train: out of memory' in capsys.readouterr().err


@pytest.mark.slow
def test_ensemble(train, water_file, energy_file, tmp_path, capsys):
    from torch_sake import load_potential
    from torch_sake.datasets import load_frames
    runs = []
    for seed in range(2):
        assert train(water_file, '--seed', str(seed)) == 0
        runs.append(str(tmp_path / f'run-{seed}'))
        os.rename(tmp_path / 'run', runs[-1])
    several = ['evaluate', '--checkpoint', str(runs)]
    assert main(several) == 2
    assert "'data' must be given" in capsys.readouterr().err
    assert main([*several, '--data', energy_file]) == 0
    path = os.path.join(runs[0], 'ensemble', 'evaluation.json')
    energies = json.load(open(path))['model']
    assert main([*several, '--data', water_file]) == 0
    model = json.load(open(path))['model']
    assert model['energy_mae'] == pytest.approx(energies['energy_mae'])
    errors = []
    for data in load_frames(water_file):
        forces = [load_potential(run)(data.z, data.pos.float())[1].detach()
                  for run in runs]
        errors.append(sum(forces) / 2 - data.force)
    assert model['force_mae'] == pytest.approx(
        float(sum(error.abs().mean() for error in errors)) / len(errors),
        rel=1e-4)


def test_warnings_are_one_line(capsys):
    import warnings

    from torch_sake.cli import PACKAGE, format_warning
    before = warnings.formatwarning
    text = format_warning(UserWarning('Two\nlines'), UserWarning,
                          os.path.join(PACKAGE, 'files.py'), 7)
    assert text == 'torch-sake: Two lines\n'
    args = (UserWarning('a'), UserWarning, '/elsewhere/files.py', 7)
    assert format_warning(*args) == before(*args)
    assert main(['train', '--data', 'nowhere.xyz']) == 2
    assert warnings.formatwarning is before
