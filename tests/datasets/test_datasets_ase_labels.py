import numpy as np
import pytest

from torch_sake.datasets import read_frames
from torch_sake.datasets.frames.ase_file import ase_blocks

ase_io = pytest.importorskip('ase.io')


def crystals():
    """Crystals of copper, strained and shaken, with energies and forces of a
    model, and no stress."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator

    rng = np.random.default_rng(0)
    structures = []
    for size in ((1, 1, 2), (1, 2, 2)):
        atoms = bulk('Cu', cubic=True) * size
        atoms.set_cell(atoms.cell @ (np.eye(3) + 0.03 * rng.normal(
            size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.05, rng=rng)
        atoms.calc = EMT()
        atoms.calc = SinglePointCalculator(
            atoms, energy=atoms.get_potential_energy(),
            forces=atoms.get_forces())
        structures.append(atoms)
    return structures


def virial(atoms, step=1e-4):
    """Minus the derivative of the energy by a symmetric strain."""
    from ase.calculators.emt import EMT

    out = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            energies = []
            for sign in (1, -1):
                strain = np.eye(3)
                strain[i, j] += sign * step / 2
                strain[j, i] += sign * step / 2
                moved = atoms.copy()
                moved.set_cell(moved.cell @ strain, scale_atoms=True)
                moved.calc = EMT()
                energies.append(moved.get_potential_energy())
            out[i, j] = -(energies[0] - energies[1]) / (2 * step)
    return out


def test_references_beside_results(tmp_path):
    path = tmp_path / 'm.xyz'
    structures = crystals()
    for atoms in structures:
        results = atoms.calc.results
        atoms.arrays['REF_forces'] = results.pop('forces')
        atoms.info['REF_energy'] = results.pop('energy')
        atoms.info['REF_stress'] = np.arange(6.0)
    ase_io.write(path, structures)
    for data, atoms in zip(read_frames(path), crystals()):
        results = atoms.calc.results
        assert abs(data.energy.item() - results['energy']) < 1e-8
        assert np.abs(data.force.numpy() - results['forces']).max() < 1e-7
        assert data.stress[0].tolist() == [[0, 5, 4], [5, 1, 3], [4, 3, 2]]
    # Which of two is meant, nobody knows:
    structures[1].calc.results['energy'] = 1.0
    ase_io.write(path, structures)
    with pytest.raises(ValueError, match="frame 1: 'energy' and 'REF_energy' "
                       r"must be the same .* .got 1.0 and 0.8796"):
        read_frames(path)
    structures[1].info['REF_energy'] = 1.0
    ase_io.write(path, structures)
    assert read_frames(path)[1].energy == 1.0


@pytest.mark.parametrize('name', ['virial', 'virials', 'REF_virials'])
def test_virial(tmp_path, name):
    from ase.calculators.emt import EMT

    structures = crystals()
    structures[0].info[name] = virial(structures[0])
    ase_io.write(tmp_path / 'm.xyz', structures)
    frames = read_frames(tmp_path / 'm.xyz')
    structures[0].calc = EMT()
    expected = structures[0].get_stress(voigt=False)
    assert np.abs(expected).max() > 1e-2
    assert np.abs(frames[0].stress[0].numpy() - expected).max() < 1e-6
    assert frames[1].stress.isnan().all()


def test_stress_of_other_shape_or_name(tmp_path):
    path = tmp_path / 'm.xyz'
    structures = crystals()
    structures[1].info['virials'] = np.arange(4.0)
    ase_io.write(path, structures)
    with pytest.raises(ValueError, match="frame 1: 'virials' must have nine"):
        read_frames(path)
    structures[1].info = {'dft_stress': np.eye(3), 'stress_weight': 2.0}
    ase_io.write(path, structures)
    with pytest.raises(ValueError, match="m.xyz': 'stress_key' must be given: "
                       "the file has no 'stress' but 'dft_stress' "):
        read_frames(path)


def test_single_atoms_have_no_forces(tmp_path):
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator

    atom = Atoms('Cu', [[0.1, 0.2, 0.3]])
    atom.calc = SinglePointCalculator(atom, energy=-1.5)
    ase_io.write(tmp_path / 'm.xyz', [atom, *crystals()])
    frames = read_frames(tmp_path / 'm.xyz')
    assert frames[0].force.tolist() == [[0, 0, 0]]
    assert frames[1].force.abs().max() > 0.1
    for frames in ([atom, atom, *crystals()], [*crystals(), atom]):
        ase_io.write(tmp_path / 'm.xyz', frames)
        blocks = list(ase_blocks(tmp_path / 'm.xyz', 2))
        assert all(block.has_forces for block in blocks)
        assert sum(map(len, blocks)) == len(frames)
        assert [len(data.z) for block in blocks for data in block] == (
            [len(atoms) for atoms in frames])
    ase_io.write(tmp_path / 'm.xyz', [atom])
    assert not read_frames(tmp_path / 'm.xyz').has_forces
    atom.pbc, atom.cell = True, [3, 3, 3]
    ase_io.write(tmp_path / 'm.xyz', [atom, *crystals()])
    frames = read_frames(tmp_path / 'm.xyz')
    assert frames.known('force').tolist() == [False, *(
        True for _ in crystals())]


def test_stresses_that_agree_or_not(tmp_path):
    from ase.stress import full_3x3_to_voigt_6_stress

    path = tmp_path / 'm.xyz'
    atoms = crystals()[1]
    stress = -virial(atoms) / atoms.get_volume()
    atoms.calc.results['stress'] = full_3x3_to_voigt_6_stress(stress)
    atoms.info['REF_stress'] = stress
    atoms.info['virial'] = -stress * atoms.get_volume()
    ase_io.write(path, atoms)
    assert np.abs(read_frames(path)[0].stress[0].numpy() - stress).max() < 1e-6
    for name, value in (('REF_stress', 1.1 * stress),
                        ('REF_virial', stress), ('virial', 0 * stress)):
        other = atoms.copy()
        other.calc, other.info[name] = atoms.calc, value
        ase_io.write(path, other)
        with pytest.raises(ValueError, match=f"frame 0: .*'{name}'.* must "
                           f"agree with each other"):
            read_frames(path)


def test_virials_that_are_none(tmp_path):
    path = tmp_path / 'm.xyz'
    atoms = crystals()[0]
    atoms.info['dft_virial'] = np.eye(3)
    ase_io.write(path, atoms)
    with pytest.raises(ValueError, match="'virial_key' must be .* no 'stress' "
                       "but 'dft_virial' .--virial_key dft_virial"):
        read_frames(path)
    atoms.pbc = False  # not that of a molecule
    ase_io.write(path, atoms)
    assert not read_frames(path).has_stress
    atoms.info = {'virial': np.eye(3)}
    ase_io.write(path, atoms)
    assert not read_frames(path).has_stress
    atoms.pbc = [True, True, False]
    atoms.cell[2] = 0
    ase_io.write(path, atoms)
    with pytest.raises(ValueError, match="'virial' needs a cell with a vol"):
        read_frames(path)
