import sys

import numpy as np
import pytest
import torch

from torch_sake.datasets import read_frames
from torch_sake.datasets.frames.ase_file import ase_blocks

ase = pytest.importorskip('ase')
ase_io = pytest.importorskip('ase.io')


def molecules():
    from ase.build import molecule
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(0)
    structures = []
    for name in ('H2O', 'CH4', 'CO2'):
        atoms = molecule(name)
        atoms.calc = SinglePointCalculator(
            atoms, energy=rng.normal() - 2000,
            forces=rng.normal(size=(len(atoms), 3)))
        structures.append(atoms)
    return structures


def check(frames, structures, tolerance=0.0):
    assert len(frames) == len(structures)
    assert frames.units == {'length': 'Angstrom', 'energy': 'eV'}
    for data, atoms in zip(frames, structures):
        assert data.z.tolist() == atoms.numbers.tolist()
        for value, expected in (
            (data.pos, atoms.positions),
            (data.force, atoms.calc.results['forces']),
            (data.energy, np.array([atoms.calc.results['energy']])),
        ):
            assert value.dtype == torch.float64
            assert value.shape == expected.shape
            assert np.abs(value.numpy() - expected).max() <= tolerance


@pytest.mark.parametrize('name,tolerance', [('m.traj', 0.0), ('m.xyz', 1e-8)])
def test_read_frames(tmp_path, name, tolerance):
    ase_io.write(tmp_path / name, molecules())
    frames = read_frames(tmp_path / name)
    check(frames, molecules(), tolerance)
    assert frames.name == 'm'
    assert frames.source == str(tmp_path / name)
    assert frames.test_start is None


def test_read_frames_with_constraints(tmp_path):
    from ase.constraints import FixAtoms

    structures = molecules()
    structures[0].set_constraint(FixAtoms([0]))
    ase_io.write(tmp_path / 'm.traj', structures)
    check(read_frames(tmp_path / 'm.traj'), molecules())


def test_read_frames_without_energy(tmp_path):
    path = tmp_path / 'm.xyz'
    structures = molecules()
    del structures[1].calc.results['energy']
    ase_io.write(path, structures)
    frames = read_frames(path)
    assert frames.known('energy').tolist() == [True, False, True]
    assert frames.known('force').all()
    assert frames[1].energy.isnan().all()
    structures[1].calc = None
    ase_io.write(path, structures)
    frames = read_frames(path)
    assert frames.known('energy').tolist() == [True, False, True]
    assert frames.known('force').tolist() == [True, False, True]
    # An energy of another name is not lost without a word:
    structures[1].info['dft_energy'] = -3.0
    ase_io.write(path, structures)
    with pytest.warns(UserWarning, match="m.xyz': 1 of 3 frames, the first of "
                      "them 1, have no 'energy' but 'dft_energy', which"):
        assert not read_frames(path).known('energy')[1]
    for atoms in structures:
        atoms.calc = None
    ase_io.write(path, structures)
    with pytest.raises(ValueError, match="m.xyz': 'energy_key' must be given: "
                       "the file has no 'energy' but 'dft_energy' .--energy_k"
                       "ey dft_energy, or 'none' to go without"):
        read_frames(path)
    del structures[1].info['dft_energy']
    ase_io.write(path, structures)
    frames = read_frames(path)
    assert not frames.known('energy').any() and not frames.has_forces


@pytest.mark.parametrize('name', ['m.traj', 'm.xyz'])
def test_read_frames_without_forces(tmp_path, name):
    structures = molecules()
    del structures[1].calc.results['forces']
    ase_io.write(tmp_path / name, structures)
    frames = read_frames(tmp_path / name)
    assert frames.known('force').tolist() == [True, False, True]
    assert frames[1].force.isnan().all() and frames[2].force.isfinite().all()
    assert frames.known('energy').all()
    del structures[0].calc.results['forces']
    del structures[2].calc.results['forces']
    ase_io.write(tmp_path / name, structures)
    frames = read_frames(tmp_path / name)
    assert not frames.has_forces
    for data, atoms in zip(frames, structures):
        assert 'force' not in data
        assert data.energy.item() == atoms.calc.results['energy']


def test_read_frames_with_forces_under_another_name(tmp_path):
    structures = molecules()
    for atoms in structures:
        atoms.arrays['dft_forces'] = atoms.calc.results.pop('forces')
    ase_io.write(tmp_path / 'm.xyz', structures)
    with pytest.raises(ValueError, match="m.xyz': 'forces_key' must be given: "
                       "the file has no 'forces' but 'dft_forces'"):
        read_frames(tmp_path / 'm.xyz')


def test_read_frames_periodic(tmp_path):
    structures = molecules()
    structures[2].set_cell([[9, 0, 0], [1, 8, 0], [0, 0, 0]])
    structures[2].pbc = [True, True, False]
    stress = np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6.0]])
    from ase.stress import full_3x3_to_voigt_6_stress
    structures[1].calc.results['stress'] = full_3x3_to_voigt_6_stress(stress)
    structures[1].set_cell(9 * np.eye(3))
    structures[0].calc.results['stress'] = np.zeros(6)  # of a molecule
    ase_io.write(tmp_path / 'm.xyz', structures)
    assert not read_frames(tmp_path / 'm.xyz').has_stress
    structures[1].pbc = True
    ase_io.write(tmp_path / 'm.xyz', structures)
    frames = read_frames(tmp_path / 'm.xyz')
    assert frames.has_stress
    assert frames.cell.shape == (len(structures), 3, 3)
    assert frames[2].pbc.tolist() == [[True, True, False]]
    assert frames[2].cell[0, 1].tolist() == [1, 8, 0]
    assert not frames[0].cell.any() and not frames[0].pbc.any()
    assert frames[1].stress[0].tolist() == stress.tolist()
    assert frames[0].stress.isnan().all()

    structures[2].set_cell([[9, 0, 0], [18, 0, 0], [0, 0, 0]])
    ase_io.write(tmp_path / 'm.xyz', structures)
    with pytest.raises(ValueError, match="m.xyz, frame 2: 'cell' must have a"):
        read_frames(tmp_path / 'm.xyz')


def test_read_frames_errors(tmp_path):
    with pytest.raises(ValueError, match="no file '.*absent.xyz'"):
        read_frames(tmp_path / 'absent.xyz')

    path = tmp_path / 'm.xyz'
    structures = molecules()
    structures[1].calc.results['forces'][2, 0] = np.nan
    ase_io.write(path, structures)
    with pytest.raises(ValueError, match="m.xyz, frame 1: 'force' must be fi"):
        read_frames(path)

    ase_io.write(path, molecules())
    lines = path.read_text().splitlines(keepends=True)
    # In the middle of the second of 3 + 5 + 3 atoms, and within a line.
    for content in (''.join(lines[:9]), ''.join(lines)[:-30], ''):
        path.write_text(content)
        with pytest.raises(ValueError, match='m.xyz'):
            read_frames(path)
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ValueError, match="m.xyz', frame 0: The file cannot"):
        read_frames(path)


@pytest.mark.parametrize('empty', ['\n', ' \t\n\n'])
def test_read_frames_after_empty_lines(tmp_path, empty):
    path = tmp_path / 'm.xyz'
    for number, atoms in enumerate(molecules()):
        ase_io.write(tmp_path / f'{number}.xyz', atoms)
    texts = [(tmp_path / f'{number}.xyz').read_text() for number in range(3)]
    path.write_text(empty.join(['', *texts, '']))
    check(read_frames(path), molecules(), 1e-8)
    assert [len(block) for block in ase_blocks(path, 4)] == [2, 1]

    for other in ('# the end', '-1', '3 atoms'):
        path.write_text(empty.join([*texts, f'{other}\n']))
        with pytest.raises(ValueError, match=f"m.xyz', frame 3: .* must begin "
                           f"with its number of atoms .got '{other}'"):
            read_frames(path)


def test_read_frames_without_ase(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'ase.io', None)
    with pytest.raises(ImportError, match=r'torch-sake\[train\]'):
        read_frames(tmp_path / 'm.xyz')


def test_read_frames_real(shared_data):
    path = shared_data / 'acac' / 'train_300K.xyz'
    frames = read_frames(path)
    assert len(frames) == 500
    # Read by hand: columns are species, positions and, somewhere, forces.
    lines = path.read_text().splitlines()
    first, second = lines[2].split(), lines[17 + 2].split()
    assert frames[0].pos[0].tolist() == [float(x) for x in first[1:4]]
    assert frames[1].pos[0].tolist() == [float(x) for x in second[1:4]]
    assert frames[0].z.tolist() == [
        {'H': 1, 'C': 6, 'O': 8}[line.split()[0]] for line in lines[2:17]]
    energies = 8 * -13.568422 + 5 * -1026.853900 + 2 * -2037.796869
    energy = frames.energy - energies
    assert abs(energy.mean().item() + 72.977) < 1e-3
    assert abs(energy.std(correction=0).item() - 0.1500) < 1e-3
    assert abs(frames.force.abs().mean().item() - 0.774) < 1e-3
    scan = read_frames(shared_data / 'acac' / 'test_dihedral.xyz')
    assert len(scan) == 45 and not scan.has_forces
    assert abs((scan.energy - energies).mean().item() + 72.837) < 1e-3
    crystals = read_frames(shared_data / 'mlearn' / 'Si_train.xyz')
    assert len(crystals) == 214 and crystals.pbc.all()
    known = ~crystals.stress.isnan().flatten(1).any(dim=1)
    assert int(known.sum()) == 202
