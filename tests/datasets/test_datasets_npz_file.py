import os

import numpy as np
import pytest

from torch_sake.datasets import convert_frames, load_frames, md17_frames


@pytest.fixture
def save(tmp_path):
    """Writes the arrays of two atoms in the layout of sGDML."""
    def write(**units):
        rng = np.random.default_rng(0)
        arrays = dict(z=np.array([1, 8]), R=rng.normal(size=(3, 2, 3)),
                      E=rng.normal(size=3), F=rng.normal(size=(3, 2, 3)))
        np.savez(tmp_path / 'm.npz', **arrays, **units)
        return tmp_path / 'm.npz', arrays
    return write


@pytest.mark.parametrize('declared, energy, length', [
    (dict(e_unit='eV', r_unit='Bohr'), 'eV', 'Bohr'),
    (dict(e_unit='KCAL/MOL', r_unit='Ang'), 'kcal/mol', 'Angstrom'),
    (dict(e_unit='kJ/mol', r_unit='nm'), 'kJ/mol', 'nm'),
    (dict(e_unit='Ha', r_unit='a0'), 'Hartree', 'Bohr'),
    (dict(e_unit=b'hartree', r_unit=[b'angstrom']), 'Hartree', 'Angstrom'),
    (dict(e_unit='meV'), 'meV', 'Angstrom'),
    (dict(e_unit='Ry', r_unit='Bohr'), 'Rydberg', 'Bohr'),
    (dict(r_unit='bohr'), 'kcal/mol', 'Bohr'),
    (dict(), 'kcal/mol', 'Angstrom')], ids=str)
def test_declared_units(save, tmp_path, declared, energy, length):
    path, arrays = save(**declared)
    frames = convert_frames(path, tmp_path / 'm.frames')
    assert frames.units == {'energy': energy, 'length': length}
    for data, pos, label, force in zip(frames, *(arrays[key]
                                                 for key in 'REF')):
        assert np.array_equal(data.pos, pos)  # nothing is converted
        assert data.energy.item() == label
        assert np.array_equal(data.force, force)


@pytest.mark.parametrize('declared, key, known, got', [
    (dict(e_unit='K', r_unit='Ang'), 'e_unit', 'Hartree.*kJ/mol', "'K'"),
    (dict(e_unit='MeV'), 'e_unit', 'eV', "'MeV'"),
    (dict(r_unit='pm'), 'r_unit', 'Angstrom.*Bohr.*nm', "'pm'"),
    (dict(r_unit='eV'), 'r_unit', 'Angstrom', "'eV'"),
    (dict(e_unit=''), 'e_unit', 'eV', "''"),
    (dict(e_unit=27.2), 'e_unit', 'eV', "'27.2'")], ids=str)
def test_unknown_units(save, tmp_path, declared, key, known, got):
    path, _ = save(**declared)
    with pytest.raises(ValueError, match=f"m.npz': '{key}' must be one of .*"
                       f"{known}.*got {got}"):
        convert_frames(path, tmp_path / 'm.frames')
    assert os.listdir(tmp_path) == ['m.npz']


def test_given_units(save, tmp_path):
    path, _ = save(e_unit='eV')
    frames = convert_frames(path, tmp_path / 'a', 'ev', 'a0')
    assert frames.units == {'energy': 'eV', 'length': 'Bohr'}
    with pytest.raises(ValueError, match="m.npz': 'units' must be that "
                       "of the file, 'eV' .got 'Hartree'"):
        convert_frames(path, tmp_path / 'b', energy_unit='Ha')
    path, _ = save(r_unit='Ang')
    frames = convert_frames(path, tmp_path / 'b', energy_unit='kJ/mol')
    assert frames.units == {'energy': 'kJ/mol', 'length': 'Angstrom'}
    with pytest.raises(ValueError, match="'length_unit' must be that of the "
                       "file, 'Angstrom' .got 'nm'"):
        convert_frames(path, tmp_path / 'c', length_unit='nm')
    with pytest.raises(ValueError, match="'length_unit' must be one of .*Bohr"
                       ".*got 'eV'"):
        convert_frames(path, tmp_path / 'c', length_unit='eV')


def test_any_order_of_memory(tmp_path):
    """Of files that are read as a whole; blocks need one row after another."""
    rng = np.random.default_rng(0)
    arrays = dict(z=np.array([1, 8]), R=rng.normal(size=(5, 2, 3)),
                  E=rng.normal(size=(5, 1)), F=rng.normal(size=(5, 2, 3)))
    np.savez(tmp_path / 'md17_ethanol.npz', **{
        key: np.asfortranarray(value) for key, value in arrays.items()})
    for frames in (md17_frames(tmp_path, 'ethanol'),
                   load_frames(tmp_path / 'md17_ethanol.npz')):
        assert len(frames) == 5
        for index, data in enumerate(frames):
            assert np.array_equal(data.pos, arrays['R'][index])
            assert np.array_equal(data.force, arrays['F'][index])
