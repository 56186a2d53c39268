"""Data of several files, and files for validation and for testing."""

import csv
import json

import numpy
import pytest
import yaml

from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main
from torch_sake.datasets import convert_frames

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('matplotlib')
pytest.importorskip('pytorch_lightning')

RUN = ['--num_steps', '4', '--batch_size', '4', '--val_interval', '2',
       '--hidden_channels', '8', '--num_layers', '1', '--num_rbf', '4',
       '--device', 'cpu']


@pytest.fixture
def files(water_file, tmp_path, monkeypatch):
    """Three files of 14, 10 and 6 frames; the types of the first are liquid
    and, for five, gas."""
    monkeypatch.chdir(tmp_path)
    frames = ase_io.read(water_file, ':')
    for index, atoms in enumerate(frames[:14]):
        atoms.info['config_type'] = 'gas' if index % 3 == 1 else 'liquid'
    for name, some in (('a', frames[:14]), ('b', frames[14:24]),
                       ('c', frames[24:])):
        ase_io.write(f'{name}.xyz', some, format='extxyz')


def train(*arguments):
    return main(['train', *RUN, '--out', 'run', *arguments])


def parts():
    tensors, description = load_checkpoint('run/best.safetensors')
    return ([tensors[f'split.{name}'].tolist()
             for name in ('train', 'val', 'test')], description['config'])


def test_several_files(files, capsys):
    convert_frames('b.xyz', 'b.frames')
    assert train('--data', '[a.xyz, b.frames, c.xyz]') == 0
    printed = capsys.readouterr()
    assert ("a.xyz, b.frames and c.xyz: {'train': 24, 'val': 3, 'test': 3} "
            "frames (80 % and 10 %, as" in printed.out)
    split, config = parts()
    assert sorted(sum(split, [])) == list(range(30))
    assert config['data'] == ['a.xyz', 'b.frames', 'c.xyz']
    assert (config['num_train'], config['num_val']) == (24, 3)
    with open('run/config.yaml') as file:
        written = yaml.safe_load(file)
    assert (written['num_train'], written['num_val']) == (24, 3)
    assert main(['evaluate', '--checkpoint', 'run', '--data',
                 '[a.xyz, b.frames, c.xyz]']) == 0
    assert 'on test frames of a.xyz, b.frames and c.xyz (3)' in (
        capsys.readouterr().out)
    with open('run/evaluation/frames.csv') as file:
        of_frames = list(csv.DictReader(file))
    assert [(row['source'], int(row['frame'])) for row in of_frames] == [
        ('a.xyz', i) if i < 14 else ('b.frames', i - 14) if i < 24 else
        ('c.xyz', i - 24) for i in split[2]]
    # The run goes on, as it was asked for or as its file says:
    assert train('--data', '[a.xyz, b.frames, c.xyz]', '--resume') == 0
    assert main(['train', '--config', 'run/config.yaml', '--resume']) == 0
    assert train('--data', '[b.frames, a.xyz, c.xyz]', '--resume') == 2
    assert main(['train', *RUN, '--data', '[a.xyz]', '--out', 'one']) == 0
    assert load_checkpoint('one/best.safetensors')[1]['config'][
        'data'] == 'a.xyz'


def test_files_for_validation_and_testing(files, capsys):
    assert train('--data', 'a.xyz', '--val', 'b.xyz', '--test', 'c.xyz') == 0
    split, config = parts()
    assert sorted(split[0]) == list(range(14))
    assert split[1:] == [list(range(14, 24)), list(range(24, 30))]
    assert (config['num_train'], config['num_val'], config['num_test']) == (
        14, None, None)
    with open('run/test.json') as file:
        of_run = json.load(file)
    assert of_run['num_frames'] == 6
    capsys.readouterr()
    for data, part, message in (
            ('c.xyz', 'all', 'on all frames of c.xyz (6)'),
            ('[a.xyz, b.xyz, c.xyz]', 'test', 'on test frames of a.xyz, '
             'b.xyz and c.xyz (6)')):
        assert main(['evaluate', '--checkpoint', 'run', '--data', data,
                     '--out', 'out', '--device', 'cpu']) == 0
        assert message in capsys.readouterr().out
        with open('out/evaluation.json') as file:
            again = json.load(file)
        assert again['model']['force_mae'] == pytest.approx(
            of_run['model']['force_mae'], rel=1e-6)
    assert main(['evaluate', '--checkpoint', 'run', '--data', 'a.xyz']) == 2
    assert ("'data' must be ['a.xyz', 'b.xyz', 'c.xyz'], all that the "
            "checkpoint says of the run, for the test frames of the run, or "
            "'data' 'c.xyz' alone" in capsys.readouterr().err)
    assert main(['evaluate', '--checkpoint', 'run']) == 2
    assert "'val' 'b.xyz' and 'test' 'c.xyz'" in capsys.readouterr().err
    arguments = ['--data', 'a.xyz', '--val', 'b.xyz', '--resume']
    assert train(*arguments, '--test', 'c.xyz') == 0
    assert train(*arguments, '--test', 'b.xyz') == 2
    assert train(*arguments) == 2
    assert main(['train', '--config', 'run/config.yaml', '--resume']) == 0


def test_validation_frames_of_a_file_alone(files):
    assert train('--data', '[a.xyz, c.xyz]', '--val', '[b.xyz]',
                 '--num_train', '12', '--num_test', '3') == 0
    split, config = parts()
    assert config['val'] == 'b.xyz'
    assert split[1] == list(range(20, 30))
    assert len(split[0]) == 12 and len(split[2]) == 3
    assert max(split[0] + split[2]) < 20


def test_types_for_validation_and_testing(files, capsys):
    assert train('--data', '[a.xyz, b.xyz, c.xyz]', '--val_config_type',
                 'gas', '--test_config_type', '[Default]') == 0
    split, _ = parts()
    assert split[1:] == [[1, 4, 7, 10, 13], list(range(14, 30))]
    assert sorted(split[0]) == [0, 2, 3, 5, 6, 8, 9, 11, 12]
    assert train('--data', '[a.xyz, b.xyz]', '--val_config_type',
                 '[gas, solid]', '--out', 'other') == 2
    assert ("'val_config_type' must have types of the frames, which are (with "
            "their numbers) {'Default': 10, 'liquid': 9, 'gas': 5} (got "
            "['solid'])" in capsys.readouterr().err)


@pytest.mark.parametrize('arguments,message', [
    (['--val', 'b.xyz', '--num_val', '3'], "'num_val' must not be given "
     "beside 'val'"),
    (['--test', 'b.xyz', '--num_test', '3'], "'num_test' must not be given "
     "beside 'test'"),
    (['--val_config_type', 'gas', '--num_val', '3'], "'num_val' must not be "
     "given beside 'val_config_type'"),
    (['--val', 'b.xyz', '--val_config_type', 'gas'], "'val_config_type' must "
     "not be given beside 'val'"),
    (['--val', 'b.xyz', '--split', 'some'], "'split' must not be given"),
    (['--val_config_type', 'gas', '--test_config_type', '[gas, liquid]'],
     "must have different types (got ['gas'] twice)"),
    (['--val', 'missing.xyz'], "'val' must be 'xtb:NAME'"),
    (['--test', '[b.xyz, missing.xyz]'], "'test' must be 'xtb:NAME'"),
    (['--val', '[b.xyz, b.xyz]'], "'val' must be different ones"),
    (['--val', 'http://host/b.xyz'], "'val' must be a path of this machine"),
    (['--data', 'b.xyz'], "'--data' must be given once: several are '[a, b]'"),
    (['--val', 'b.xyz', '--num_train', '15'], "'num_train' + 'num_val' must "
     "be at most 14, the number of frames to draw from (got 15 + 0)"),
    (['--num_train', '12', '--num_val', '3'], "at most 14, the number of "
     "frames to draw from (got 12 + 3)"),
    (['--val_config_type', 'gas', '--test_config_type', 'liquid'],
     "There must be frames to train on (got 14 in all, of which 5 in 'val' "
     "and 9 in 'test')"),
])
def test_what_is_refused(files, capsys, arguments, message):
    assert train('--data', 'a.xyz', *arguments) == 2
    assert message in capsys.readouterr().err


def test_units_must_agree(files, capsys):
    frames = ase_io.read('a.xyz', ':')
    numpy.savez('d.npz', z=frames[0].numbers,
                R=numpy.stack([atoms.positions for atoms in frames]),
                E=numpy.array([[atoms.get_potential_energy()]
                               for atoms in frames]),
                F=numpy.stack([atoms.get_forces() for atoms in frames]))
    for arguments in (['--data', '[a.xyz, d.npz]'],
                      ['--data', 'a.xyz', '--val', 'd.npz']):
        assert train(*arguments) == 2
        assert ("'a.xyz' and 'd.npz' must have the same units"
                in capsys.readouterr().err)


def test_options_are_for_those_that_take_them(files, tmp_path):
    """Names of labels for files, beside one of frames that has none; units
    convert all."""
    convert_frames('b.xyz', 'b.frames')
    frames = ase_io.read('a.xyz', ':')
    for atoms in frames:
        atoms.info['E'] = 23.060547830619026 * atoms.get_potential_energy()
        atoms.arrays['F'] = 23.060547830619026 * atoms.get_forces()
        atoms.calc = None
    ase_io.write('d.xyz', frames, format='extxyz')
    assert train('--data', 'd.xyz', '--val', 'b.frames', '--energy_key', 'E',
                 '--forces_key', 'F', '--units', 'kcal/mol') == 0
    assert train('--data', 'a.xyz', '--val', 'b.xyz', '--out', 'other') == 0
    converted, plain = (load_checkpoint(f'{run}/best.safetensors')[1]
                        for run in ('run', 'other'))
    assert converted['energy_scale'] == pytest.approx(plain['energy_scale'],
                                                      rel=1e-6)
    assert converted['units'] == plain['units']
