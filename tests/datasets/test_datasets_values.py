"""Values in arrays that no data have."""

import os

import numpy as np
import pytest
import torch

from torch_sake.datasets import (
    Frames,
    convert_frames,
    load_frames,
    md17_frames,
    read_split,
    read_trajectories,
)
from torch_sake.datasets.frames.split import read_indices
from torch_sake.utils.files import read_arrays

KEYS = ('z', 'R', 'E', 'F')


def arrays():
    rng = np.random.default_rng(0)
    return {'z': np.array([8, 1]), 'R': rng.normal(size=(3, 2, 3)),
            'E': rng.normal(size=3), 'F': rng.normal(size=(3, 2, 3))}


def changed(key, index, value):
    array = arrays()[key].astype(np.result_type(type(value), float))
    array[index] = value
    return {key: array}


@pytest.mark.parametrize('changes, message', [
    ({'z': np.zeros(0, int)}, r"'z' (must be .*atoms|of shape)"),
    ({'z': np.zeros(0, int), 'R': np.zeros((3, 0, 3)),
      'F': np.zeros((3, 0, 3))}, r"'z' (must be .*atoms|of shape)"),
    ({'z': np.array([[8, 1]])}, r"'z' .*\(1, 2\)"),
    ({'z': np.array([8.5, 1.0])}, "'z' must be of integer type"),
    ({'z': np.array([True, True])}, "'z' must be an array of numbers"),
    ({'z': np.array([0, 1])}, r"frame 0: 'z' must lie between 1 and 118"),
    ({'z': np.array([119, 1])}, r"frame 0: 'z' must lie between 1 and 118"),
    ({'R': np.zeros((0, 2, 3)), 'E': np.zeros(0), 'F': np.zeros((0, 2, 3))},
     'frames'),
    ({'E': np.ones(3) * 1j}, "'E'|'energy'"),
    ({'E': np.ones(3, bool)}, "'E'|'energy'"),
    ({'E': np.array(['1', '2', '3'])}, "'E'|'energy'"),
    ({'E': np.array([1, 2, 3], object)}, 'E|Object arrays'),
    ({'F': np.ones((3, 2, 3)) * 1j}, "'F'|'force'"),
    ({'R': np.ones((3, 2, 3), bool)}, "'R'|'pos'"),
    (changed('E', 1, 1e308), r"frame 1: 'energy' must .*got 1e\+308"),
    (changed('E', 2, np.nan), r"frame 2: 'energy' must .*got nan"),
    (changed('F', (1, 0, 2), -1e30), r"frame 1: 'force' must .*-1e\+30"),
    (changed('R', (2, 1, 0), 1e12), r"frame 2: 'pos' must .*1000000000000"),
], ids=str)
def test_arrays_of_trajectories(tmp_path, changes, message):
    path = tmp_path / 'md17_ethanol.npz'
    np.savez(path, **{**arrays(), **changes})
    for read in (load_frames, lambda _: md17_frames(tmp_path, 'ethanol'),
                 lambda path: convert_frames(path, tmp_path / 'out')):
        with pytest.raises((TypeError, ValueError), match=message) as error:
            read(path if read is not load_frames else str(path))
        assert len(str(error.value).splitlines()) == 1
        assert 'ethanol' in str(error.value)
    assert os.listdir(tmp_path) == ['md17_ethanol.npz']


@pytest.mark.parametrize('key, value', [
    ('energy', [1.0, 1j]), ('energy', [True, False]), ('energy', ['1', '2']),
    ('energy', torch.ones(2) * 1j), ('energy', torch.tensor([True, False])),
    ('force', [np.ones((1, 3)), np.ones((1, 3)) * 1j]),
    ('pos', [np.ones((1, 3)), np.ones((1, 3), bool)]),
    ('stress', np.ones((2, 3, 3)) * 1j),
], ids=str)
def test_labels_are_real(key, value):
    cells = dict(cell=np.tile(9 * np.eye(3), (2, 1, 1)))
    values = dict(z=[[1], [1]], pos=2 * [np.zeros((1, 3))], energy=[1.0, 2.0],
                  **(cells if key == 'stress' else {}))
    with pytest.raises(TypeError, match=f"some.*'{key}' must be an array of "
                       f"numbers"):
        Frames(**{**values, key: value}, name='', source='some',
               units={'length': 'Angstrom', 'energy': 'eV'})


@pytest.mark.parametrize('change, message', [
    (dict(pos=np.full((10, 4, 3), 1e30)), "'pos' must be at most"),
    (dict(pos=np.ones((10, 4, 3)) * 1j), "'pos' must be of numbers"),
    (dict(pos=np.ones((10, 4, 3), bool)), "'pos' must be of numbers"),
    (dict(pos=np.zeros((10, 0, 3))), "'pos' must not be empty"),
    (dict(pos=np.array('pos')), "'pos' must be of numbers"),
    (dict(time_step=np.array(1e-60)), "'vel' must be finite"),
    (dict(time_step=np.array(-1.0)), "'time_step' must be positive"),
    (dict(edge_index=np.array([[0, 9], [1, 2]])), "'edge_index' must"),
    (dict(edge_index=np.array([0, 1])), "'edge_index' must"),
    (dict(x=np.zeros((4, 0))), "'x' must have columns"),
    (dict(x=np.array(['a'])), "'x' must be of numbers")], ids=str)
def test_trajectories_in_motion(tmp_path, change, message):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / 'm.npz', **{'pos': rng.normal(size=(10, 4, 3)),
                                    **change})
    with pytest.raises(ValueError, match=f"m.npz': {message}"):
        read_trajectories(tmp_path / 'm.npz', horizon=1)


@pytest.mark.parametrize('text', ['', '\n\n', '# none', '1\n2.5', '1 2', '1_0',
                                  '\u0663', '1\n1e3', 20 * '9', 'nan', '0x1'])
def test_indices_that_are_none(tmp_path, text):
    path = tmp_path / 'index.csv'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(ValueError, match="index.csv' must hold one integer a"):
        read_indices(path)
    path.write_text('3\r\n\r\n 1\n# a word\n0002\n+4')
    assert read_indices(path).tolist() == [3, 1, 2, 4]


@pytest.mark.parametrize('read', [
    lambda path: read_arrays(path, ['a']), lambda path: read_split(path, 3),
    read_indices, read_trajectories, load_frames,
    lambda path: convert_frames(path, 'out')])
def test_what_is_no_file(tmp_path, monkeypatch, read):
    """A pipe would be waited for without end."""
    monkeypatch.chdir(tmp_path)
    pipe = tmp_path / 'pipe.npz'
    os.mkfifo(pipe)
    for path in (pipe, tmp_path, '/dev/zero', tmp_path / 'absent.npz',
                 tmp_path / 'a\0b.npz', ''):
        with pytest.raises(ValueError, match='There is no file|existing file'):
            read(path)
