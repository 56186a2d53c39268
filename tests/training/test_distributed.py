"""Two processes that share the frames of each step."""

import csv
import os
import socket
import subprocess
import sys

import pytest
import torch

from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main
from torch_sake.datasets import convert_frames
from torch_sake.utils.inputs import BEST, LAST

pytest.importorskip('ase')
pytest.importorskip('jsonargparse')
pytest.importorskip('matplotlib')
pytest.importorskip('pytorch_lightning')

pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not torch.distributed.is_available()
    or not torch.distributed.is_gloo_available(), reason='needs gloo')]

MAIN = 'import sys; from torch_sake.cli import main; sys.exit(main())'
# The same, interrupted in the seventh step:
INTERRUPTED = """
import os, signal
from torch_sake.training.module import PotentialModule
step = PotentialModule.training_step
def interrupted(self, *args):
    if self.step == 6:
        os.kill(os.getpid(), signal.SIGINT)
    return step(self, *args)
PotentialModule.training_step = interrupted
""" + MAIN


def launch(arguments, code=MAIN, status=0):
    """Returns what two processes print, started as torchrun does it."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        port = str(server.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', code, *arguments],
            env=dict(os.environ, MASTER_ADDR='127.0.0.1', MASTER_PORT=port,
                     WORLD_SIZE='2', RANK=str(rank), LOCAL_RANK=str(rank),
                     OMP_NUM_THREADS='1'),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    for process, (_, errors) in zip(processes, outputs):
        assert process.returncode == status, errors
    return outputs


def read_metrics(out):
    with open(os.path.join(out, 'metrics.csv')) as file:
        return [{key: float(value) for key, value in row.items()
                 if key != 'seconds'} for row in csv.DictReader(file)]


@pytest.mark.parametrize('limit,weighs', [
    ([], False), (['--max_num_atoms', '11'], False), ([], True)], ids=str)
def test_two_processes_learn_what_one_learns(limit, weighs, copper_file,
                                             tmp_path):
    # With a limit, from the disk. The frames differ in their numbers of
    # atoms, and some have no stress. Neither the steps nor the validation can
    # be divided evenly.
    arguments = ['train', '--data', copper_file, '--num_train', '17',
                 '--num_val', '5', '--batch_size', '3', '--val_interval', '5',
                 '--num_steps', '15', '--hidden_channels', '8',
                 '--num_layers', '1', '--num_rbf', '4', '--cutoff', '4.0',
                 '--optimizer', 'adam', '--precision', 'float64',
                 '--device', 'cpu', '--loss', 'l2', *limit]
    if weighs:
        ase_io = pytest.importorskip('ase.io')
        frames = ase_io.read(copper_file, ':')
        for index, atoms in enumerate(frames):
            atoms.info['config_weight'] = 0.5 * (index % 4)
        ase_io.write(copper_file, frames)
    if limit:
        arguments[2] = str(tmp_path / 'copper.frames')
        convert_frames(copper_file, arguments[2])
    one, two = str(tmp_path / 'one'), str(tmp_path / 'two')
    assert main([*arguments, '--out', one]) == 0
    (printed, errors), (other, other_errors) = launch(
        [*arguments, '--out', two, '--devices', '2'])
    # One process prints and writes.
    assert '(2 processes)' in printed and f'The run is in {two}' in printed
    assert other == '' and 'Warning' not in errors + other_errors
    assert sorted(os.listdir(two)) == sorted(os.listdir(one))
    rows, expected = read_metrics(two), read_metrics(one)
    assert [row['step'] for row in rows] == [5, 10, 15]
    for row, other in zip(rows, expected):
        assert row == pytest.approx(other, rel=1e-10, abs=1e-10)
    for name in (BEST, LAST):
        tensors, _ = load_checkpoint(os.path.join(two, name))
        expected, _ = load_checkpoint(os.path.join(one, name))
        assert tensors.keys() == expected.keys()
        for key, value in expected.items():
            if key != 'random_state':
                assert torch.allclose(tensors[key], value, rtol=1e-10,
                                      atol=1e-10), key
    if not limit and not weighs:
        parts = str(tmp_path / 'parts')
        arguments += ['--out', parts, '--devices', '2']
        launch(arguments, INTERRUPTED, 130)
        assert load_checkpoint(os.path.join(parts, LAST))[1]['step'] == 7
        launch([*arguments, '--resume'])
        for row, other in zip(read_metrics(parts), rows):
            assert row == pytest.approx(other, rel=1e-10, abs=1e-10)
        del arguments[-4:]
    # One process may go on with the run.
    assert main([*arguments, '--out', two, '--resume']) == 0


# By a clock that goes on with each loss, for the second process more slowly:
CLOCK = """
import os
from torch_sake.runs import timer
from torch_sake.training.module import PotentialModule
class Clock:
    time, loss = 0.0, 1.0 - 0.4 * int(os.environ['RANK'])
    def __call__(self):
        return self.time
clock = Clock()
timer.Timer.__init__.__defaults__ = (clock, )
loss_of = PotentialModule.loss_of
def slow_loss(self, data):
    clock.time += clock.loss
    return loss_of(self, data)
PotentialModule.loss_of = slow_loss
""" + MAIN


def test_two_processes_have_one_plan(water_file, tmp_path):
    out = str(tmp_path / 'run')
    arguments = ['train', '--data', water_file, '--num_train', '16',
                 '--num_val', '4', '--batch_size', '4', '--val_interval', '20',
                 '--hidden_channels', '8', '--num_layers', '1', '--num_rbf',
                 '4', '--device', 'cpu', '--devices', '2', '--out', out,
                 '--max_time', '00:01:00']
    (printed, errors), (other, other_errors) = launch(arguments, CLOCK)
    assert 'The run is in' in printed and other == ''
    assert errors.count('a step takes 1 s: about ') == 1
    assert 'a step takes' not in other_errors
    # By the time of the first one, which has had a trial, and leaves less than
    # a second for the last validation.
    assert [row['step'] for row in read_metrics(out)] == [20, 40, 58]
    assert load_checkpoint(os.path.join(out, LAST))[1]['timer']['used'] == 59
    launch([*arguments[:-2], '--resume', '--max_time', '00:01:30'], CLOCK)
    assert [row['step'] for row in read_metrics(out)][3:] == [60, 80, 87]


def test_trials_of_two_processes_change_nothing(water_file, tmp_path):
    arguments = ['train', '--data', water_file, '--num_train', '16',
                 '--num_val', '4', '--batch_size', '4', '--val_interval', '10',
                 '--num_steps', '20', '--hidden_channels', '8',
                 '--num_layers', '1', '--num_rbf', '4', '--device', 'cpu',
                 '--devices', '2', '--out']
    first, second = str(tmp_path / 'first'), str(tmp_path / 'second')
    (_, errors), (_, other) = launch([*arguments, first])
    assert 'steps take about' in errors and 'steps take' not in other
    (_, errors), _ = launch([*arguments, second],
                            'from torch_sake.runs import trial\n'
                            'trial.FEWEST = 10**6\n' + MAIN)
    assert 'steps take' not in errors
    assert read_metrics(first) == read_metrics(second)
    tensors, _ = load_checkpoint(os.path.join(first, LAST))
    for key, value in load_checkpoint(os.path.join(second, LAST))[0].items():
        assert torch.equal(value, tensors[key]), key
