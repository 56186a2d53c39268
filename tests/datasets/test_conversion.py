"""Units of files, and frames in other units."""

import numpy as np
import pytest
import torch

from torch_sake.datasets import (
    Frames,
    JoinedFrames,
    convert_frames,
    load_frames,
)
from torch_sake.datasets.frames.load import load_config_frames
from torch_sake.utils.units import (
    ASE_UNITS,
    ENERGIES,
    LENGTHS,
    check_given_units,
    find_unit,
)

ase_io = pytest.importorskip('ase.io')
ase_units = pytest.importorskip('ase.units')

# By ASE, which has constants of its own:
FACTORS = {'kcal/mol': ase_units.kcal / ase_units.mol,
           'kJ/mol': ase_units.kJ / ase_units.mol,
           'Hartree': ase_units.Hartree, 'Rydberg': ase_units.Rydberg,
           'eV': 1.0, 'meV': 1e-3}
CONFIG = {'root': None, 'data_seed': 0, 'num_frames': None}


def structures(energy=1.0, length=1.0):
    """Crystals, one of them with a virial, in other units than eV and
    Angstrom."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.calculators.singlepoint import SinglePointCalculator
    rng = np.random.default_rng(0)
    out = []
    for index in range(4):
        atoms = bulk('Cu', cubic=True)
        atoms.rattle(0.05, rng=rng)
        atoms.calc = EMT()
        results = dict(energy=atoms.get_potential_energy() / energy,
                       forces=atoms.get_forces() / energy * length,
                       stress=atoms.get_stress() / energy * length**3)
        volume = atoms.get_volume() / length**3
        atoms.set_cell(atoms.cell / length, scale_atoms=True)
        if index == 2:
            from ase.stress import voigt_6_to_full_3x3_stress
            atoms.info['virial'] = -volume * voigt_6_to_full_3x3_stress(
                results.pop('stress'))
        atoms.calc = SinglePointCalculator(atoms, **results)
        out.append(atoms)
    return out


def check(frames, expected, tolerance=1e-6):
    assert frames.units == expected.units
    assert len(frames) == len(expected)
    for data, other in zip(frames, expected):
        for key in ('z', 'pos', 'cell', 'energy', 'force', 'stress'):
            error = (data[key] - other[key]).abs().max()
            assert error <= tolerance * max(1, other[key].abs().max()), key


def test_constants():
    assert set(FACTORS) == set(ENERGIES)
    for name, factor in FACTORS.items():
        assert ENERGIES[name] == pytest.approx(factor, rel=1e-6)
    assert LENGTHS['Bohr'] == pytest.approx(ase_units.Bohr, rel=1e-6)
    for spelling in ('Ry', 'ry', 'Rydberg'):
        assert find_unit('energy', spelling, 'x') == 'Rydberg'


@pytest.mark.parametrize('energy, length', [
    ('kcal/mol', 'Angstrom'), ('Hartree', 'Bohr'), ('Ry', 'a0'),
    ('kJ/mol', 'nm'), ('eV', 'Bohr')])
@pytest.mark.parametrize('where', ['memory', 'disk'])
def test_conversion(tmp_path, energy, length, where):
    ase_io.write(tmp_path / 'ase.traj', structures())
    expected = load_frames(tmp_path / 'ase.traj')
    factor = FACTORS[find_unit('energy', energy, '')]
    factors = factor, LENGTHS[find_unit('length', length, '')]
    path = tmp_path / 'm.traj'
    ase_io.write(path, structures(*factors))
    if where == 'disk':
        convert_frames(path, tmp_path / 'm.frames', units=energy,
                       length_unit=length)
        path = tmp_path / 'm.frames'
    config = {**CONFIG, 'data': path, 'units': energy, 'length_unit': length}
    frames = load_config_frames(config)
    check(frames, expected)
    assert frames.source_units == {
        'energy': find_unit('energy', energy, ''),
        'length': find_unit('length', length, '')}
    # Numbers of a file stay without a word of units that are asked for:
    kept = load_frames(path, units=energy, length_unit=length)
    assert kept.units == frames.source_units
    other = structures(*factors)[2]
    assert np.abs(kept[2].pos.numpy() - other.positions).max() < 1e-9
    assert kept[2].energy.item() == other.calc.results['energy']
    # There and back, and of a selection:
    check(frames.in_units(kept.units), kept)
    check(kept[[3, 1]].in_units(ASE_UNITS), expected[[3, 1]])
    check(frames[[3, 1]], expected[[3, 1]])
    check(load_config_frames(config, kept.units), kept)


def test_files_of_different_units(tmp_path):
    """They are converted before they are joined, and once more together."""
    paths = [str(tmp_path / name) for name in ('a.frames', 'b.frames')]
    ase_io.write(tmp_path / 'a.traj', structures())
    ase_io.write(tmp_path / 'b.traj', structures(ase_units.Hartree))
    for path, unit in zip(paths, ('eV', 'Hartree')):
        convert_frames(path.replace('.frames', '.traj'), path, units=unit)
    frames = load_config_frames({**CONFIG, 'data': paths}, ASE_UNITS)
    expected = load_frames(tmp_path / 'a.traj')
    check(frames[:4], expected)
    check(frames[4:], expected)
    units = {'energy': 'kJ/mol', 'length': 'nm'}
    check(frames.in_units(units)[4:], expected.in_units(units))
    check(frames[4:], expected)
    joined = JoinedFrames([load_frames(paths[1]).in_units(ASE_UNITS)])
    assert joined.source_units['energy'] == 'Hartree'


def test_what_is_kept(tmp_path):
    frames = Frames([[1, 1], [8]], [np.ones((2, 3)), np.ones((1, 3))],
                    [1.0, None], [None, np.ones((1, 3))], name='some',
                    units={'length': 'nm', 'energy': 'meV'}, source='some',
                    infos=[{'a': 1}, {}])
    frames[0]  # PyG keeps it
    other = frames.with_entries(weight=torch.tensor([2.0, 3.0])).in_units(
        ASE_UNITS)
    assert other[0].pos.tolist() == 2 * [3 * [10.0]]
    assert other[0].energy == 1e-3 and other[1].energy.isnan()
    assert other[1].force.tolist() == [3 * [1e-4]]
    assert other.known('energy').tolist() == [True, False]
    assert other[1].weight == 3 and other.info(0) == {'a': 1}
    assert frames[0].pos.tolist() == 2 * [3 * [1.0]]
    assert frames.units == {'length': 'nm', 'energy': 'meV'}
    assert frames.in_units(dict(frames.units)) is frames
    with pytest.raises(ValueError, match="'energy'|energy must be one of"):
        frames.in_units({'length': 'nm', 'energy': 'cal'})
    label = Frames([[1]], [np.ones((1, 3))], [1.0], name='p', source='p',
                   units={'length': 'Angstrom', 'mu': 'D'})
    with pytest.raises(ValueError, match="p: The units must be .*cannot be"):
        label.in_units(ASE_UNITS)
    with pytest.raises(ValueError, match="p: 'units' must not be given for "
                       "data whose labels are no energies"):
        check_given_units('p', {'energy': 'eV'}, label.units)


def test_units_that_are_known(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / 'md17_ethanol.npz', z=[1, 8],
             R=rng.normal(size=(3, 2, 3)), E=rng.normal(size=3),
             F=rng.normal(size=(3, 2, 3)))
    keys = dict(data='md17:ethanol', root=tmp_path)
    with pytest.raises(ValueError, match="'md17:ethanol': 'units' must be that"
                       r" of the file, 'kcal/mol' \(got 'eV'"):
        load_frames(**keys, units='ev')
    with pytest.raises(ValueError, match="'length_unit' must be that of"):
        load_frames(**keys, length_unit='nm')
    assert load_frames(**keys).energy.tolist() == (
        load_frames(**keys, units='kcal/mol').energy.tolist())
    frames = load_config_frames({**CONFIG, **keys, 'units': 'kcal/mol'})
    assert frames.units == ASE_UNITS
    assert frames.energy.tolist() == (
        load_frames(**keys).energy * ENERGIES['kcal/mol']).tolist()
    path = tmp_path / 'md17_ethanol.npz'
    assert load_frames(path, units='Ha').units['energy'] == 'Hartree'
    convert_frames(path, tmp_path / 'm.frames', units='Ha')
    with pytest.raises(ValueError, match="m.frames': 'units' must be that of "
                       "the file, 'Hartree'"):
        load_frames(tmp_path / 'm.frames', units='kcal/mol')
    with pytest.raises(ValueError, match="'units' must be one of .*got 'cal'"):
        load_frames(path, units='cal')
    with pytest.raises(ValueError, match="'units' must not be given beside"):
        convert_frames(path, tmp_path / 'n', energy_unit='eV', units='eV')


def test_formats_that_ase_converts(tmp_path):
    from ase import Atoms
    ase_io.write(tmp_path / 'm.cif', Atoms('Cu', cell=[3, 3, 3], pbc=True))
    path = tmp_path / 'm.cif'
    assert load_frames(path, length_unit='Ang')[0].cell[0, 0, 0] == 3
    with pytest.raises(ValueError, match="m.cif': 'length_unit' must be that "
                       r"of the file, 'Angstrom' \(got 'Bohr'"):
        load_frames(path, length_unit='Bohr')
    with pytest.raises(ValueError, match="m.cif': 'units' must be that of the "
                       r"file, 'eV' \(got 'Hartree'"):
        convert_frames(path, tmp_path / 'out', units='Hartree')
