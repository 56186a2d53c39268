import os

import pytest

from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('jsonargparse')
pytest.importorskip('matplotlib')


@pytest.fixture
def broken_file(water_file, tmp_path) -> str:
    """The frames of which number 17 has no energy and 4 is number 2 again."""
    frames = ase_io.read(water_file, ':')
    frames[17].calc.results['energy'] = 0.0
    frames[4] = frames[2]
    path = str(tmp_path / 'broken.extxyz')
    ase_io.write(path, frames)
    return path


def split_of(out):
    tensors, _ = load_checkpoint(os.path.join(out, 'last.safetensors'))
    return {name: tensors[f'split.{name}'].tolist()
            for name in ('train', 'val', 'test')}


def test_nothing_is_said_of_what_is_right(water_file, tmp_path, capsys, small):
    out = str(tmp_path / 'run')
    assert main(['train', '--data', water_file, '--out', out, *small]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line for line in printed if line.startswith(water_file)] == [
        printed[0]]
    assert os.path.exists(os.path.join(out, 'data.png'))


def test_outliers_are_named_and_left_out(broken_file, tmp_path, capsys, small):
    out, parts = str(tmp_path / 'run'), []
    for options in ([], ['--drop_outliers', 'true']):
        out += '-'
        arguments = ['train', '--data', broken_file, '--out', out, *small]
        assert main([*arguments, *options]) == 0
        printed = capsys.readouterr().out.splitlines()
        named = [line for line in printed if 'frame' in line and
                 line.startswith(f'{broken_file}, ')]
        assert named[0].startswith(f'{broken_file}, frame 17: the energy is')
        assert named[1].startswith(f'{broken_file}, frame 4: the same as')
        assert len(named) == 2
        assert named[0].endswith('leaves it out') == (not options)
        parts.append(split_of(out))
    assert (f"'drop_outliers': 2 of 30 frames are left out of the split "
            f"({broken_file}, frames 4 and 17)") in printed
    # All others are where they are without:
    assert parts[1] == {name: [index for index in part if index not in (4, 17)]
                        for name, part in parts[0].items()}
    assert sum(map(len, parts[1].values())) == 28

    longer = [*arguments, '--drop_outliers', 'true', '--resume']
    assert main(longer) == 0
    assert 'the energy is exactly 0' not in capsys.readouterr().out
    assert split_of(out) == parts[1]


def test_no_frame_may_be_left(water_file, tmp_path, capsys, small):
    frames = ase_io.read(water_file, ':')
    path = str(tmp_path / 'copies.extxyz')
    ase_io.write(path, 30 * [frames[0]])
    out = str(tmp_path / 'run')
    assert main(['train', '--data', path, '--out', out, *small,
                 '--drop_outliers', 'true']) == 2
    assert "'drop_outliers' must leave frames" in capsys.readouterr().err


@pytest.mark.slow
def test_a_unit_is_named(water_file, tmp_path, capsys, small):
    frames = ase_io.read(water_file, ':')
    for atoms in frames:
        for name in ('energy', 'forces'):
            atoms.calc.results[name] = 23.06 * atoms.calc.results[name]
    path = str(tmp_path / 'kcal.extxyz')
    ase_io.write(path, frames)
    out = str(tmp_path / 'run')
    assert main(['train', '--data', path, '--out', out, *small]) == 0
    line, = [line for line in capsys.readouterr().out.splitlines()
             if line.startswith(f'{path}: Labels')]
    assert "('--units kcal/mol')" in line


def test_conversion_looks_at_labels(broken_file, tmp_path, capsys):
    out = str(tmp_path / 'x.frames')
    assert main(['convert', '--data', broken_file, '--out', out]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].startswith(f'{out}, frame 17: the energy is exactly 0')
    assert len(printed) == 3 and 'drop_outliers' not in ''.join(printed)
