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


def test_vibrations_of_atoms_that_are_free(checkpoint, molecule_file,
                                           tmp_path):
    from ase.constraints import FixAtoms
    from ase.vibrations import Vibrations

    from torch_sake.calculators import SAKECalculator
    path, out = checkpoint('run'), tmp_path / 'out'
    atoms = ase_io.read(molecule_file)
    atoms.set_constraint(FixAtoms([0, 4]))
    atoms.write(tmp_path / 'fixed.traj')
    assert main(['relax', '--checkpoint', path, '--structure',
                 str(tmp_path / 'fixed.traj'), '--out', str(out),
                 '--num_steps', '1', '--vibrations', 'true']) == 0
    relaxed = ase_io.read(out / 'relaxed.extxyz')
    assert numpy.allclose(relaxed.positions[4], atoms.positions[4])
    relaxed.calc = SAKECalculator(path)
    relaxed.set_constraint(FixAtoms([0, 4]))
    vibrations = Vibrations(relaxed, name=str(tmp_path / 'vib'), delta=0.005)
    vibrations.run()
    expected = vibrations.get_frequencies()
    expected = numpy.sort(expected.real - expected.imag)
    found = json.loads((out / 'relax.json').read_text())
    found = numpy.array(found['wavenumbers [1/cm]'])
    assert len(found) == 21
    assert numpy.allclose(found, expected, atol=0.5)


def test_volume_that_changes_much(checkpoint, crystal_file, tmp_path, capsys):
    for pressure, expected in ((0.0, False), (10.0, True)):
        assert main(['relax', '--checkpoint', checkpoint('run'), '--cell',
                     'true', '--structure', crystal_file, '--pressure',
                     str(-pressure), '--num_steps', '40', '--out',
                     str(tmp_path / 'out')]) == int(expected)  # burst
        printed = capsys.readouterr().out
        assert ('The volume has changed so much' in printed) == expected
        results = json.loads((tmp_path / 'out' / 'relax.json').read_text())
        before = ase_io.read(crystal_file).get_volume()
        assert results['change of volume'] == pytest.approx(
            results['volume [Angstrom^3]'] / before - 1)


def test_vibrations_with_other_constraints(checkpoint, molecule_file,
                                           tmp_path, capsys):
    from ase.constraints import FixedPlane
    atoms = ase_io.read(molecule_file)
    atoms.set_constraint(FixedPlane(0, (1, 0, 0)))
    atoms.write(tmp_path / 'plane.traj')
    assert main(['relax', '--checkpoint', checkpoint('run'), '--structure',
                 str(tmp_path / 'plane.traj'), '--vibrations', 'true']) == 2
    assert "'vibrations' must not be asked for with constraints but fixed" in (
        capsys.readouterr().err)
