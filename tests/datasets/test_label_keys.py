"""Labels under any name."""

import os

import numpy as np
import pytest
import torch

from torch_sake.datasets import convert_frames, load_frames, read_frames
from torch_sake.datasets.frames import convert
from torch_sake.datasets.frames.ase_file import ase_blocks
from torch_sake.datasets.frames.label_keys import LabelKeys

ase_io = pytest.importorskip('ase.io')

KEYS = {'energy_key': 'dft_energy', 'forces_key': 'dft_forces',
        'stress_key': 'dft_stress'}
STRESS = np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6.0]])


def structure(index, **info):
    """Two atoms in a cell, without labels."""
    from ase import Atoms
    atoms = Atoms('CO', [[0, 0, 0], [0, 0, 1.1 + 0.01 * index]],
                  cell=[4, 5, 6], pbc=True)
    atoms.info.update(info)
    return atoms


def labels(index):
    rng = np.random.default_rng(index)
    return (float(rng.normal()), rng.normal(size=(2, 3)),
            (index + 1) * STRESS)


def dft(number=4):
    """Frames with all labels under other names."""
    frames = []
    for index in range(number):
        energy, forces, stress = labels(index)
        atoms = structure(index, dft_energy=energy, dft_stress=stress,
                          config_type=f'kind {index % 2}', step=index)
        atoms.arrays['dft_forces'] = forces
        frames.append(atoms)
    return frames


def with_results(atoms, **results):
    from ase.calculators.singlepoint import SinglePointCalculator
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def check(frames, number=4):
    assert len(frames) == number
    for index, data in enumerate(frames):
        energy, forces, stress = labels(index)
        assert data.energy.item() == pytest.approx(energy, abs=1e-8)
        assert np.abs(data.force.numpy() - forces).max() < 1e-7
        assert np.abs(data.stress[0].numpy() - stress).max() < 1e-7


@pytest.mark.parametrize('name', ['m.xyz', 'm.traj', 'm.json'])
def test_labels_of_any_name(tmp_path, name, monkeypatch):
    path = tmp_path / name
    if name == 'm.json':
        from ase.db import connect
        with connect(path) as database:
            for atoms in dft():
                database.write(
                    atoms, dft_energy=atoms.info['dft_energy'],
                    config_type=atoms.info['config_type'],
                    data={'dft_stress': atoms.info['dft_stress'],
                          'dft_forces': atoms.arrays['dft_forces'],
                          'step': atoms.info['step']})
    else:
        structures = dft()
        for atoms in structures if name == 'm.traj' else []:
            # It has no columns of names that ASE does not know.
            atoms.info['dft_forces'] = atoms.arrays.pop('dft_forces')
        ase_io.write(path, structures)
    frames = load_frames(path, **KEYS)
    check(frames)
    check(read_frames(path, **KEYS))
    monkeypatch.setattr(convert, 'BLOCK', 3)
    on_disk = convert_frames(path, tmp_path / 'm.frames', **KEYS)
    check(on_disk)
    for found in (frames, on_disk):
        assert found.info(1) == {'config_type': 'kind 1', 'step': 1}
    with pytest.raises(ValueError, match="'energy_key', 'forces_key' and "
                       "'stress_key' must be given: the file has no 'energy' "
                       "but 'dft_energy', no 'forces' but 'dft_forces', no "
                       "'stress' but 'dft_stress' .--energy_key dft_energy "
                       "--forces_key dft_forces --stress_key dft_stress"):
        read_frames(path)
    with pytest.raises(ValueError, match="'energy_key', 'forces_key'"):
        convert_frames(path, tmp_path / 'other.frames')
    assert sorted(os.listdir(tmp_path)) == ['m.frames', name]


def test_rows_of_a_database(tmp_path, monkeypatch):
    from ase.db import connect

    from torch_sake.datasets.frames import ase_structures
    monkeypatch.setattr(ase_structures, 'ROWS', 3)
    path = tmp_path / 'm.db'
    with connect(path) as database:
        for index in range(8):
            energy, forces, stress = labels(index)
            database.write(structure(index), dft_energy=energy, relaxed=True,
                           data={'dft_forces': forces, 'dft_stress': stress,
                                 'charge': index})
    frames = load_frames(path, **KEYS)
    check(frames, 8)
    assert frames.info(5) == {'relaxed': True, 'charge': 5}


def test_a_key_wins(tmp_path):
    path = tmp_path / 'm.xyz'
    structures = dft()
    for atoms in structures:
        with_results(atoms, energy=7.0, forces=np.ones((2, 3)))
        atoms.info['REF_energy'] = 8.0  # contradicts, but is not read
    ase_io.write(path, structures)
    frames = read_frames(path, **KEYS)
    check(frames)
    assert frames.info(0)['REF_energy'] == 8.0
    frames = read_frames(path, energy_key='energy', forces_key='none',
                         stress_key='none')
    assert frames.energy.tolist() == 4 * [7.0]
    assert not frames.has_forces and not frames.has_stress
    with pytest.raises(ValueError, match="frame 0: 'energy' and 'REF_energy' "
                       "must be the same where a frame has both "
                       r"\(got 7.0 and 8.0; 'energy_key' chooses one\)"):
        read_frames(path)


def test_labels_that_are_left_out(tmp_path):
    path = tmp_path / 'm.xyz'
    ase_io.write(path, dft())
    frames = read_frames(path, energy_key='dft_energy', forces_key='none',
                         stress_key='none')
    assert frames.known('energy').all()
    assert not frames.has_forces and not frames.has_stress
    frames = read_frames(path, energy_key='none', forces_key='dft_forces',
                         virial_key='none')
    assert not frames.known('energy').any() and frames.has_forces


def test_a_key_that_some_frames_have(tmp_path, monkeypatch):
    path = tmp_path / 'm.xyz'
    structures = dft()
    del structures[0].info['dft_energy'], structures[2].arrays['dft_forces']
    del structures[3].info['dft_stress']
    ase_io.write(path, structures)
    monkeypatch.setattr(convert, 'BLOCK', 2)
    for frames in (read_frames(path, **KEYS),
                   convert_frames(path, tmp_path / 'm.frames', **KEYS)):
        assert frames.known('energy').tolist() == [False, True, True, True]
        assert frames.known('force').tolist() == [True, True, False, True]
        assert frames.known('stress').tolist() == [True, True, True, False]


def test_keys_that_are_not_there(tmp_path):
    path = tmp_path / 'm.xyz'
    ase_io.write(path, dft())
    for key, plural in (('energy', 'energies'), ('forces', 'forces'),
                        ('stress', 'stresses'), ('virial', 'virials')):
        with pytest.raises(ValueError, match=rf"m.xyz': '{key}_key' must be "
                           rf"the name of {plural} in the file .got 'mp2'; it "
                           r"has \['config_type', 'dft_energy', 'dft_forces', "
                           r"'dft_stress', 'step'\]"):
            read_frames(path, **{**KEYS, f'{key}_key': 'mp2'})


@pytest.mark.parametrize('keys, message', [
    ({'energy_key': 'dft_forces'}, "'dft_forces' must be one number"),
    ({'energy_key': 'config_type'}, "'config_type' must be of real numbers"),
    ({'forces_key': 'dft_stress'}, r"'dft_stress' must be of shape \[2, 3\] "
                                   r"\(got shape \[3, 3\]"),
    ({'stress_key': 'dft_energy'}, "'dft_energy' must have nine numbers"),
    ({'stress_key': 'REF_virials'}, "'stress_key' must be a stress, .* see "
                                    "'virial_key'"),
    ({'virial_key': 'dft_stress'}, "'virial_key' must be a virial"),
    ({'energy_key': ' '}, "'energy_key' must be the name of a label"),
])
def test_keys_of_something_else(tmp_path, keys, message):
    path = tmp_path / 'm.xyz'
    ase_io.write(path, dft())
    with pytest.raises(ValueError, match=message):
        read_frames(path, **{**KEYS, **keys})
    with pytest.raises(TypeError, match="'energy_key' must be the name"):
        LabelKeys(3)


@pytest.mark.parametrize('name', ['dft_energy', 'Energy', 'E', 'TotEnergy',
                                  'E_tot', 'energy_mp2', 'TOTEN'])
def test_candidates(tmp_path, name):
    path = tmp_path / 'm.xyz'
    ase_io.write(path, [structure(index, **{name: -1.5 - index})
                        for index in range(3)])
    with pytest.raises(ValueError, match=f"no 'energy' but '{name}' "):
        read_frames(path)
    assert read_frames(path, energy_key=name)[2].energy == -3.5


def test_no_candidates(tmp_path):
    path = tmp_path / 'm.xyz'
    structures = [structure(index, energy_weight=1.0, kinetic_energy=2.0,
                            SAKE_energy=3.0, energy_unit='eV', config='E',
                            stress_weight=2.0, ok=True, energy_of=[1, 2])
                  for index in range(3)]
    for atoms in structures:
        atoms.arrays['force_weight'] = np.ones((2, 3))
        atoms.arrays['SAKE_forces'] = np.ones((2, 3))
        atoms.arrays['force_norm'] = np.ones(2)
    ase_io.write(path, structures)
    frames = read_frames(path)
    assert not frames.known('energy').any()
    assert not frames.has_forces and not frames.has_stress
    assert frames.info(1) == {
        'energy_weight': 1.0, 'kinetic_energy': 2.0, 'SAKE_energy': 3.0,
        'energy_unit': 'eV', 'config': 'E', 'stress_weight': 2.0, 'ok': True}
    # Predictions are labels for who says so:
    assert read_frames(path, energy_key='SAKE_energy').energy.tolist() == (
        3 * [3.0])


def test_free_energy_where_it_is_alone(tmp_path):
    path = tmp_path / 'm.traj'
    forces = np.zeros((2, 3))
    ase_io.write(path, [with_results(structure(index), free_energy=-1.0,
                                     forces=forces) for index in range(3)])
    assert read_frames(path).energy.tolist() == [-1, -1, -1]
    ase_io.write(path, [
        with_results(structure(0), free_energy=-1.0, forces=forces),
        with_results(structure(1), energy=-1.0, forces=forces)])
    with pytest.raises(ValueError, match="'energy_key' must be given: some "
                       "frames have 'free_energy' and 'energy' only"):
        read_frames(path)
    # Both: that of the forces is the other one.
    frames = [with_results(structure(0), energy=-1.0, forces=forces,
                           free_energy=-1.0 - 2 * difference)
              for difference in (1e-4, 5e-3)]
    ase_io.write(path, frames)
    with pytest.warns(UserWarning, match="differ by up to 5 meV per atom.*"
                      "--energy_key free_energy"):
        assert read_frames(path).energy.tolist() == [-1, -1]
    assert read_frames(path, energy_key='free_energy')[1].energy == -1.01
    ase_io.write(path, frames[:1])
    assert read_frames(path).energy.tolist() == [-1]  # without a word


def test_gradients_are_minus_the_forces(tmp_path):
    path = tmp_path / 'm.xyz'
    structures = dft()
    for atoms in structures:
        atoms.arrays['dft_gradient'] = -atoms.arrays.pop('dft_forces')
    ase_io.write(path, structures)
    keys = {**KEYS, 'forces_key': 'dft_gradient'}
    with pytest.warns(UserWarning, match="'dft_gradient' is taken for the gra"
                      "dient of the energy, minus the forces") as record:
        check(read_frames(path, **keys))
    assert len(record) == 1
    with pytest.raises(ValueError, match="no 'forces' but 'dft_gradient',"):
        read_frames(path)


def test_virials_of_any_name(tmp_path):
    path = tmp_path / 'm.xyz'
    structures = dft()
    for atoms in structures:
        atoms.info['dft_virial'] = -120 * atoms.info.pop('dft_stress')
        atoms.info['stress'] = 1e3 * np.eye(3)  # is not read
    ase_io.write(path, structures)
    keys = {**KEYS, 'virial_key': 'dft_virial'}
    del keys['stress_key']
    check(read_frames(path, **keys))


def test_twice_in_a_line(tmp_path):
    path = tmp_path / 'm.xyz'
    path.write_text('1\nE=-1 E=-2\nH 0 0 0\n')
    with pytest.raises(ValueError, match="m.xyz', frame 0: .*'E' must be given"
                       " once"):
        read_frames(path, energy_key='E')


def test_infos_are_numbers_and_short_texts(tmp_path):
    atoms = structure(
        0, name='a', number=np.int64(3), size=np.float32(0.5), flag=True,
        none=None, array=np.ones(3), nested={'a': 1}, long=2000 * 'x',
        point=np.array(2.5))
    ase_io.write(tmp_path / 'm.traj', [with_results(atoms, energy=-1.0)])
    assert read_frames(tmp_path / 'm.traj').info(0) == {
        'name': 'a', 'number': 3, 'size': 0.5, 'flag': True, 'point': 2.5}


def test_lone_atoms_among_unlabeled_frames(tmp_path):
    from ase import Atoms
    path = tmp_path / 'm.xyz'
    lone = [with_results(Atoms('H', [[0, 0, 0]]), energy=-1.0)
            for _ in range(2)]
    labeled = with_results(structure(1), energy=-3.0, forces=np.ones((2, 3)))
    ase_io.write(path, [structure(0), labeled, *lone, Atoms('H')])
    frames = read_frames(path)
    assert frames.known('force').tolist() == [False, True, True, True, False]
    assert frames[2].force.tolist() == [[0, 0, 0]]
    assert sum((list(block.known('force')) for block in ase_blocks(path, 2)),
               []) == frames.known('force').tolist()


def test_keys_of_data_that_have_names_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {'z': np.array([1, 8]), 'R': rng.normal(size=(3, 2, 3)),
              'E2': rng.normal(size=3), 'G': rng.normal(size=(3, 2, 3)),
              'gradients': rng.normal(size=(3, 2, 3))}
    path = tmp_path / 'm.npz'
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match="'energy_key' and 'forces_key'"):
        load_frames(path)
    frames = load_frames(path, energy_key='E2', forces_key='G')
    assert frames.energy.tolist() == arrays['E2'].tolist()
    assert np.array_equal(frames[1].force, arrays['G'][1])
    with pytest.warns(UserWarning, match="'gradients' is taken for"):
        frames = convert_frames(path, tmp_path / 'm.frames', energy_key='E2',
                                forces_key='gradients')
    assert torch.equal(frames[1].force,
                       torch.from_numpy(-arrays['gradients'][1]))
    for key, value in (('stress_key', 'S'), ('energy_key', 'none')):
        with pytest.raises(ValueError, match=f"'{key}' must not be '{value}'"):
            load_frames(path, **{key: value})
    with pytest.raises(ValueError, match="'energy_key' must not be given for "
                       ".*m.frames', whose labels are known .got 'E2'"):
        load_frames(tmp_path / 'm.frames', energy_key='E2')
