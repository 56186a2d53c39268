import json

import numpy
import pytest

from torch_sake.cli import main

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('jsonargparse')


def test_relaxed_cell(checkpoint, crystal_file, tmp_path):
    out = tmp_path / 'out'
    assert main(['relax', '--checkpoint', checkpoint('run'), '--structure',
                 crystal_file, '--cell', 'true', '--out', str(out), '--fmax',
                 '1e-4', '--num_steps', '200']) == 0
    results = json.loads((out / 'relax.json').read_text())
    assert results['converged'] and results['change of energy [eV]'] < 0
    atoms = ase_io.read(out / 'relaxed.extxyz')
    assert numpy.abs(atoms.get_forces()).max() < 1e-4
    assert numpy.abs(atoms.get_stress()).max() < 1e-5
    assert numpy.allclose(results['cell [Angstrom]'], atoms.cell.array)


def test_vibrations(checkpoint, molecule_file, tmp_path, capsys):
    from ase.vibrations import Vibrations

    from torch_sake.calculators import SAKECalculator
    path, out = checkpoint('run'), tmp_path / 'out'
    assert main(['relax', '--checkpoint', path, '--structure', molecule_file,
                 '--out', str(out), '--num_steps', '3', '--vibrations',
                 'true']) == 0
    assert 'Not relaxed to fmax=0.001 in 3 steps' in capsys.readouterr().out
    results = json.loads((out / 'relax.json').read_text())
    assert not results['converged']
    # ASE takes more decimals than a file of structures keeps:
    atoms = ase_io.read(out / 'relaxed.extxyz')
    atoms.calc = SAKECalculator(path)
    vibrations = Vibrations(atoms, name=str(tmp_path / 'vib'), delta=0.005)
    vibrations.run()
    expected = vibrations.get_frequencies()
    expected = numpy.sort(expected.real - expected.imag)
    found = numpy.array(results['wavenumbers [1/cm]'])
    assert len(found) == 27 and numpy.abs(found).max() > 50
    assert numpy.allclose(found, expected, atol=0.5)


def test_bad_input(checkpoint, molecule_file, capsys):
    assert main(['relax', '--checkpoint', checkpoint('run'), '--structure',
                 molecule_file, '--cell', 'true']) == 2
    assert "'cell' must not be set for a structure" in capsys.readouterr().err
    assert main(['relax', '--checkpoint', checkpoint('run'), '--structure',
                 molecule_file, '--pressure', '1.0']) == 2
    assert "'pressure' must be finite, and zero" in capsys.readouterr().err
