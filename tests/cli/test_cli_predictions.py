"""What `evaluate` writes for people and for other programs."""

import csv
import json
import math
import os
import subprocess
import sys

import numpy
import pytest

from torch_sake.cli import main
from torch_sake.datasets import Frames, read_frames, write_frames

pytest.importorskip('jsonargparse')
pytest.importorskip('matplotlib')
ase_io = pytest.importorskip('ase.io')


def read_rows(*path):
    with open(os.path.join(*path), newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture
def run(water_file, tmp_path, small):
    out = str(tmp_path / 'run')
    assert main(['train', '--data', water_file, '--out', out, *small]) == 0
    return out


def test_command(run, water_file, tmp_path, capsys):
    """The test frames of a run, with their numbers, and once more."""
    path = str(tmp_path / 'test.extxyz')
    command = ['evaluate', '--checkpoint', run, '--predictions', path]
    assert main([*command, '--data', water_file]) == 0
    assert f"10 frames with predictions are in '{path}'" in (
        capsys.readouterr().out)
    first = json.load(open(os.path.join(run, 'evaluation',
                                        'evaluation.json')))
    images, original = ase_io.read(path, ':'), ase_io.read(water_file, ':')
    errors = []
    for atoms in images:
        source = original[atoms.info['SAKE_frame']]
        assert atoms.positions == pytest.approx(source.positions, abs=1e-7)
        assert atoms.get_potential_energy() == pytest.approx(
            source.get_potential_energy(), abs=1e-8)
        errors.append(atoms.arrays['SAKE_forces'] - source.get_forces())
    assert numpy.abs(errors).mean() == pytest.approx(
        first['model']['force_mae'], rel=1e-5)
    # Again, with predictions that are not taken for labels:
    assert main([*command, '--data', water_file]) == 2
    assert "'predictions' must not exist" in capsys.readouterr().err
    again = str(tmp_path / 'again.extxyz')
    assert main(['evaluate', '--checkpoint', run, '--data', path,
                 '--predictions', again]) == 0
    second = json.load(open(os.path.join(run, 'evaluation',
                                         'evaluation.json')))
    assert second['model'] == pytest.approx(first['model'], rel=1e-4)
    assert len(ase_io.read(again, ':')) == 10


@pytest.mark.parametrize('ending', ['frames', 'extxyz'])
def test_frames_without_labels(run, water_file, tmp_path, capsys, ending):
    images = ase_io.read(water_file, ':3')
    data, path = str(tmp_path / f'bare.{ending}'), str(tmp_path / 'out.xyz')
    if ending == 'frames':
        write_frames([Frames([atoms.numbers for atoms in images],
                             [atoms.positions for atoms in images], 3 * [None],
                             name='bare', source='bare', units={
                                 'length': 'Angstrom', 'energy': 'eV'})], data)
    else:
        for atoms in images:
            atoms.calc = None
        ase_io.write(data, images)
    command = ['evaluate', '--checkpoint', run, '--data', data]
    assert main(command) == 2
    assert "'predictions' must be given for frames without labels" in (
        capsys.readouterr().err)
    assert main([*command, '--predictions', path]) == 0
    printed = capsys.readouterr().out
    assert 'No frame has a label' in printed
    assert not os.path.exists(os.path.join(run, 'evaluation'))
    written = ase_io.read(path, ':')
    assert [atoms.calc for atoms in written] == 3 * [None]
    assert all(math.isfinite(atoms.info['SAKE_energy'])
               for atoms in written)
    # These are still no labels:
    assert main(['evaluate', '--checkpoint', run, '--data', path]) == 2
    assert "'predictions' must be given for frames without labels" in (
        capsys.readouterr().err)


def test_labels_of_other_names_and_units(run, water_file, tmp_path):
    """All comes out under its names and in its units, as it was."""
    from ase.units import Bohr, Hartree
    images = ase_io.read(water_file, ':4')
    data, path = str(tmp_path / 'own.extxyz'), str(tmp_path / 'out.extxyz')
    for index, atoms in enumerate(images):
        atoms.info = {'dft_energy': atoms.get_potential_energy() / Hartree,
                      'xtb_energy': -5.0 - index, 'config_type': 'water',
                      'page': '12'}
        atoms.arrays['dft_forces'] = atoms.get_forces() / Hartree * Bohr
        atoms.positions /= Bohr
        atoms.calc = None
    ase_io.write(data, images)
    out = str(tmp_path / 'out')
    assert main(['evaluate', '--checkpoint', run, '--data', data, '--units',
                 'Hartree', '--length_unit', 'Bohr', '--energy_key',
                 'dft_energy', '--forces_key', 'dft_forces', '--predictions',
                 path, '--out', out, '--group_by', 'config_type']) == 0
    written = ase_io.read(path, ':')
    model = json.load(open(os.path.join(out, 'evaluation.json')))['model']
    for name, entry, unit in (('energy', 'info', Hartree),
                              ('forces', 'arrays', Hartree / Bohr)):
        error = [getattr(atoms, entry)[f'SAKE_{name}']
                 - getattr(atoms, entry)[f'dft_{name}'] for atoms in written]
        assert numpy.abs(error).mean() * unit == pytest.approx(
            model[f'{name.removesuffix("s")}_mae'], rel=1e-4)
    for atoms, other in zip(images, written):
        assert other.positions == pytest.approx(atoms.positions, abs=1e-7)
        assert other.arrays['dft_forces'] == pytest.approx(
            atoms.arrays['dft_forces'], abs=1e-7)
        for name in ('dft_energy', 'xtb_energy'):
            assert other.info[name] == pytest.approx(atoms.info[name])
        assert other.info['config_type'] == 'water'
    assert {row['config_type'] for row in read_rows(out, 'frames.csv')} == {
        'water'}


def test_frames_and_groups(run, water_file, tmp_path, capsys):
    """The same errors, summed up by hand."""
    frames = list(read_frames(water_file))
    kinds = ['hot', 'cold', None]
    data, out = str(tmp_path / 'water.frames'), str(tmp_path / 'out')
    write_frames([Frames(
        [frame.z for frame in frames], [frame.pos for frame in frames],
        [frame.energy.item() for frame in frames],
        [frame.force if index % 5 else None
         for index, frame in enumerate(frames)], name='water',
        units={'length': 'Angstrom', 'energy': 'eV'}, source='water',
        infos=[{'kind': kinds[index % 3]} if index % 3 < 2 else {}
               for index in range(30)])], data)
    path = str(tmp_path / 'out.extxyz')
    command = ['evaluate', '--checkpoint', run, '--data', data, '--part',
               'all', '--out', out]
    capsys.readouterr()
    assert main([*command, '--group_by', 'no']) == 2
    assert "one of ['kind'] (got 'no')" in capsys.readouterr().err
    assert main([*command, '--group_by', 'kind', '--predictions', path]) == 0
    printed = capsys.readouterr().out
    assert '\nBy kind (number of frames)\n' in printed
    assert '\n- (10) ' in printed and '\ncold (10) ' in printed
    assert 'Frames with labels: energy 30, force 24\n' in printed

    rows, images = read_rows(out, 'frames.csv'), ase_io.read(path, ':')
    assert [int(row['frame']) for row in rows] == list(range(30))
    assert [row['kind'] for row in rows] == 10 * ['hot', 'cold', '-']
    for row, atoms in zip(rows, images):
        assert row['formula'] == 'H2O' and row['num_atoms'] == '3'
        label = atoms.get_potential_energy()
        assert float(row['energy_label']) == pytest.approx(label)
        assert float(row['energy_prediction']) == pytest.approx(
            atoms.info['SAKE_energy'])
        assert float(row['energy_per_atom_error']) == pytest.approx(
            (atoms.info['SAKE_energy'] - label) / 3, abs=1e-6)
        if 'forces' not in atoms.calc.results:
            assert row['force_mae'] == row['force_max'] == ''
            continue
        error = atoms.arrays['SAKE_forces'] - atoms.get_forces()
        for name, value in (('mae', numpy.abs(error).mean()),
                            ('rmse', numpy.sqrt(numpy.square(error).mean())),
                            ('max', numpy.abs(error).max())):
            assert float(row[f'force_{name}']) == pytest.approx(value,
                                                                rel=1e-5)
    errors = json.load(open(os.path.join(out, 'evaluation.json')))
    assert errors['group_by'] == 'kind'
    groups = {row['name']: row for row in read_rows(out, 'errors.csv')
              if row['part'] == 'kind'}
    assert set(groups) == set(errors['groups']) == {'hot', 'cold', '-'}
    for name, group in groups.items():
        mine = [abs(float(row['energy_per_atom_error'])) for row in rows
                if row['kind'] == name]
        for found in (group, errors['groups'][name]):
            assert float(found['energy_per_atom_mae']) == pytest.approx(
                sum(mine) / 10, rel=1e-5)
            assert int(found['num_frames']) == 10

    # The worst come first, those without forces are not among them:
    for column, number in (('force_rmse', 20),
                           ('energy_per_atom_error', 20)):
        worst = errors['worst'][column]
        ranked = sorted((row for row in rows if row[column]), reverse=True,
                        key=lambda row: abs(float(row[column])))
        assert [row['frame'] for row in worst] == [
            int(row['frame']) for row in ranked[:number]]
        first = printed.split('The worst frames by')[
            1 + (column == 'energy_per_atom_error')].splitlines()[2].split()
        assert first[:4] == [str(worst[0]['frame']), worst[0]['kind'], 'H2O',
                             '3']
        assert float(first[4]) == pytest.approx(
            1000 * worst[0]['energy_per_atom_error'], rel=1e-3)


def test_many_groups(run, water_file, tmp_path, capsys, monkeypatch):
    from torch_sake.evaluation import frame_texts, report
    frames = list(read_frames(water_file))
    data = str(tmp_path / 'water.frames')
    write_frames([Frames(
        [frame.z for frame in frames], [frame.pos for frame in frames],
        [frame.energy.item() for frame in frames], name='water',
        units={'length': 'Angstrom', 'energy': 'eV'}, source='water',
        infos=[{'time': index / 2} for index in range(30)])], data)
    command = ['evaluate', '--checkpoint', run, '--data', data, '--part',
               'all', '--out', str(tmp_path / 'out'), '--group_by', 'time']
    monkeypatch.setattr(report, 'MAX_ROWS', 20)
    assert main(command) == 0
    assert "The 20 largest of 30; all are in 'errors.csv'" in (
        capsys.readouterr().out)
    rows = read_rows(tmp_path / 'out', 'errors.csv')
    assert len([row for row in rows if row['part'] == 'time']) == 30
    monkeypatch.setattr(frame_texts, 'MAX_GROUPS', 29)
    assert main(command) == 2
    assert "at most 29 different values (got 'time' with 30)" in (
        capsys.readouterr().err)


@pytest.mark.skipif(os.name == 'nt', reason='POSIX pipes')
@pytest.mark.slow
@pytest.mark.parametrize('number', [1, 100_000])  # in a buffer, or beyond
def test_output_that_nobody_reads(number):
    process = subprocess.Popen(
        [sys.executable, '-c', 'import sys, torch_sake.cli.train as module;'
         f'module.train = lambda config: print({number} * "line\\n");'
         'from torch_sake.cli import main; sys.exit(main(["train"]))'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    process.stdout = None
    assert process.communicate(timeout=120)[1] == ''
    assert process.returncode == 141


def test_several_sources(run, water_file, tmp_path):
    """Each frame has the number that it has in its own file."""
    other, path = str(tmp_path / 'other.extxyz'), str(tmp_path / 'out.extxyz')
    ase_io.write(other, ase_io.read(water_file, '3:5'))
    out = str(tmp_path / 'out')
    assert main(['evaluate', '--checkpoint', run, '--data',
                 str([other, water_file]), '--part', 'all', '--out', out,
                 '--predictions', path]) == 0
    expected = [(other, 0), (other, 1)] + [(water_file, index)
                                           for index in range(30)]
    assert [(row['source'], int(row['frame'])) for row in read_rows(
        out, 'frames.csv')] == expected
    assert [(atoms.info['SAKE_source'], atoms.info['SAKE_frame'])
            for atoms in ase_io.read(path, ':')] == expected
