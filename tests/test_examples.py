"""The examples run as they stand, in a small setting."""

import io
import json
import math
import os
import re
import runpy
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy
import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).resolve().parents[1] / 'examples'
WATER = numpy.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def run(name, *arguments):
    """Runs an example and returns what it prints."""
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *map(str, arguments)],
        env=dict(os.environ, OMP_NUM_THREADS='1'), capture_output=True,
        text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    return process.stdout


def run_again(name, *arguments):
    """The same in this process, which has imported everything already."""
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(printed):
        patch.setattr(sys, 'argv', [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name='__main__')
    return printed.getvalue()


def values(name, printed):
    """Returns the numbers that are printed behind a name."""
    found = [float(value) for value in
             re.findall(rf'\b{name}: (\S+?)[,\s]', printed)]
    assert found and all(math.isfinite(value) for value in found), printed
    return found


def springs(pos, rest):
    """Returns the energy and the forces of springs between all atoms."""
    energy, forces = 0.0, numpy.zeros_like(pos)
    for i in range(len(pos)):
        for j in range(i):
            vec = pos[j] - pos[i]
            dist = numpy.linalg.norm(vec)
            stretch = dist - numpy.linalg.norm(rest[j] - rest[i])
            energy += 200 * stretch**2
            forces[i] += 400 * stretch * vec / dist
            forces[j] -= 400 * stretch * vec / dist
    return energy, forces


def test_md17(tmp_path):
    generator = numpy.random.default_rng(0)
    pos = WATER + generator.normal(0, 0.05, (40, 3, 3))
    energy, forces = zip(*(springs(frame, WATER) for frame in pos))
    path = tmp_path / 'ethanol' / 'raw' / 'md17_ethanol.npz'
    path.parent.mkdir(parents=True)
    numpy.savez(path, z=numpy.array([8, 1, 1], dtype=numpy.uint8), R=pos,
                E=numpy.array(energy)[:, None] - 97196.0,
                F=numpy.array(forces))
    printed = run('md17.py', '--root', tmp_path, '--num_train', 24,
                  '--num_val', 4, '--num_test', 12, '--epochs', 8,
                  '--batch_size', 4, '--hidden_channels', 16, '--num_layers',
                  2, '--lr', 1e-2)
    loss = values('Loss', printed)
    assert len(loss) == 8 and loss[-1] < 0.5 * loss[0]
    assert len(values('Val energy MAE', printed)) == 8
    assert len(values('Val force MAE', printed)) == 8
    # The references are in place: errors are not those of total energies.
    assert values('Test energy MAE', printed)[0] < 10
    trivial = numpy.abs(forces).mean()
    assert values('Test force MAE', printed)[0] < 0.7 * trivial


@pytest.mark.parametrize('target, unit', [(0, 'D'), (2, 'meV'), (5, 'a0^2'),
                                          (7, 'meV')])
def test_qm9(qm9_root, target, unit):
    if target == 0:
        pytest.importorskip('ase')
    run_qm9 = run if target == 0 else run_again
    printed = run_qm9('qm9.py', '--root', qm9_root, '--target', target,
                      '--num_train', 32, '--num_val', 8, '--epochs', 10,
                      '--batch_size', 8, '--hidden_channels', 16,
                      '--num_layers', 2, '--lr', 5e-3)
    loss = values('Loss', printed)
    assert len(loss) == 10 and loss[-1] < loss[0]
    assert values('Best val MAE', printed)[0] == min(values('Val MAE',
                                                            printed))
    assert len(values('Test MAE', printed)) == 1
    assert re.search(rf'Test MAE: \S+ {re.escape(unit)}\n', printed)


def test_swap_schnet():
    printed = run('swap_schnet.py', '--num_train', 64, '--num_test', 16,
                  '--epochs', 12)
    rows = dict(re.findall(r'^(\w[\w ]*?) {2,}(\S.*)$', printed, re.M))
    errors = {name: [float(value) for value in row.split()]
              for name, row in rows.items()}
    assert set(errors) == {'Mean and zero', 'SchNet', 'SAKE', 'VectorSAKE'}
    for name in ('SchNet', 'SAKE', 'VectorSAKE'):
        for value, trivial in zip(errors[name], errors['Mean and zero']):
            assert 0 < value < trivial


def test_learning_benchmark(water_file, energy_file, tmp_path):
    pytest.importorskip('matplotlib')
    arguments = ['benchmarks/learning.py', '--data', water_file,
                 '--num_train', 16, '--num_val', 4, '--seconds', 0.5,
                 '--test_files', energy_file, '--out', tmp_path / 'learning',
                 '--models', 'SchNet']
    small = 'hidden_channels=8,num_layers=1,compile=false'
    run(*arguments)
    changed = f'VectorSAKE+tanh+bessel+attention+small+short_steps,{small}'
    printed = run(*arguments, f'VectorSAKE,{small}', f'SAKE,{small}', changed)
    kept = json.loads((tmp_path / 'learning' / 'results.json').read_text())
    assert list(kept['results']) == ['SchNet', f'VectorSAKE,{small}',
                                     f'SAKE,{small}', changed]
    parameters = [seeds['0']['parameters']
                  for seeds in kept['results'].values()]
    # 20 functions have one parameter each instead of two; logits.
    assert parameters[3] == parameters[1] - 20 + 9
    for seeds in kept['results'].values():
        assert list(seeds) == ['0']
        tests = seeds['0']['tests']
        assert math.isfinite(tests['test frames']['force_mae'])
        assert math.isfinite(tests[energy_file]['energy_mae'])
        assert 'force_mae' not in tests[energy_file]
        assert len(seeds['0']['curve']) >= 1
    assert printed == (tmp_path / 'learning' / 'results.md').read_text()
    assert (tmp_path / 'learning' / 'learning.png').stat().st_size > 0
    table = read_table(tmp_path / 'learning' / 'errors.csv')
    assert table[0, :2].tolist() == ['model', 'errors on']
    assert table[1::2, 0].tolist() == list(kept['results'])


def test_timing_benchmark(water_file, tmp_path):
    pytest.importorskip('matplotlib')
    own = 'VectorSAKE,hidden_channels=8,num_layers=1'
    printed = run('benchmarks/timing.py', '--data', water_file, '--batch_size',
                  4, '--rounds', 3, '--repeats', 1, '--models', 'SchNet', own,
                  '--csv', tmp_path / 'timing.csv')
    rows = re.findall(r'^\| (.*?) \| (.*?) \((.*?)-(.*?)\) \| (.*?) \|',
                      printed, re.M)
    assert [row[0] for row in rows] == ['SchNet', own, own + ', compiled']
    for _, median, low, high, ratio in rows:
        assert 0 < float(low) <= float(median) <= float(high)
        assert float(ratio) == pytest.approx(
            float(median) / float(rows[0][1]), rel=2e-2)
    table = read_table(tmp_path / 'timing.csv')
    assert table[1:, 0].tolist() == [row[0] for row in rows]
    assert table[1, 1] == '{} ({}-{})'.format(*rows[0][1:4])


def read_table(path):
    return numpy.loadtxt(path, dtype=str, delimiter=',', quotechar='"')


def test_peers_figure(tmp_path):
    pytest.importorskip('matplotlib')
    run('benchmarks/peers_figure.py', '--out', tmp_path / 'learning.png')
    assert (tmp_path / 'learning.png').stat().st_size > 0


def test_training_overhead_benchmark(water_file):
    pytest.importorskip('pytorch_lightning')
    printed = run('benchmarks/training_overhead.py', '--data', water_file,
                  '--num_train', 16, '--batch_size', 4, '--steps', 3,
                  '--rounds', 3)
    rows = re.findall(r'^\| (\w+) \| (.*?) \(.*?\| (.*?) \(.*?'
                      r'\| (.*?) \((.*?)-(.*?)\) \|$', printed, re.M)
    assert [row[0] for row in rows] == ['processor', 'elapsed']
    for _, lightning, bare, ratio, low, high in rows:
        assert float(lightning) > 0 and float(bare) > 0
        assert float(low) <= float(ratio) <= float(high)


def test_uncertainty_benchmark(water_file, tmp_path):
    pytest.importorskip('pytorch_lightning')
    arguments = ['benchmarks/uncertainty.py', '--train', water_file, '--test',
                 water_file, '--num_train', 16, '--num_val', 4, '--steps', 4,
                 '--seeds', 0, 1, '--out', tmp_path]
    printed = run(*arguments)
    kinds = ('energy', 'force', 'force of frames')
    for name in ('single', 'ensemble', 'ensemble, of one'):
        for kind in kinds:
            assert f'| {name} | {kind} | all |' in printed
    assert 'times as long with uncertainties' in printed
    again = run(*arguments, '--checkpoints', tmp_path / 'seed1')
    assert '| ensemble' not in again and '| single |' in again


def test_loader_benchmark(water_file):
    pytest.importorskip('pytorch_lightning')
    printed = run('benchmarks/loader.py', '--data', water_file, '--num_train',
                  16, '--batch_size', 4, '--steps', 3, '--rounds', 1,
                  '--workers', 0, 1)
    rows = re.findall(r'^\| (in memory|on disk) \| (.) \| (.*?) \| (.*?) '
                      r'\| (.*?) \| (.*?) \| (.*?)% \|$', printed, re.M)
    assert [row[:2] for row in rows] == [
        (name, workers) for name in ('in memory', 'on disk')
        for workers in '01']
    for row in rows:
        loader, loading, training, used, waiting = map(float, row[2:])
        assert loader > training > 0 and used > loading > 0
        assert 0 < waiting < 100


def test_qm7_benchmark(tmp_path):
    pytest.importorskip('matplotlib')
    pytest.importorskip('ase')
    generator = numpy.random.default_rng(0)
    num_atoms = numpy.tile([2, 3], 20).astype('uint8')
    pos = (WATER + generator.normal(0, 0.05, (40, 3, 3))).astype('float32')
    z = numpy.tile([8, 1, 1], (40, 1)).astype('uint8')
    z[num_atoms == 2, 2], pos[num_atoms == 2, 2] = 0, 0
    energy = numpy.array([springs(frame[:num], WATER)[0] - 200.0 * num
                          for frame, num in zip(pos, num_atoms)])
    numpy.savez(tmp_path / 'qm7.npz', z=z, pos=pos, n_atoms=num_atoms,
                energy_pbe0=energy)
    train, val, test = numpy.split(numpy.arange(40, dtype='int32'), [24, 28])
    numpy.savez(tmp_path / 'qm7_splits.npz', train=train, val=val, test=test)
    arguments = ['benchmarks/qm7.py', '--data', tmp_path, '--out',
                 tmp_path / 'run', '--num_steps', 150, '--batch_size', 8,
                 '--learning_rate', 1e-2, '--hidden_channels', 16,
                 '--num_layers', 1]
    printed = run(*arguments)
    table = printed[printed.index('Test MAE (kcal/mol)'):]
    errors = {name: float(value) for name, value in
              re.findall(r'^(\w[\w ]*?) {2,}(\S+)$', table, re.M)}
    mean = numpy.abs(energy[test] - energy[train].mean()).mean()
    assert abs(errors['mean of the training set'] - mean) < 1e-2
    assert errors['VectorSAKE'] < errors['linear in element counts'] < mean
    assert run_again(*arguments, '--resume').endswith(table)


def test_elastic(tmp_path):
    """The labels' constants are those of EMT, see its documentation."""
    ase_io = pytest.importorskip('ase.io')
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator
    frames = []
    for i, j in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
        for size in (-0.02, -0.01, 0.0, 0.01, 0.02):
            atoms = bulk('Cu', a=3.59, cubic=True)
            strain = numpy.eye(3)
            strain[i, j] += size / 2
            strain[j, i] += size / 2
            atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            atoms.calc = EMT()
            atoms.calc = SinglePointCalculator(
                atoms, energy=atoms.get_potential_energy(),
                forces=atoms.get_forces(), stress=atoms.get_stress())
            frames.append(atoms)
    path = str(tmp_path / 'cu.extxyz')
    ase_io.write(path, frames)
    from torch_sake.cli import main
    assert main(['train', '--data', path, '--num_train', '20', '--num_val',
                 '5', '--num_steps', '5', '--hidden_channels', '8',
                 '--num_layers', '1', '--num_rbf', '4', '--out',
                 str(tmp_path / 'run')]) == 0
    printed = run('elastic.py', '--checkpoint', str(tmp_path / 'run'),
                  '--data', path, '--repeat', '1')
    rows = {line.split('|')[1].strip(): [float(cell) for cell in
                                         line.split('|')[2:-1]]
            for line in printed.splitlines() if line.startswith(('| l', '| p'))
            and 'Angstrom' not in line}
    assert len(rows) == 4
    length, c11, c12, c44, modulus = rows['labels, 24 strained frames']
    assert length == pytest.approx(3.59)
    assert modulus == pytest.approx(134, rel=0.05)
    assert modulus == pytest.approx((c11 + 2 * c12) / 3, abs=0.1)
    assert c44 == pytest.approx(89, rel=0.1)


def test_md_step_benchmark(tmp_path):
    build = pytest.importorskip('ase.build')
    structure = str(tmp_path / 'ethanol.xyz')
    build.molecule('CH3CH2OH').write(structure)
    checkpoint = EXAMPLES / 'potentials' / 'ethanol.safetensors'
    printed = run('benchmarks/md_step.py', '--checkpoint', str(checkpoint),
                  '--structure', structure, '--names', 'torch_sake', 'EMT',
                  '--steps', '2', '--rounds', '2')
    rows = {line.split(' | ')[0]: line for line in printed.splitlines()}
    total, *parts = map(float, rows['| torch_sake'].strip(' |').split(
        ' | ')[1:])
    assert len(parts) == 3 and abs(total - sum(parts)) < 0.5 * total
    assert float(rows['| EMT'].strip(' |').split(' | ')[1]) > 0


def test_nbody(tmp_path):
    pytest.importorskip('pytorch_lightning')
    pytest.importorskip('matplotlib')
    small = 'hidden_channels=8,num_layers=2,learning_rate=0.003'
    arguments = ['nbody.py', '--root', tmp_path, '--out', tmp_path / 'runs',
                 '--models', f'SAKENet,{small}', f'EGNN,{small}',
                 '--num_epochs', 15, '--batch_size', 8, '--sizes', 40, 8, 8,
                 '--seeds', 0, 1]
    printed = run(*arguments)
    rows = {row[0]: row[-1] for row in (
        [cell.strip() for cell in line.strip('|').split('|')]
        for line in printed.splitlines() if line.startswith('| '))}
    still, straight = (float(rows[name]) for name in ('no motion',
                                                      'constant velocity'))
    assert 0.05 < straight < still
    for entry in (f'SAKENet,{small}', f'EGNN,{small}'):
        mean, spread = map(float, rows[entry].split(' ± '))
        assert 0 < spread < mean < still
    assert run_again(*arguments) == printed  # from what was kept


def test_nbody_step_benchmark(tmp_path):
    pytest.importorskip('pytorch_lightning')
    # In the place of a Python with the official implementation, which would
    # take long: a command that fails.
    printed = run('benchmarks/nbody_step.py', '--root', tmp_path, '--rounds',
                  2, '--repeats', 1, '--num_systems', 10, '--batch_size', 5,
                  '--jax', 'false')
    rows = re.findall(r'^\| (.*?) \| (\S+) \((.*?)-(.*?)\) \| (\S+) \|',
                      printed, re.M)
    assert [row[0] for row in rows] == ['SAKENet', 'SAKENet, vector', 'EGNN']
    for _, median, low, high, rate in rows:
        assert 0 < float(low) <= float(median) <= float(high)
        assert float(rate) == pytest.approx(1000 / float(median), rel=2e-2)


def test_active_learning(water_file, tmp_path):
    """Both ways to choose begin with the same potential."""
    pytest.importorskip('tblite')
    for name in ('train_300K', 'train_600K', 'test_MD_600K'):
        (tmp_path / f'{name}.xyz').write_text(Path(water_file).read_text())
    out = tmp_path / 'active'
    run('benchmarks/active_learning.py', '--folder', tmp_path, '--out', out,
        '--num_first', 6, '--num_labels', 2, '--num_rounds', 1, '--num_steps',
        2, '--finetune_steps', 2, '--time', 0.01, '--num_walkers', 1,
        '--num_test', 5)
    lines = (out / 'active_learning.csv').read_text().splitlines()
    assert lines[1].split(',', 1)[1] == lines[-2].split(',', 1)[1]
    assert lines[-1].startswith('random,0,2,')
    assert (out / 'active_learning.png').exists()
