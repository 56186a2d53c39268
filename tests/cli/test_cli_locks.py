"""Two commands, or two calls, at a time in one folder."""

import os
import threading
from dataclasses import replace

import numpy
import pytest

import torch_sake.datasets.frames.xtb as xtb
from torch_sake.cli import main
from torch_sake.datasets import FramesOnDisk, read_frames
from torch_sake.datasets.frames.convert import write_frames
from torch_sake.utils.locks import hold_file, hold_folder

build = pytest.importorskip('ase.build')
pytest.importorskip('ase.md.langevinbaoab')
pytest.importorskip('jsonargparse')
pytest.importorskip('matplotlib')
pytest.importorskip('pytorch_lightning')

ETHANOL = os.path.join(os.path.dirname(__file__), '..', '..', 'examples',
                       'potentials', 'ethanol.safetensors')


def content(folder):
    return {name: (folder / name).read_bytes()
            for name in os.listdir(folder)}


@pytest.mark.parametrize('command', ['train', 'dynamics', 'md', 'relax',
                                     'evaluate', 'benchmark'])
def test_the_second_one_is_refused(command, water_file, tmp_path, small,
                                   capsys):
    structure = str(tmp_path / 'ethanol.xyz')
    build.molecule('CH3CH2OH').write(structure, format='extxyz')
    simulated = ['--checkpoint', ETHANOL, '--structure', structure,
                 '--num_steps', '1']
    arguments = {
        'train': ['--data', water_file, *small],
        'dynamics': ['--root', str(tmp_path / 'data'), '--sizes',
                     '[8, 4, 4]', '--num_epochs', '1'],
        'md': simulated,
        'relax': simulated,
        'evaluate': ['--checkpoint', str(tmp_path / 'run'),
                     '--data', water_file],
        'benchmark': ['--models', '[SAKE]', '--tasks', '[inference]'],
    }[command]
    if command == 'evaluate':
        assert main(['train', '--data', water_file, *small, '--out',
                     str(tmp_path / 'run')]) == 0
    out = tmp_path / 'out'
    with hold_folder(out):
        before = content(out)
        assert main([command, *arguments, '--out', str(out)]) == 2
        assert content(out) == before
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"torch-sake {command}: '{out}' must not be written to" in error
    assert f'process {os.getpid()} on' in error


def test_two_conversions(water_file, tmp_path, capsys):
    out = tmp_path / 'water.frames'
    with hold_file(out):
        assert main(['convert', '--data', water_file, '--out',
                     str(out)]) == 2
    assert f"'{out}' must not be written to by" in capsys.readouterr().err
    frames = read_frames(water_file)

    def blocks():
        with pytest.raises(ValueError, match='must not be written to by two'):
            write_frames(iter([frames]), out)
        yield frames

    write_frames(blocks(), out)
    assert len(FramesOnDisk(out)) == 30


def test_frames_are_generated_once(tmp_path, monkeypatch):
    """The second call waits for the first and has its frames."""
    calls, started = [], threading.Event()

    def run_walkers(walkers, save):
        calls.append(walkers)
        started.set()
        second.join(0.5)  # it has time to do the same
        for name, walker in walkers.items():
            save(name, {'z': numpy.array([8, 1, 1]),
                        'pos': numpy.ones((walker.num_frames, 3, 3)),
                        'energy': numpy.ones(walker.num_frames),
                        'force': numpy.ones((walker.num_frames, 3, 3)),
                        'tblite_version': numpy.array('0')})

    monkeypatch.setattr(xtb, 'run_walkers', run_walkers)
    frames = []

    def generate():
        frames.append(xtb.xtb_frames('water', 4, num_walkers=2,
                                     root=tmp_path))

    def generate_later():
        started.wait()
        generate()

    second = threading.Thread(target=generate_later)
    second.start()
    generate()
    second.join()
    assert [len(part) for part in frames] == [4, 4] and len(calls) == 1
    assert len(os.listdir(tmp_path)) == 1


def test_a_training_run_has_its_folder(water_file, tmp_path):
    from pytorch_lightning import Callback

    from torch_sake.training import TrainConfig, Trainer
    config = TrainConfig(data=water_file, num_train=16, num_val=4,
                         out=str(tmp_path / 'run'), num_steps=6, batch_size=4,
                         val_interval=2, hidden_channels=8, num_layers=1,
                         num_rbf=4)
    refused = []

    class Second(Callback):
        def on_train_batch_end(self, trainer, module, *args):
            resume = os.path.exists(tmp_path / 'run' / 'last.safetensors')
            for run in (lambda: Trainer(replace(config, resume=resume)),
                        other.fit):
                with pytest.raises(ValueError, match=f"'{config.out}' must "
                                   f"not be written to by two"):
                    run()
                refused.append(module.step)
            if module.step == 3:
                raise KeyError

    trainer, other = Trainer(config), Trainer(config)
    with pytest.raises(KeyError):
        trainer.fit([Second()])
    assert refused == [1, 1, 2, 2, 3, 3]
    # Whoever comes next goes on from there, in the same process, too.
    assert Trainer(replace(config, resume=True)).step == 2
    other.fit()
    assert other.step == 6 and [row['step'] for row in other.history] == [
        2, 4, 6]
    assert '.lock' not in os.listdir(tmp_path / 'run')


def test_a_run_without_its_best_checkpoint(water_file, tmp_path, small,
                                           capsys):
    out = tmp_path / 'run'
    arguments = ['train', '--data', water_file, '--out', str(out), *small]
    assert main(arguments) == 0
    os.remove(out / 'best.safetensors')
    assert main([*arguments, '--resume']) == 2
    assert "which has no 'best.safetensors'" in capsys.readouterr().err
