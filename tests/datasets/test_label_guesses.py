"""Labels under names that say nothing."""

import warnings

import numpy as np
import pytest

from torch_sake.datasets import read_frames

ase_io = pytest.importorskip('ase.io')


def write(path, infos=(), arrays=(), number=3, **more):
    """A file of frames with such entries."""
    from ase import Atoms
    frames = []
    for index in range(number):
        atoms = Atoms('CO', [[0, 0, 0], [0, 0, 1.1 + 0.01 * index]])
        atoms.info.update({name: 0.5 + index for name in infos}, **more)
        for name in arrays:
            atoms.arrays[name] = np.ones((2, 3)) * index
        frames.append(atoms)
    ase_io.write(path, frames, format='extxyz', write_results=False)
    return path


def said(path, **keys):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        read_frames(path, **keys)
    return [str(warning.message) for warning in caught]


def test_names_that_say_nothing(tmp_path):
    path = write(tmp_path / 'm.xyz', ['dft_E', 'temperature', 'x'],
                 ['dft_F', 'momenta', 'dft_dipole'], step=3)
    lines = said(path)
    assert len(lines) == 1
    assert ("there is no 'energy' of a known name, and 'dft_E', which might "
            "be some, is not read (--energy_key dft_E," in lines[0])
    assert "(--forces_key dft_F," in lines[0]
    for name in ('momenta', 'dipole', 'temperature', 'step'):
        assert name not in lines[0]
    line, = said(path, energy_key='dft_E')
    assert "--forces_key dft_F" in line and 'energy_key' not in line
    line, = said(path, forces_key='dft_F')
    assert "--energy_key dft_E" in line and 'forces_key' not in line
    for keys in ({'energy_key': 'dft_E', 'forces_key': 'dft_F'},
                 {'energy_key': 'dft_E', 'forces_key': 'none'}):
        assert said(path, **keys) == []


@pytest.mark.parametrize('infos, arrays, keys', [
    (['energy', 'dft_gap'], ['forces', 'dft_F'], {}),
    (['energy', 'dft_gap'], ['forces', 'dft_F'], {'energy_key': 'energy'}),
    (['dft_E', 'gap'], ['noise'], {'energy_key': 'dft_E'}),
    (['temperature'], ['momenta', 'initial_magmoms'], {}),
    ([], [], {}),
])
def test_no_false_alarm(tmp_path, infos, arrays, keys):
    path = write(tmp_path / 'm.xyz', infos, arrays)
    assert said(path, **keys) == []


def test_letters(tmp_path):
    path = write(tmp_path / 'm.xyz', ['E'], ['F'])
    line, = said(path, energy_key='E')
    assert '--forces_key F' in line


def test_what_a_file_has(tmp_path):
    import torch

    from torch_sake.datasets import Split
    from torch_sake.training.checks import check_labels
    path = write(tmp_path / 'm.xyz', [], ['momenta'], step=3)
    frames = read_frames(path)
    split = Split(*torch.tensor([[0], [1], [2]]))
    with pytest.raises(ValueError, match=r"see 'energy_key'; a frame has "
                       r"'momenta', 'step'\)"):
        check_labels(frames, split)


def join(path, *parts):
    path.write_text(''.join(part.read_text() for part in parts))
    return path


def test_some_frames_have_other_names(tmp_path):
    one = write(tmp_path / 'a.xyz', ['energy'], number=2)
    other = write(tmp_path / 'b.xyz', ['dft_energy'])
    path = join(tmp_path / 'm.xyz', one, other)
    for keys, message in (
            ({}, "3 of 5 frames, the first of them 2, have no 'energy' but "
                 "'dft_energy', which is not read"),
            ({'energy_key': 'dft_energy'},
             "2 of 5 frames, the first of them 0, have no 'dft_energy' but "
             "'energy', which is not read")):
        assert said(path, **keys) == [f"'{path}': {message}"]
    assert said(path, energy_key='none') == []
    assert said(other, energy_key='dft_energy') == []


def test_files_of_different_names(tmp_path):
    from torch_sake.datasets import convert_frames, load_frames
    paths = [write(tmp_path / 'a.xyz', ['energy'], number=2),
             write(tmp_path / 'b.xyz', ['dft_energy'])]
    with pytest.raises(ValueError, match="'energy_key' must be the name of .*"
                       r"a.xyz --out NAME.frames --energy_key NAME\) and give "
                       "the .frames files together"):
        load_frames(paths, energy_key='dft_energy')
    with pytest.raises(ValueError, match="'energy_key' must be the name") as e:
        load_frames(paths[0], energy_key='dft_energy')
    assert 'convert' not in str(e.value)
    both = [convert_frames(paths[0], tmp_path / 'a.frames').source,
            convert_frames(paths[1], tmp_path / 'b.frames',
                           energy_key='dft_energy').source]
    assert load_frames(both).known('energy').all()
    frames = load_frames([both[0], paths[1]], energy_key='dft_energy')
    assert frames.known('energy').all()
