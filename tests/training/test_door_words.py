"""What is said of data that cannot be trained on as they are."""

import numpy as np
import pytest

from torch_sake.datasets import load_frames
from torch_sake.training import TrainConfig
from torch_sake.training.data import TrainingData
from torch_sake.training.isolated import marked_isolated
from torch_sake.utils.checks import check_known_elements
from torch_sake.utils.units import find_unit

ase_io = pytest.importorskip('ase.io')


def write(path, number, alone=''):
    from ase import Atoms
    frames = []
    for index in range(number):
        frames.append(Atoms('OH', [[0, 0, 0], [0, 0, 1 + 0.01 * index]]))
        frames[-1].info['energy'] = 0.5 * index
    for symbol in alone:
        frames.append(Atoms(symbol))
        frames[-1].info.update(energy=-13.0, config_type='IsolatedAtom')
    ase_io.write(path, frames, format='extxyz')
    return str(path)


@pytest.mark.parametrize('name', ['m.xyz', 'm.traj', 'm.db', 'm'])
def test_empty_files(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match=f'{name}.*It is empty'):
        load_frames(str(tmp_path / name))


def test_stress_of_six_numbers(tmp_path):
    path = tmp_path / 'm.xyz'
    for name in ('stress', 'REF_stress'):
        path.write_text('1\nLattice="4 0 0 0 4 0 0 0 4" energy=-1.0 '
                        f'Properties=species:S:1:pos:R:3 {name}="1 2 3 4 5 6" '
                        'pbc="T T T"\nCu 0 0 0\n')
        if name == 'stress':
            with pytest.raises(ValueError, match="frame 0: .* 'stress' must "
                               "have nine numbers, .* 'REF_stress' or one for "
                               "'--stress_key'"):
                load_frames(path)
    stress = load_frames(path)[0].stress[0]
    assert np.allclose(stress, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])


def data(path, **settings):
    return TrainingData.from_config(TrainConfig(
        data=path, hidden_channels=8, **settings))


def test_too_few_frames(tmp_path):
    path = write(tmp_path / 'm.xyz', 1)
    with pytest.raises(ValueError, match='needs at least 2 frames, one of '
                       r'them to validate on \(got 1 in '):
        data(path)
    with pytest.raises(ValueError, match="'num_train' . 'num_val' must be at "
                       "most 1"):
        data(path, num_train=1, num_val=1)
    data(write(tmp_path / 'n.xyz', 2))


def test_nothing_but_isolated_atoms(tmp_path):
    path = write(tmp_path / 'm.xyz', 6, 'OH')
    alone = write(tmp_path / 'alone.xyz', 0, 'OH')
    isolated = {'atomic_energies': 'isolated'}
    with pytest.raises(ValueError, match='frames to train on: all 2 frames of '
                       '.* are isolated atoms'):
        data(alone, **isolated)
    with pytest.raises(ValueError, match='several atoms to train on: all 2 '):
        data(alone)
    with pytest.raises(ValueError, match="'val' must have frames that are no "
                       r"isolated atoms, .* \(got 2 isolated atoms"):
        data(path, val=alone, **isolated)
    with pytest.raises(ValueError, match="'test_config_type' must not be that "
                       r"of isolated atoms, .* \(got \['IsolatedAtom'\]; "):
        data(path, test_config_type='IsolatedAtom', **isolated)
    found = data(path, test_config_type='IsolatedAtom')  # fitted
    assert found.split.test.tolist() == [6, 7]
    assert marked_isolated(found.frames) == [6, 7]
    assert marked_isolated(load_frames(write(tmp_path / 'o.xyz', 3))) == []


def test_symbols():
    with pytest.raises(ValueError, match=r'has N, F, atomic numbers \[7, 9\], '
                       r'which .* as it was on H, C \(it knows \[1, 6\]\)'):
        check_known_elements('It has', [9, 7, 1], [1, 6])


def test_averages():
    with pytest.raises(ValueError, match="must be 'fit', which fits"):
        TrainConfig(data='m.xyz', atomic_energies='average')


def test_spellings_of_units():
    for spelling in ('A', 'Å', '\u212b', 'Ang', 'Angstrom'):
        assert find_unit('length', spelling, "'x'") == 'Angstrom'
    for spelling, unit in (('kcal', 'kcal/mol'), ('kJ', 'kJ/mol')):
        with pytest.raises(ValueError, match=rf"\(got '{spelling}': '{unit}'"):
            find_unit('energy', spelling, "'units'")
    with pytest.raises(ValueError, match=r"\(got 'kcal'\)"):
        find_unit('length', 'kcal', "'length_unit'")
