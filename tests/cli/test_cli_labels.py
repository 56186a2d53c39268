"""Labels of other names and in other units, from the command line."""

import json

import pytest
import torch

from torch_sake.cli import main

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('jsonargparse')

KCAL = 0.0433641153087705  # eV


@pytest.fixture
def molecules(water_file):
    """The frames of a file, with labels that can be changed."""
    structures = ase_io.read(water_file, ':')
    for atoms in structures:
        results, atoms.calc = atoms.calc.results, None
        atoms.info['dft_energy'] = results['energy']
        atoms.arrays['dft_forces'] = results['forces']
    return structures


@pytest.fixture
def run(tmp_path, small):
    """Trains on data and returns the exit status."""
    def train(data, out, *options):
        return main(['train', '--data', str(data), '--out',
                     str(tmp_path / out), *small, *options])
    return train


def errors(tmp_path, out, name):
    return json.load(open(tmp_path / out / f'{name}.json'))


def test_labels_of_other_names(molecules, run, tmp_path, capsys):
    path = tmp_path / 'm.extxyz'
    ase_io.write(path, molecules)
    keys = ['--energy_key', 'dft_energy', '--forces_key', 'dft_forces']
    assert run(path, 'run') == 2
    assert ("'energy_key' and 'forces_key' must be given: the file has no "
            "'energy' but 'dft_energy', no 'forces' but 'dft_forces' "
            "(--energy_key dft_energy --forces_key dft_forces, or"
            in capsys.readouterr().err)
    assert run(path, 'run', *keys) == 0
    assert 'frames with energies and forces,' in capsys.readouterr().out
    arguments = ['--data', str(path)]
    evaluate = ['evaluate', '--checkpoint', str(tmp_path / 'run')]
    assert main([*evaluate, *arguments, *keys]) == 0
    out = str(tmp_path / 'm.frames')
    assert main(['convert', *arguments, '--out', out]) == 2
    assert 'energy_key' in capsys.readouterr().err
    assert main(['convert', *arguments, '--out', out, *keys]) == 0
    assert main([*evaluate, '--data', out]) == 0
    assert main([*evaluate, *arguments, '--energy_key', 'mp2']) == 2
    assert "(got 'mp2'; it has ['dft_energy'" in capsys.readouterr().err
    keys[-1] = 'none'
    out = str(tmp_path / 'energies.frames')
    assert main(['convert', *arguments, '--out', out, *keys]) == 0
    assert ', with energies (eV,' in capsys.readouterr().out


def test_some_forces_are_missing(molecules, run, tmp_path, capsys):
    path = tmp_path / 'm.extxyz'
    for atoms in molecules[::2]:
        del atoms.arrays['dft_forces']
    ase_io.write(path, molecules)
    assert run(path, 'run', '--energy_key', 'dft_energy', '--forces_key',
               'dft_forces') == 0
    assert ('frames with energies and forces (15 of 30 frames),'
            in capsys.readouterr().out)


def test_no_labels_at_all(molecules, run, tmp_path, capsys):
    path = tmp_path / 'm.extxyz'
    for atoms in molecules:
        del atoms.info['dft_energy'], atoms.arrays['dft_forces']
    ase_io.write(path, molecules)
    assert run(path, 'run') == 2
    assert ('The training frames must have labels (there are none in '
            in capsys.readouterr().err)


@pytest.mark.slow
def test_units(molecules, run, tmp_path, capsys):
    from ase.calculators.singlepoint import SinglePointCalculator

    from torch_sake import load_potential
    names = {}
    for name, unit in (('eV', 1.0), ('kcal', KCAL)):
        for atoms in molecules:
            atoms.calc = SinglePointCalculator(
                atoms, energy=atoms.info['dft_energy'] / unit,
                forces=atoms.arrays['dft_forces'] / unit)
        names[name] = str(tmp_path / f'{name}.traj')
        ase_io.write(names[name], molecules)
    options = ['--units', 'kcal/mol']
    assert run(names['eV'], 'eV') == run(names['kcal'], 'kcal', *options) == 0
    metrics = [errors(tmp_path, out, 'test') for out in ('eV', 'kcal')]
    assert metrics[0]['units'] == metrics[1]['units'] == {
        'length': 'Angstrom', 'energy': 'eV'}
    for key, value in metrics[0]['model'].items():
        assert metrics[1]['model'][key] == pytest.approx(value, rel=1e-2)
    # The run's own data are known as such:
    evaluate = ['evaluate', '--checkpoint', str(tmp_path / 'kcal'), '--data']
    capsys.readouterr()
    assert main([*evaluate, names['kcal'], *options]) == 0
    printed = capsys.readouterr().out
    assert ('kcal.traj: converted from kcal/mol and Angstrom to eV and '
            'Angstrom\n' in printed)
    assert 'on test frames' in printed
    found = errors(tmp_path, 'kcal/evaluation', 'evaluation')['model']
    assert found == pytest.approx(metrics[1]['model'], rel=1e-6)
    assert main([*evaluate, names['kcal']]) == 2
    assert "'units' must be given for" in capsys.readouterr().err
    # A run that goes on, and one that starts from another:
    assert run(names['kcal'], 'kcal', *options, '--resume') == 0
    assert run(names['kcal'], 'more', *options, '--init',
               str(tmp_path / 'eV')) == 0
    assert load_potential(tmp_path / 'more') is not None


def test_data_in_other_units_than_the_potential(water_file, run, tmp_path,
                                                capsys):
    """Units that are both known need not be given."""
    out = str(tmp_path / 'm.frames')
    assert main(['convert', '--data', water_file, '--out', out]) == 0
    frames = tmp_path / 'kJ.frames'
    from torch_sake.datasets import FramesOnDisk, load_frames, write_frames
    units = {'length': 'nm', 'energy': 'kJ/mol'}
    write_frames([load_frames(water_file).in_units(units)], frames)
    assert FramesOnDisk(frames).units == units
    assert run(water_file, 'run') == 0
    evaluate = ['evaluate', '--checkpoint', str(tmp_path / 'run'), '--part',
                'all', '--data']
    found = []
    for data in (out, str(frames)):
        capsys.readouterr()
        assert main([*evaluate, data]) == 0
        printed = capsys.readouterr().out
        assert ('converted from kJ/mol and nm to eV and Angstrom'
                in printed) == (data != out)
        found.append(errors(tmp_path, 'run/evaluation', 'evaluation'))
    assert found[0]['units'] == found[1]['units']
    for key, value in found[0]['model'].items():
        assert found[1]['model'][key] == pytest.approx(value, rel=1e-4)


def test_predictions_in_the_units_of_the_file(molecules, run, water_file,
                                              tmp_path):
    """And forces that are called gradients, with their sign."""
    data, out = tmp_path / 'm.extxyz', str(tmp_path / 'out.extxyz')
    assert run(water_file, 'run') == 0
    for atoms in molecules:
        atoms.info['E'] = atoms.info.pop('dft_energy') / KCAL
        atoms.arrays['gradient'] = -atoms.arrays.pop('dft_forces') / KCAL
    ase_io.write(data, molecules)
    with pytest.warns(UserWarning, match='minus the forces'):
        assert main(['evaluate', '--checkpoint', str(tmp_path / 'run'),
                     '--data', str(data), '--units', 'kcal/mol',
                     '--energy_key', 'E', '--forces_key', 'gradient',
                     '--predictions', out]) == 0
    for atoms, other in zip(ase_io.read(out, ':'), molecules):
        assert atoms.info['E'] == pytest.approx(other.info['E'], rel=1e-9)
        assert atoms.arrays['gradient'] == pytest.approx(
            other.arrays['gradient'], abs=1e-5)
        # eV would be a factor of 23 away:
        assert atoms.info['SAKE_energy'] == pytest.approx(other.info['E'],
                                                          rel=1e-2)


@pytest.mark.parametrize('arguments, message', [
    (['convert', '--energy_unit', 'eV', '--units', 'eV'],
     "'units' must not be given beside its older name 'energy_unit'"),
    (['convert', '--units', 'Kelvin'], "'units' must be one of"),
    (['convert', '--length_unit', 'eV'], "'length_unit' must be one of"),
    (['convert', '--data', 'other'], "'--data' must be given once\n"),
])
def test_wrong_options_of_convert(arguments, message, water_file, tmp_path,
                                  capsys):
    arguments = [arguments[0], '--data', water_file, '--out',
                 str(tmp_path / 'out'), *arguments[1:]]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_units_of_convert(water_file, tmp_path, capsys):
    out = str(tmp_path / 'm.frames')
    assert main(['convert', '--data', water_file, '--out', out, '--units',
                 'ry']) == 0
    assert '(Rydberg, Angstrom)' in capsys.readouterr().out
    from torch_sake.datasets import FramesOnDisk, read_frames
    assert torch.equal(FramesOnDisk(out)[3].energy,
                       read_frames(water_file)[3].energy)


@pytest.mark.parametrize('name', ['no.xyz', './no', '~/no.db'])
@pytest.mark.parametrize('options', [[], ['--units', 'kcal/mol'],
                                     ['--energy_key', 'E']], ids=str)
def test_a_file_that_is_missing(name, options, capsys):
    assert main(['train', '--data', name, *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"torch-sake train: There is no file '{name}': ")


@pytest.mark.parametrize('command', ['train', 'evaluate', 'dynamics'])
def test_data_are_given_once(command, capsys):
    assert main([command, '--data', 'a.xyz', '--data=b.xyz']) == 2
    assert "'--data' must be given once" in capsys.readouterr().err
