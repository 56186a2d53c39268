"""The tutorials run as they stand, in a small setting."""

import os
import subprocess
import sys
from pathlib import Path

import ase.io
import numpy
import pytest
from ase import Atoms
from ase.calculators.emt import EMT

from torch_sake.cli import main

pytest.importorskip('pytorch_lightning')
pytest.importorskip('jsonargparse')

pytestmark = pytest.mark.slow

TUTORIALS = Path(__file__).resolve().parents[1] / 'examples' / 'tutorials'
SMALL = ['--num_steps', '4', '--val_interval', '2', '--batch_size', '2',
         '--hidden_channels', '8', '--num_layers', '1']


@pytest.fixture
def run(tmp_path):
    """Runs a script with the commands of this environment, and srun."""
    commands = tmp_path / 'bin'
    commands.mkdir()
    for name, line in (
            ('torch-sake', f'exec {sys.executable} -c "import sys; from '
             'torch_sake.cli import main; sys.exit(main())" "$@"'),
            ('srun', 'exec "$@"')):
        (commands / name).write_text(f'#!/bin/sh\n{line}\n')
        (commands / name).chmod(0o755)

    def run(name, *arguments, **environment):
        process = subprocess.run(
            [str(TUTORIALS / name), *map(str, arguments)], cwd=tmp_path,
            env={**os.environ, 'OMP_NUM_THREADS': '1', **environment,
                 'PATH': f"{commands}:{os.environ['PATH']}"},
            capture_output=True, text=True, timeout=300)
        assert process.returncode == 0, process.stderr
        return process.stdout

    return run


def write_frames(path, number, symbols='CuCuAg'):
    """Writes copper and silver with forces of effective medium theory."""
    generator = numpy.random.default_rng(number)
    frames = []
    for _ in range(number):
        atoms = Atoms(symbols, 2.5 * numpy.eye(3))
        atoms.positions += generator.normal(0, 0.1, (3, 3))
        atoms.calc = EMT()
        atoms.get_forces()
        frames.append(atoms)
    ase.io.write(path, frames)


def test_md17(run, tmp_path):
    pos = numpy.random.default_rng(0).normal(size=(12, 3, 3))
    numpy.savez(tmp_path / 'md17_ethanol.npz', z=numpy.array([8, 1, 6]),
                R=pos + 3 * numpy.eye(3), E=numpy.zeros(12), F=0 * pos)
    printed = run('md17.sh', tmp_path, 'run', '--num_train', '6', '--num_val',
                  '2', *SMALL, MD_STEPS='4')
    assert 'force' in printed
    assert (tmp_path / 'run' / 'evaluation' / 'evaluation.json').exists()
    assert (tmp_path / 'run' / 'md' / 'log.csv').exists()


def test_qm9(run, qm9_root, tmp_path):
    run('qm9.sh', qm9_root, 'run', '--num_train', '20', '--num_val', '5',
        *SMALL, TARGET='mu')
    assert (tmp_path / 'run' / 'evaluation' / 'evaluation.json').exists()


def test_finetune(run, tmp_path):
    for name, number in (('old.xyz', 8), ('new.xyz', 30), ('test.xyz', 5)):
        write_frames(tmp_path / name, number)
    old = str(tmp_path / 'old')  # to start from
    assert main(['train', '--data', str(tmp_path / 'old.xyz'), '--out', old,
                 '--num_train', '4', '--num_val', '2', *SMALL]) == 0
    run('finetune.sh', 'old', 'new.xyz', 'test.xyz', 'out', *SMALL[:6])
    for folder in ('before', 'tuned/evaluation'):
        assert (tmp_path / 'out' / folder / 'evaluation.json').exists()


def test_cluster(run, tmp_path):
    write_frames(tmp_path / 'data.xyz', 12)
    arguments = ['cluster.sh', 'data.xyz', 'out', '--devices', '1',
                 '--num_nodes', '1', '--num_workers', '0', '--num_train', '6',
                 '--num_val', '2', *SMALL]
    run(*arguments)
    assert (tmp_path / 'data.frames').exists()
    before = (tmp_path / 'out' / 'metrics.csv').read_text()
    run(*arguments)  # goes on, with nothing left to do
    assert (tmp_path / 'out' / 'metrics.csv').read_text() == before
