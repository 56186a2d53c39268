"""Runs that are killed, without a moment to save anything."""

import csv
import multiprocessing
import os
import random
import signal
import time

import pytest

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main
from torch_sake.utils.inputs import BEST, LAST

pytest.importorskip('ase')
pytest.importorskip('jsonargparse')
pytest.importorskip('matplotlib')
pytest.importorskip('pytorch_lightning')

NUM_KILLS, NUM_STEPS = 3, 60


def read(out):
    """Returns what a run can go on with, and what its users read."""
    tensors, description = load_checkpoint(os.path.join(out, LAST))
    with open(os.path.join(out, 'metrics.csv')) as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert None not in row and None not in row.values()  # complete
        del row['seconds']
    assert len(rows) >= len(description['history'])
    load_potential(out)
    return tensors, rows


@pytest.mark.skipif(os.name == 'nt', reason='POSIX signals')
@pytest.mark.slow
def test_killed_run_ends_where_an_uninterrupted_one_does(water_file, tmp_path):
    arguments = ['train', '--data', water_file, '--num_train', '16',
                 '--num_val', '4', '--num_steps', str(NUM_STEPS),
                 '--batch_size', '4', '--val_interval', '2',
                 '--hidden_channels', '8', '--num_layers', '1', '--num_rbf',
                 '4']
    whole, killed = str(tmp_path / 'whole'), str(tmp_path / 'killed')
    assert main([*arguments, '--out', whole]) == 0
    # Processes that have imported everything already:
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['torch_sake.runs.lightning',
                                    'torch_sake.cli.train'])

    def start():
        resume = ['--resume'] if os.path.exists(last) else []
        process = context.Process(
            target=main, args=([*arguments, '--out', killed, *resume], ))
        process.start()
        return process

    last, delays = os.path.join(killed, LAST), []
    for _ in range(NUM_KILLS):
        before = os.path.exists(last) and os.stat(last).st_ino
        end = time.time() + 300
        process = start()
        while (os.path.exists(last) and os.stat(last).st_ino) == before:
            assert process.is_alive() and time.time() < end
            time.sleep(0.002)
        # Less than the time of a few validations: it is not to finish.
        delays.append(random.uniform(0, 0.05))
        time.sleep(delays[-1])
        process.kill()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL, delays
        read(killed)
    process = start()
    process.join(300)
    assert process.exitcode == 0
    tensors, rows = read(killed)
    expected, expected_rows = read(whole)
    assert rows == expected_rows, delays
    assert tensors.keys() == expected.keys()
    for key, value in expected.items():
        assert value.equal(tensors[key]), (key, delays)
    best = load_checkpoint(os.path.join(killed, BEST))[0]
    for key, value in load_checkpoint(os.path.join(whole, BEST))[0].items():
        assert value.equal(best[key]), (key, delays)
    # Nothing is left of files that were not completed.
    assert sorted(os.listdir(killed)) == sorted(os.listdir(whole))
