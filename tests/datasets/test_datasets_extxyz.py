import os
import time
import tracemalloc

import numpy as np
import pytest

from torch_sake.datasets import convert_frames, load_frames, read_frames
from torch_sake.simulation.structures import read_structure

ase_io = pytest.importorskip('ase.io')

FRAME = """2
Properties=species:S:1:pos:R:3:forces:R:3 energy={energy}
H 0 0 0 0 0 0.1
H 0 0 0.7 0 0 -0.1
"""
CRYSTAL = """1
Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 {rest}
Cu 0 0 0
"""


def write(path, text):
    path.write_text(text)
    return str(path)


def hydrogen(energy, length=0.7, **kwargs):
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    atoms = Atoms('H2', [[0, 0, 0], [0, 0, length]], **kwargs)
    atoms.calc = SinglePointCalculator(atoms, energy=energy,
                                       forces=np.zeros((2, 3)))
    return atoms


@pytest.mark.parametrize('name, kind', [
    ('h2@300K.extxyz', 'extxyz'), ('h2@1.extxyz', 'extxyz'),
    ('h2.xyz@300K', 'extxyz'), ('h2@2', 'extxyz'), ('h2@1.traj', 'traj'),
    ('h2.traj@1', 'traj'), ('h2@300K.db', 'db'), ('h2@1.json', 'json'),
    ('postgres.xyz', 'extxyz')], ids=str)
def test_an_at_sign_is_part_of_a_name(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    # What a name without its end would be:
    write(tmp_path / name.partition('@')[0], FRAME.format(energy=7))
    write(tmp_path / 'h2.xyz', FRAME.format(energy=7))
    structures = [hydrogen(-1.0), hydrogen(-2.0, 0.8)]
    ase_io.write(f'written.{kind}', structures, format=kind)
    os.replace(f'written.{kind}', name)
    assert load_frames(name).energy.tolist() == [-1, -2]
    assert [float(data.energy) for data in convert_frames(name, 'out')] == [
        -1, -2]
    assert read_structure(name, '')[1].position[2] == 0.8
    for index, expected in ((0, 0.7), (1, 0.8), (-1, 0.8), (-2, 0.7)):
        atoms = read_structure(f'{name}@{index}', '')
        assert atoms[1].position[2] == expected
    for index in ('2', '-3', ':', 'x', ''):
        with pytest.raises(ValueError, match="'structure' must be"):
            read_structure(f'{name}@{index}', '')
    # The file of exactly this name comes first:
    ase_io.write(f'written.{kind}', hydrogen(3.0, 0.9), format=kind)
    os.replace(f'written.{kind}', f'{name}@0')
    assert read_structure(f'{name}@0', '')[1].position[2] == 0.9
    assert load_frames(f'{name}@0').energy.tolist() == [3]


def test_a_case_with_an_at_sign(tmp_path):
    path = write(tmp_path / 'methane@300K.extxyz', """5
Properties=species:S:1:pos:R:3 pbc="F F F"
C        0.00000000       0.00000000       0.00000000
H        0.62911800       0.62911800       0.62911800
H       -0.62911800      -0.62911800       0.62911800
H        0.62911800      -0.62911800      -0.62911800
H       -0.62911800       0.62911800      -0.62911800
""")
    assert read_structure(path, '').get_chemical_formula() == 'CH4'
    write(tmp_path / 'methane', FRAME.format(energy=7))
    assert len(read_structure(path, '')) == 5
    assert load_frames(path)[0].z.tolist() == [6, 1, 1, 1, 1]
    assert not load_frames(path).known('energy').any()


@pytest.mark.parametrize('read', [
    read_frames, lambda path: read_structure(path, ''),
    lambda path: read_structure(path + '@0', ''),
    lambda path: convert_frames(path, path + '.frames')])
@pytest.mark.parametrize('count', ['300000000', '1' + 17 * '0', '3'])
def test_a_count_that_is_too_large(tmp_path, read, count):
    path = write(tmp_path / 'm.extxyz', FRAME.format(energy=-1).replace(
        '2\n', f'{count}\n', 1))
    begin = time.process_time()
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"m.extxyz', frame 0: .* of {count} "
                       r"atoms must have as many lines .*the end after 2"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 3e7
    tracemalloc.stop()
    assert time.process_time() - begin < 2


@pytest.mark.parametrize('count', ['1' + 18 * '0', '3' * 5000, '-2', '1e3',
                                   '2.0', '\u0662', '\ufeff2', 'two', '2 H'])
def test_counts_that_are_none(tmp_path, count):
    text = FRAME.format(energy=-1)
    path = write(tmp_path / 'm.extxyz', text + count + text[1:])
    with pytest.raises(ValueError, match="m.extxyz', frame 1: .* must begin "
                       "with its number of atoms"):
        read_frames(path)
    path = write(tmp_path / 'm.extxyz', text + '0' + text[1:])
    with pytest.raises(ValueError, match="m.extxyz', frame 2: .* must begin|"
                       "frame 1: There are no atoms"):
        read_frames(path)


@pytest.mark.parametrize('energy, got', [
    ('"-1.5 eV"', "'-1.5 eV'"), ('T', 'True'), ('', 'True'), ('1j', "'1j'"),
    ('"1 2"', r'\[1, 2\]'), ('-1.5eV', "'-1.5eV'"), ('nan', 'nan'),
    ('inf', 'inf'), ('1e308', r'1e\+308'), ('-1e30', r'-1e\+30'),
    ('0x10', "'0x10'")])
def test_energies_that_are_no_number(tmp_path, energy, got):
    good = FRAME.format(energy=-1.5)
    bad = FRAME.format(energy=energy)
    if not energy:
        bad = bad.replace('energy=', 'energy')
    path = write(tmp_path / 'm.extxyz', 3 * good + bad + good)
    with pytest.raises(ValueError, match=f"m.extxyz.?, frame 3: 'energy' must "
                       f"be .*got {got}"):
        read_frames(path)


@pytest.mark.parametrize('old, new, message', [
    ('-0.1', '1e30', r"'force' must be .* at most 1e\+18"),
    ('0.7', '1e10', r"'pos' must be .* at most 1e\+09"),
    ('forces:R:3', 'forces:L:3', "'forces' must be of real numbers"),
    ('forces:R:3', 'forces:S:3', "'forces' must be of real numbers"),
    ('pos:R:3:forces:R:3', 'pos:R:3', r'Atom 0 must have the 4 columns'),
    ('forces:R:3', 'forces:R:3:q:R:1', r'Atom 0 must have the 8 columns'),
    ('forces:R:3', 'pos:R:3', 'cannot be read by ASE'),
    ('forces:R:3', 'forces:R', "'Properties' must be names"),
    ('-0.1', '-0.1 7', 'Atom 1 must have the 7 columns'),
    ('energy=-1', 'energy=-1 energy=-2', "'energy' must be given once"),
    ('energy=-1', 'energy=-1 energy', "'energy' must be given once"),
    ('energy=-1', 'energy=-1 pbc="T T maybe"', "'pbc' must be three of T"),
    ('energy=-1', 'energy=-1 pbc="2 0 0"', "'pbc' must be three of T or F"),
    ('energy=-1', 'energy=-1 lattice="3 0 0 0 3 0 0 0 3"',
     "'Lattice' must be written like this"),
    ('energy=-1', 'energy=-1 Lattice="3 0 0 0 3 0 0 0 "3 A""',
     'Quotes must be around whole values'),
    ('pos:R:3', 'place:R:3', "must have three columns 'pos'"),
    ('pos:R:3', 'pos:R:2:h:R:1', "must have three columns 'pos'"),
    ('H 0 0 0 ', 'Xx 0 0 0 ', 'cannot be read by ASE'),
    ('H 0 0 0 ', 'X 0 0 0 ', "'z' must lie between 1 and 118"),
])
def test_frames_that_contradict_themselves(tmp_path, old, new, message):
    good = FRAME.format(energy=-1)
    assert old in good
    path = write(tmp_path / 'm.extxyz', good + good.replace(old, new))
    with pytest.raises(ValueError, match=f"m.extxyz.?, frame 1: .*{message}"):
        read_frames(path)


def test_what_is_said_of_another_number_is_none_of_it(tmp_path):
    text = FRAME.format(energy='-1 comment="energy=-2 pbc=x" note=a=energy=b')
    path = write(tmp_path / 'm.extxyz', text)
    assert read_frames(path).energy.tolist() == [-1]


MATRIX = np.array([[1, 2, 3], [2, 4, 5], [3, 5, 6.0]])


@pytest.mark.parametrize('name', ['stress', 'virial', 'virials', 'REF_stress',
                                  'REF_virial'])
def test_stresses_are_symmetric(tmp_path, name):
    volume = 27 if 'virial' in name else 1
    path = tmp_path / 'm.extxyz'

    def read(matrix):
        numbers = ' '.join(map(repr, (volume * matrix).ravel().tolist()))
        write(path, 2 * CRYSTAL.format(rest=f'energy=1 {name}="{numbers}"'))
        return read_frames(path).stress

    sign = -1 if 'virial' in name else 1
    for order in (MATRIX, MATRIX.T, MATRIX + 1e-4 * np.triu(MATRIX, 1)):
        assert np.abs(sign * read(order)[0].numpy() - MATRIX).max() < 1e-3
    assert read(MATRIX * 1e-9) is not None
    for place in ((0, 1), (2, 0), (1, 2)):
        wrong = MATRIX.copy()
        wrong[place] += 0.01
        with pytest.raises(ValueError, match=f"m.extxyz', frame 0: .*'{name}' "
                           f"must be symmetric .got"):
            read(wrong)


@pytest.mark.parametrize('key, value', [
    ('energy', 1 + 2j), ('energy', True), ('energy', '1.0'),
    ('energy', np.array([1.0, 2.0])), ('stress', np.ones((3, 3)) * 1j),
    ('stress', np.arange(9.0).reshape(3, 3)),
], ids=str)
@pytest.mark.parametrize('prefix', ['', 'REF_'])
def test_labels_of_a_trajectory(tmp_path, key, value, prefix):
    good, bad = (hydrogen(-1.0, cell=[9, 9, 9], pbc=True) for _ in range(2))
    results = bad.calc.results
    if prefix:
        del results['energy']
        bad.info.update({'REF_energy': -1.0, f'REF_{key}': value})
    else:
        results[key] = value
    ase_io.write(tmp_path / 'm.traj', [good, bad])
    with pytest.raises(ValueError, match=f"m.traj', frame 1: ('({prefix})?"
                       f"{key}' must .*got|.*complex)"):
        read_frames(tmp_path / 'm.traj')


def test_complex_forces_of_a_trajectory(tmp_path):
    atoms = hydrogen(-1.0)
    atoms.calc.results['forces'] = np.ones((2, 3)) * (1 + 1j)
    ase_io.write(tmp_path / 'm.traj', atoms)
    with pytest.raises(ValueError, match="m.traj', frame 0: .*complex"):
        read_frames(tmp_path / 'm.traj')


@pytest.mark.parametrize('scale', [1e-12, 1e-3, 1e10, 1e300])
@pytest.mark.parametrize('kind', ['extxyz', 'traj', 'db'])
def test_cells_without_room(tmp_path, kind, scale):
    good, bad = (hydrogen(-1.0, cell=[9, 9, length], pbc=True)
                 for length in (9, scale))
    path = tmp_path / f'm.{kind}'
    ase_io.write(path, [good, bad], format=kind)
    with pytest.raises(ValueError, match=f"m.{kind}.?, frame 1: 'cell' must"):
        read_frames(path)
    if kind != 'db':
        with pytest.raises(ValueError, match="m.*, frame -?1: 'cell' must"):
            read_structure(path, '')


@pytest.mark.parametrize('key, value', [('momenta', np.nan), ('masses', 0.0),
                                        ('masses', -1.0)])
def test_structures_that_cannot_move(tmp_path, key, value):
    atoms = hydrogen(-1.0)
    atoms.set_array(key, np.full((2, 3) if key == 'momenta' else 2, value))
    ase_io.write(tmp_path / 'm.traj', atoms)
    with pytest.raises(ValueError, match=f"m.traj'.*: '{key}' must be"):
        read_structure(tmp_path / 'm.traj', '')
