"""Readers of ASE that would open, start or execute what a file says."""

import json
import os
import pickle
from contextlib import suppress

import pytest
from ase import Atoms
from ase.io import write
from ase.io.formats import ioformats

from torch_sake.cli import main
from torch_sake.datasets import convert_frames, load_frames
from torch_sake.simulation.structures import read_structure

XYZ = '2\n\nH 0 0 0\nH 0 0 0.7\n'
OCTOPUS = "CalculationMode = gs\nXYZCoordinates = 'secret.xyz'\n"
ONETEP = ("! --- INPUT FILE ---\ninclude_file secret.dat\n"
          "%block lattice_cart\n9 0 0\n0 9 0\n0 0 9\n%endblock lattice_cart\n")
ACE = '%% BasicInformation\nGeometryFilename secret.xyz\n'
CASTEP = ('%BLOCK LATTICE_CART\n9 0 0\n0 9 0\n0 0 9\n%ENDBLOCK LATTICE_CART\n'
          '%BLOCK POSITIONS_ABS\nH 0 0 0\n%ENDBLOCK POSITIONS_ABS\n')
FILES = [
    ('inp', OCTOPUS), ('a.octopus-in', OCTOPUS), ('a.dat', ONETEP),
    ('a.onetep-in', ONETEP), ('a.acemolecule-input', ACE),
    ('a.cell', CASTEP), ('a.castep-cell', CASTEP),
    ('a.gpw', 'tar'), ('a.bundletrajectory', 'x'), ('a.mysql', 'x'),
    ('a.postgresql', 'x'), ('a.netcdftrajectory', 'x'), ('ao_GSR.nc', 'x'),
]


@pytest.fixture
def folder(tmp_path, marker, monkeypatch):
    """With files that others name, and a program 'castep' that leaves a
    marker."""
    folder = tmp_path / 'working'
    folder.mkdir()
    for name in ('secret.xyz', 'secret.dat'):
        (folder / name).write_text(XYZ)
    program = folder / 'castep'
    program.write_text(f'#!/bin/sh\necho > {marker}\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv('HOME', str(tmp_path))  # of keywords of CASTEP
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize('name, text', FILES)
def test_files_that_name_others(folder, name, text, monkeypatch):
    (folder / name).write_text(text)
    before = sorted(os.listdir())
    opened = watch(monkeypatch)
    for read in (load_frames, lambda path: read_structure(path, 'checkpoint'),
                 lambda path: read_structure(f'{path}@0', 'checkpoint'),
                 lambda path: convert_frames(path, 'out.frames')):
        with pytest.raises(ValueError, match='may name other files') as error:
            read(name)
        assert '\n' not in str(error.value)
    assert not [path for path in opened if 'secret' in path]
    assert sorted(os.listdir()) == before


def watch(monkeypatch):
    """Returns the paths that are opened from now on."""
    import builtins
    import io
    opened, real = [], builtins.open

    def watched(path, *args, **kwargs):
        opened.append(str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(builtins, 'open', watched)
    monkeypatch.setattr(io, 'open', watched)
    return opened


def test_formats_of_other_packages(tmp_path, monkeypatch, marker):
    """What they do is not known."""
    from ase.io.formats import IOFormat
    (tmp_path / 'plugin.py').write_text(
        f'open({str(marker)!r}, "w")\ndef read_plugged(fd): pass\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(ioformats, 'plugged', IOFormat(
        'plugged', 'of a plugin', '1F', 'plugin'))
    (tmp_path / 'a.plugged').write_text('x')
    with pytest.raises(ValueError, match="'plugged' may name other files"):
        load_frames(str(tmp_path / 'a.plugged'))


def test_command_line(folder, capsys):
    pytest.importorskip('jsonargparse')
    (folder / 'inp').write_text(OCTOPUS)
    assert main(['train', '--data', 'inp']) == 2
    error = capsys.readouterr().err
    assert error.count('\n') == 1 and "'octopus-in'" in error


@pytest.mark.parametrize('name', ['a.traj', 'a.xyz', 'a.db', 'a.json',
                                  'a.pckl', 'a.pkl', 'a.npz', 'a.frames'])
def test_pickles_under_any_name(tmp_path, pickled, name):
    path = str(tmp_path / name)
    for prefix in (b'', b'PickleTrajectory'):
        with open(path, 'wb') as file:
            file.write(prefix)
            pickle.dump(pickled, file)
        with pytest.raises(ValueError):
            load_frames(path)
        with pytest.raises(ValueError):
            read_structure(path, 'checkpoint')


@pytest.mark.parametrize('constraint', [
    {'name': 'dict2constraint', 'kwargs': {'dct': {'name': 'os.system'}}},
    {'name': 'os.system', 'kwargs': {'command': 'echo > MARKER'}},
    {'name': '__import__', 'kwargs': {'name': 'os'}},
    {'name': 'FixAtoms', 'kwargs': {
        'indices': {'__ase_objtype__': 'os.system', 'command': 'x'}}},
    {'__ase_objtype__': 'bandpath', 'labelseq': '__import__("os")'},
])
def test_constraints_of_a_database(tmp_path, marker, constraint):
    path = str(tmp_path / 'a.json')
    write(path, Atoms('H2', [[0, 0, 0], [0, 0, 0.7]]))
    content = json.load(open(path))
    text = json.dumps([constraint]).replace('MARKER', str(marker))
    content['1']['constraints'] = json.loads(text)
    json.dump(content, open(path, 'w'))
    with pytest.raises(ValueError):
        read_structure(path, 'checkpoint')


@pytest.mark.parametrize('entry', [
    {'__ase_objtype__': 'os.system', 'command': 'echo > MARKER'},
    {'__ase_objtype__': 'bandpath', 'labelseq': '__import__("os")'},
    {'__ndarray__': [[1], 'object', ['x']]}, ['no', 'mapping'], 'text'],
    ids=str)
@pytest.mark.parametrize('key', ['data', 'key_value_pairs'])
def test_data_of_a_database(tmp_path, marker, entry, key):
    """What a row says beside its structure is read for its labels."""
    path = str(tmp_path / 'a.json')
    write(path, Atoms('H2', [[0, 0, 0], [0, 0, 0.7]]))
    content = json.load(open(path))
    text = json.dumps(entry if isinstance(entry, (str, list)) else
                      {'x': entry}).replace('MARKER', str(marker))
    content['1'][key] = json.loads(text)
    json.dump(content, open(path, 'w'))
    with suppress(ValueError):  # whether it is refused or nothing to us
        assert load_frames(path).info(0) == {}


@pytest.mark.parametrize('expression', [
    '__import__("os").system("echo > MARKER")',
    '().__class__.__base__.__subclasses__()', 'open("MARKER", "w")'])
def test_expressions_of_aims(tmp_path, marker, expression):
    """Constraints of FHI-aims are formulas, which ASE evaluates itself."""
    expression = expression.replace('MARKER', str(marker)).replace(' ', '')
    (tmp_path / 'a.in').write_text(
        'lattice_vector 9 0 0\nlattice_vector 0 9 0\nlattice_vector 0 0 9\n'
        'atom_frac 0 0 0 H\nsymmetry_n_params 1 1 0\nsymmetry_params a\n'
        + f'symmetry_lv {expression},0,0\n'
        + 2 * 'symmetry_lv 0,0,a\n' + 'symmetry_frac 0,0,0\n')
    with pytest.raises(ValueError, match='cannot be read by ASE'):
        read_structure(str(tmp_path / 'a.in'), 'checkpoint')


@pytest.mark.parametrize('name', ['a.xyz', 'a.extxyz', 'a.traj', 'a.cif',
                                  'a.json', 'a.db', 'POSCAR', 'a.pdb', 'a.in',
                                  'a.xyz.gz', 'a.gen', 'a.xsf'])
def test_other_formats_are_read(tmp_path, name):
    atoms = Atoms('H2', [[0, 0, 0], [0, 0, 0.7]], cell=[9, 9, 9], pbc=True)
    write(tmp_path / name, atoms)
    read = read_structure(str(tmp_path / name), 'checkpoint')
    assert read.numbers.tolist() == [1, 1]
    assert read.get_distance(0, 1, mic=True) == pytest.approx(0.7, abs=1e-3)
