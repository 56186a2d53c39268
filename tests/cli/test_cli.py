import json
import os
import signal
import subprocess
import sys

import pytest

from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main
from torch_sake.datasets import FramesOnDisk, read_frames

pytest.importorskip('jsonargparse')
pytest.importorskip('ase')
pytest.importorskip('matplotlib')


def test_train_and_evaluate(water_file, tmp_path, capsys, small):
    out = str(tmp_path / 'run')
    assert main(['train', '--data', water_file, '--out', out, *small]) == 0
    assert sorted(os.listdir(out)) == [
        'best.safetensors', 'calibration.png', 'config.yaml', 'data.png',
        'error_distribution.png', 'errors.csv', 'frames.csv',
        'last.safetensors', 'learning_curve.png',
        'metrics.csv', 'parity.png', 'test.json'
    ]
    printed = capsys.readouterr().out
    assert 'Errors on the test frames (10;' in printed
    assert 'zero force' in printed
    trained = json.load(open(os.path.join(out, 'test.json')))

    assert main(['evaluate', '--checkpoint', out, '--data',
                 water_file]) == 0
    again = json.load(open(os.path.join(out, 'evaluation',
                                        'evaluation.json')))
    assert again == trained
    last = os.path.join(out, 'last.safetensors')
    assert main(['evaluate', '--checkpoint', last, '--data', water_file,
                 '--part', 'all', '--out', out + '-2']) == 0
    assert '(30)' in capsys.readouterr().out


def test_evaluate_looks_at_labels(water_file, tmp_path, capsys, small):
    from ase import io
    out, wrong = str(tmp_path / 'run'), str(tmp_path / 'wrong.extxyz')
    assert main(['train', '--data', water_file, '--out', out, *small]) == 0
    structures = io.read(water_file, ':')
    for atoms in structures:
        for name in ('energy', 'forces'):
            atoms.calc.results[name] = 23.06 * atoms.calc.results[name]
    structures[4].calc.results['energy'] = 0.0
    io.write(wrong, structures)
    capsys.readouterr()
    assert main(['evaluate', '--checkpoint', out, '--data', wrong]) == 0
    printed = capsys.readouterr().out
    lines, _, _ = printed.partition('Errors of')
    assert f"{wrong}: Labels do not look like eV" in lines
    assert "('--units kcal/mol')" in lines
    assert f"{wrong}, frame 4: the energy is exactly 0" in lines
    assert 'drop_outliers' not in printed


@pytest.mark.slow
def test_fine_tuning(water_file, tmp_path, capsys, small):
    out = str(tmp_path / 'run')
    arguments = ['train', '--data', water_file, *small]
    assert main([*arguments, '--out', out]) == 0
    tuning = [*arguments, '--out', out + '-2', '--init', out, '--freeze', '1']
    assert main([*tuning, '--num_layers', '2']) == 2
    assert "'num_layers' must be that of" in capsys.readouterr().err
    assert main(tuning) == 0
    assert main([*tuning, '--resume']) == 0
    assert main(['evaluate', '--checkpoint', out + '-2', '--data',
                 water_file]) == 0


def test_train_and_evaluate_on_energies_alone(energy_file, tmp_path, capsys,
                                              small):
    out = str(tmp_path / 'run')
    arguments = ['train', '--data', energy_file, '--out', out, *small]
    assert main(arguments) == 0
    assert main([*arguments, '--resume']) == 0
    assert main(['evaluate', '--checkpoint', out, '--data',
                 energy_file]) == 0
    printed = capsys.readouterr().out
    assert 'Errors on the test frames (10;' in printed
    assert 'frames with energies,' in printed
    assert 'energy per atom [meV]' in printed and 'force' not in printed
    assert 'learning_curve.png' in os.listdir(out)
    trained = json.load(open(os.path.join(out, 'test.json')))
    assert set(trained['model']) == set(trained['trivial']) == {
        'energy_mae', 'energy_rmse', 'energy_per_atom_mae',
        'energy_per_atom_rmse'
    }
    evaluated = os.listdir(os.path.join(out, 'evaluation'))
    assert sorted(evaluated) == ['calibration.png',
                                 'error_distribution.png', 'errors.csv',
                                 'evaluation.json', 'frames.csv',
                                 'parity.png']


@pytest.mark.parametrize('trained, evaluated, has_forces', [
    ('water_file', 'energy_file', False),
    ('energy_file', 'water_file', True),
])
def test_evaluate_on_other_labels(trained, evaluated, has_forces, request,
                                  tmp_path, capsys, small):
    out = str(tmp_path / 'run')
    assert main(['train', '--data', request.getfixturevalue(trained), '--out',
                 out, *small]) == 0
    capsys.readouterr()
    assert main(['evaluate', '--checkpoint', out, '--data',
                 request.getfixturevalue(evaluated)]) == 0
    assert ('force [meV/Angstrom]' in capsys.readouterr().out) == has_forces
    path = os.path.join(out, 'evaluation', 'evaluation.json')
    model = json.load(open(path))['model']
    assert ('force_mae' in model) == has_forces
    assert model['energy_mae'] > 0


def test_run_without_test_frames(water_file, tmp_path, capsys, small):
    out = str(tmp_path / 'run')
    assert main(['train', '--data', water_file, '--out', out, *small,
                 '--num_test', '0']) == 0
    assert 'Errors on the val frames (4;' in capsys.readouterr().out
    assert os.path.exists(os.path.join(out, 'val.json'))
    assert main(['evaluate', '--checkpoint', out, '--data',
                 water_file]) == 2
    assert 'without test frames' in capsys.readouterr().err


@pytest.mark.slow
def test_config_file_of_a_run_repeats_it(water_file, tmp_path, small):
    out = str(tmp_path / 'run')
    assert main(['train', '--data', water_file, '--out', out, *small]) == 0
    assert main(['train', '--config', os.path.join(out, 'config.yaml'),
                 '--out', out + '-2']) == 0
    first, second = (json.load(open(os.path.join(path, 'test.json')))
                     for path in (out, out + '-2'))
    assert first == second


@pytest.mark.skipif(os.name == 'nt', reason='POSIX signals')
@pytest.mark.parametrize('signum', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.compile
@pytest.mark.slow
def test_interrupt_and_resume(water_file, tmp_path, signum, small,
                              wait_until):
    out = str(tmp_path / 'run')
    # Of the size of a compiled run in tests/training/test_trainer.py: what
    # torch has compiled once, it finds in its cache.
    small += ['--num_layers', '2', '--num_rbf', '8']
    command = [sys.executable, '-c', 'import sys; from torch_sake.cli import '
               'main; sys.exit(main())', 'train', '--data', water_file,
               '--out', out, *small, '--num_steps', '100000']
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(process, lambda: os.path.exists(
        os.path.join(out, 'metrics.csv')))
    process.send_signal(signum)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and 'interrupted' in errors
    step = load_checkpoint(os.path.join(out, 'last.safetensors'))[1]['step']
    assert step >= 3
    assert main(['evaluate', '--checkpoint', out, '--data',
                 water_file]) == 0
    for change, status in ((-1, 2), (2, 0)):
        assert main(['train', '--data', water_file, '--out', out, *small,
                     '--num_steps', str(step + change), '--resume']) == status


@pytest.mark.parametrize('step, saved', [(1, False), (4, True)])
def test_dynamics_that_is_interrupted(step, saved, tmp_path, capsys,
                                      monkeypatch):
    pytest.importorskip('pytorch_lightning')
    from torch_sake.forecasting.module import DynamicsModule
    training_step = DynamicsModule.training_step

    def interrupted(self, batch, batch_idx):
        if self.step == step:
            raise KeyboardInterrupt
        return training_step(self, batch, batch_idx)

    monkeypatch.setattr(DynamicsModule, 'training_step', interrupted)
    out = str(tmp_path / 'run')
    assert main(['dynamics', '--model', 'Linear', '--root', str(tmp_path),
                 '--sizes', '[24, 4, 4]', '--batch_size', '8', '--out',
                 out]) == 130
    # Of the three steps of the first epoch, nothing is saved before its end.
    assert os.path.exists(os.path.join(out, 'last.safetensors')) == saved
    assert ('--resume' in capsys.readouterr().out) == saved


@pytest.mark.slow
def test_resume_flag(water_file, tmp_path, small):
    out = str(tmp_path / 'run')
    arguments = ['train', '--data', water_file, '--out', out, *small]
    assert main(arguments) == 0
    assert main(arguments) == 2
    assert main([*arguments, '--resume']) == 0


@pytest.mark.parametrize('arguments, message', [
    (['train', '--data', 'nothing.xyz'], "'data' must be"),
    (['train', '--data', 'md17:ethanol'], "'root'"),
    (['train', '--num_steps', '0'], "'num_steps' must be at least 1"),
    (['evaluate', '--checkpoint', 'nowhere'], "no checkpoint 'nowhere'"),
], ids=str)
def test_wrong_arguments(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_other_units_and_elements(water_file, tmp_path, capsys, small):
    out = str(tmp_path / 'run')
    assert main(['train', '--data', water_file, '--out', out, *small]) == 0
    import ase.io
    atoms = ase.io.read(water_file)
    calc = atoms.calc
    atoms.symbols[0] = 'S'
    atoms.calc = calc
    ase.io.write(tmp_path / 'other.extxyz', atoms)
    assert main(['evaluate', '--checkpoint', out, '--data',
                 str(tmp_path / 'other.extxyz')]) == 2
    assert 'atomic numbers [16]' in capsys.readouterr().err


def test_units_of_converted_files(copper_file, tmp_path, monkeypatch, capsys):
    from torch_sake.datasets.frames import convert
    monkeypatch.setattr(convert, 'BLOCK', 7)
    out = str(tmp_path / 'm.frames')
    arguments = ['convert', '--data', copper_file, '--out', out]
    assert main([*arguments, '--energy_unit', 'Kelvin']) == 2
    assert "'energy_unit' must be one of" in capsys.readouterr().err
    assert main([*arguments, '--energy_unit', 'Hartree', '--length_unit',
                 'bohr']) == 0
    assert '(Hartree, Bohr)' in capsys.readouterr().out
    frames, expected = FramesOnDisk(out), read_frames(copper_file)
    assert frames.units == {'energy': 'Hartree', 'length': 'Bohr'}
    for data, other in zip(frames, expected):
        for key in ('pos', 'cell', 'energy', 'force', 'stress'):
            assert data[key].nan_to_num().equal(other[key].nan_to_num()), key


@pytest.mark.parametrize('command', [[], ['train'], ['evaluate']])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as error:
        main([*command, '--help'])
    assert error.value.code == 0
    assert 'usage: torch-sake' in capsys.readouterr().out


@pytest.mark.parametrize('command, option', [
    ('train', '--energy_weight'), ('dynamics', '--num_rollout')])
def test_commands_of_training(command, option, capsys):
    with pytest.raises(SystemExit) as exit:
        main([command, '--help'])
    assert exit.value.code == 0
    assert option in capsys.readouterr().out


@pytest.mark.parametrize('arguments', [
    ['--task', 'dynamics'], ['--task=dynamics'], ['--task', 'potential'],
    ['--num_steps', '3', '--task', 'docking']], ids=str)
def test_tasks_are_commands(arguments, capsys):
    assert main(['train', *arguments]) == 2
    assert "'torch-sake dynamics' forecasts" in capsys.readouterr().err
