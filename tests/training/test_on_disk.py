"""Training on frames that are read from the disk, as on those in memory."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main
from torch_sake.datasets import (
    FramesOnDisk,
    convert_frames,
    qm9_frames,
    write_frames,
)
from torch_sake.training import Trainer
from torch_sake.utils.inputs import LAST

pytest.importorskip('ase')
pytest.importorskip('matplotlib')
lightning = pytest.importorskip('pytorch_lightning')


class Interrupt(lightning.Callback):
    def on_train_batch_start(self, trainer, module, *args):
        if module.step == 6:
            raise KeyboardInterrupt


def train(config, **changes):
    trainer = Trainer(replace(config, **changes))
    trainer.fit()
    return trainer


def assert_same_run(trainer, expected):
    assert [dict(row, seconds=0) for row in trainer.history] == [
        dict(row, seconds=0) for row in expected.history]
    state = expected.potential.state_dict()
    for key, value in trainer.potential.state_dict().items():
        assert value.equal(state[key]), key


@pytest.mark.parametrize('name', ['water_file', 'energy_file', 'copper_file'])
def test_same_run_as_in_memory(name, config, request, tmp_path):
    path = request.getfixturevalue(name)
    config = replace(config, data=path, cutoff=4.0)
    convert_frames(path, tmp_path / 'some.frames')
    changes = dict(data=str(tmp_path / 'some.frames'), out=config.out + '-2')
    expected, trainer = train(config), train(config, **changes)
    assert isinstance(trainer.data.frames, FramesOnDisk)
    assert_same_run(trainer, expected)
    for key in ('scale', 'volume_per_atom', 'elements'):
        assert getattr(trainer.data, key) == getattr(expected.data, key)


def test_same_run_on_a_property(config, qm9_root, tmp_path):
    config = replace(config, data='qm9:r2', root=qm9_root, seed=1)
    path = tmp_path / 'r2.frames'
    write_frames([qm9_frames(qm9_root, 'r2')], path)
    expected = train(config)
    trainer = train(config, data=str(path), out=config.out + '-2')
    assert isinstance(trainer.data.frames, FramesOnDisk)
    assert_same_run(trainer, expected)
    for key, value in trainer.data.description.items():
        if key != 'split':
            assert value == expected.data.description[key], key
    assert trainer.data.split.train.equal(expected.data.split.train)


@pytest.mark.parametrize('limit', [dict(max_num_atoms=11),
                                   dict(max_num_edges=160)], ids=str)
def test_resumed_run_with_batches_of_atoms_or_edges(
        limit, config, copper_file, tmp_path):
    config = replace(config, data=copper_file, cutoff=4.0, **limit)
    whole = train(config)
    convert_frames(copper_file, tmp_path / 'some.frames')
    config = replace(config, data=str(tmp_path / 'some.frames'),
                     out=config.out + '-2', num_workers=1)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).fit([Interrupt()])
    resumed = Trainer(replace(config, resume=True))
    assert resumed.step == 4
    resumed.fit()
    assert_same_run(resumed, whole)


def test_batches_of_atoms_or_edges(config, copper_file):
    class Count(lightning.Callback):
        def __init__(self):
            self.atoms, self.frames = [], []

        def on_train_batch_start(self, trainer, module, batch, *args):
            self.atoms.append(batch.num_nodes)
            self.frames.append(batch.num_graphs)

        def on_validation_batch_start(self, trainer, module, batch, *args):
            assert batch.num_nodes <= 11

    count = Count()
    trainer = Trainer(replace(config, data=copper_file, cutoff=4.0,
                              max_num_atoms=11))
    trainer.fit([count])
    assert max(count.atoms) <= 11 and min(count.atoms) >= 8
    assert set(count.frames) == {2, 3}
    small = int(trainer.data.sizes.max()) - 1
    with pytest.raises(ValueError, match="'max_num_atoms' must be at least 4"):
        Trainer(replace(config, data=copper_file, max_num_atoms=small,
                        out=config.out + '-2'))
    with pytest.raises(ValueError, match="'max_num_atoms' must be at least 8"):
        Trainer(replace(config, data=copper_file, max_num_atoms=7, devices=2,
                        device='cpu', out=config.out + '-2'))


def test_limits_that_exclude_each_other(config):
    with pytest.raises(ValueError, match="'max_num_edges' must not be given"):
        replace(config, max_num_edges=9, max_num_atoms=9)
    for name in ('max_num_edges', 'max_num_atoms'):
        with pytest.raises(ValueError, match=f"'{name}' must be at least 1"):
            replace(config, **{name: 0})


@pytest.mark.slow
def test_commands(copper_file, tmp_path, capsys):
    path, out = str(tmp_path / 'some.frames'), str(tmp_path / 'run')
    assert main(['convert', '--data', copper_file, '--out', path]) == 0
    assert ('24 frames of up to 4 atoms, of atomic numbers [29], with energies'
            ', forces and stresses (18 of 24 frames) (eV, Angstrom)'
            in capsys.readouterr().out)
    assert main(['convert', '--data', copper_file, '--out', path]) == 2
    assert "'out' must not exist" in capsys.readouterr().err
    arguments = ['train', '--num_train', '12', '--num_val', '4', '--num_steps',
                 '4', '--val_interval', '2', '--hidden_channels', '8',
                 '--num_layers', '1', '--num_rbf', '4', '--cutoff', '4.0']
    assert main([*arguments, '--data', copper_file, '--out', out]) == 0
    assert main([*arguments, '--data', path, '--out', out + '-2']) == 0
    assert main(['evaluate', '--checkpoint', out, '--data', copper_file]) == 0
    assert main(['evaluate', '--checkpoint', out + '-2', '--data', path]) == 0
    for name in ('test.json', 'evaluation/evaluation.json'):
        first, second = (json.load(open(os.path.join(folder, name)))
                         for folder in (out, out + '-2'))
        assert first == second
    assert main(['evaluate', '--checkpoint', out, '--data', path, '--part',
                 'all']) == 0
    assert '(24)' in capsys.readouterr().out


@pytest.mark.skipif(os.name == 'nt', reason='POSIX signals')
@pytest.mark.slow
def test_workers_leave_interruptions_to_the_run(water_file, tmp_path,
                                                wait_until):
    # SLURM ends all processes of a command, as a terminal does.
    path, out = str(tmp_path / 'some.frames'), str(tmp_path / 'run')
    convert_frames(water_file, path)
    process = subprocess.Popen(
        [sys.executable, '-c', 'import sys; from torch_sake.cli import main; '
         'sys.exit(main())', 'train', '--data', path, '--out', out,
         '--num_train', '16', '--num_val', '4', '--num_steps', '100000',
         '--val_interval', '200', '--hidden_channels', '8', '--num_layers',
         '1', '--num_rbf', '4', '--num_workers', '1', '--compile', 'false'],
        stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(process, lambda: os.path.exists(os.path.join(out, LAST)))
    time.sleep(0.2)  # not a validation
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    step = load_checkpoint(os.path.join(out, LAST))[1]['step']
    assert step > 200 and step % 200 != 0  # at the end of its step


def test_frames_that_are_damaged(config, water_file, tmp_path, capsys):
    path = tmp_path / 'some.frames'
    frames = convert_frames(water_file, path)
    content = bytearray(path.read_bytes())
    content[content.index(frames[17].pos.numpy().tobytes())] ^= 1
    path.write_bytes(content)
    arguments = ['train', '--data', str(path), '--num_train', '25',
                 '--num_val', '5', '--out', config.out, '--num_steps', '9']
    for workers in '01':
        assert main([*arguments, '--num_workers', workers]) == 2
        assert "some.frames', frame 17" in capsys.readouterr().err
