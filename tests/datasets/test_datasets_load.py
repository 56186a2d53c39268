import numpy as np
import pytest
import torch

from torch_sake.datasets import load_frames
from torch_sake.datasets.frames import xtb
from torch_sake.datasets.motion.load import MOTION, Motion, load_motion
from torch_sake.utils.inputs import FRAMES, DataSet


def test_load_frames_md17(tmp_path):
    np.savez(tmp_path / 'rmd17_ethanol.npz', nuclear_charges=[1, 8],
             coords=np.ones((3, 2, 3)), energies=np.arange(3.0),
             forces=np.zeros((3, 2, 3)))
    frames = load_frames('md17:revised ethanol', root=tmp_path)
    assert frames.source == 'md17:revised ethanol'
    assert frames.energy.tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(ValueError, match="'root'"):
        load_frames('md17:revised ethanol')
    with pytest.raises(TypeError, match="'temperature'"):
        load_frames('md17:revised ethanol', root=tmp_path, temperature=1.0)


@pytest.mark.parametrize('convert', [str, lambda path: path])
def test_load_frames_file(tmp_path, convert):
    path = tmp_path / 'm.xyz'
    path.write_text('2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 '
                    'pbc="F F F"\nH 0 0 0 0 0 1\nO 0 0 0.9 0 0 -1\n')
    pytest.importorskip('ase')
    frames = load_frames(convert(path))
    assert frames[0].z.tolist() == [1, 8]
    assert frames[0].force[:, 2].tolist() == [1.0, -1.0]
    with pytest.raises(TypeError, match="'num_frames'"):
        load_frames(str(path), num_frames=5)


def test_load_frames_npz(tmp_path):
    rng = np.random.default_rng(0)
    arrays = dict(z=np.array([1, 8]), R=rng.normal(size=(3, 2, 3)),
                  E=rng.normal(size=3), F=rng.normal(size=(3, 2, 3)))
    np.savez(tmp_path / 'm.npz', **arrays, e_unit='eV')
    frames = load_frames(tmp_path / 'm.npz')
    assert frames.units == {'energy': 'eV', 'length': 'Angstrom'}
    assert [data.energy.item() for data in frames] == arrays['E'].tolist()
    assert np.array_equal(torch.stack([data.pos for data in frames]),
                          arrays['R'])
    assert np.array_equal(torch.stack([data.force for data in frames]),
                          arrays['F'])
    np.savez(tmp_path / 'm.npz', **{key: value[:0] if key != 'z' else value
                                    for key, value in arrays.items()})
    with pytest.raises(ValueError, match="m.npz' has no frames"):
        load_frames(tmp_path / 'm.npz')
    np.savez(tmp_path / 'm.npz', x=np.ones(3))
    with pytest.raises(ValueError, match=r"m.npz' must have the arrays .*'x'"):
        load_frames(tmp_path / 'm.npz')


def test_load_frames_xtb(monkeypatch):
    calls = []
    monkeypatch.setattr(xtb, 'xtb_frames',
                        lambda *args, **kwargs: calls.append((args, kwargs)))
    load_frames('xtb:acetic acid', root='cache', seed=7, num_frames=5)
    assert calls == [(('acetic acid', ),
                      {'root': 'cache', 'seed': 7, 'num_frames': 5})]


@pytest.mark.parametrize('data', ['ethanol', 'absent.xyz', 'qm8:homo', 'xtb:',
                                  'md17:', 'qm9:', '', '.'])
def test_load_frames_unknown(data):
    with pytest.raises(ValueError, match="'xtb:NAME'.*'md17:NAME'.*"
                       "'qm9:TARGET'.*existing file"):
        load_frames(data)


def test_a_data_set_of_ones_own(tmp_path, monkeypatch):
    """One line has its reader called, checks its folder and names it."""
    (tmp_path / 'my_reader.py').write_text(
        'def read(*args, **kwargs):\n    return args, kwargs\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(FRAMES, 'mine:KIND', DataSet('my_reader:read', 'ours'))
    monkeypatch.setitem(FRAMES, 'all', DataSet('my_reader:read'))
    monkeypatch.setitem(FRAMES, 'made:N', DataSet('my_reader:read',
                                                  generated=True))
    assert load_frames('mine:a:b', root='data') == (('data', 'a:b'), {})
    assert load_frames('all', root='data') == (('data', ), {})
    assert load_frames('made:x', seed=3, size=2) == (
        ('x', ), {'root': None, 'seed': 3, 'size': 2})
    with pytest.raises(ValueError, match="'root', .* for 'mine:a'"):
        load_frames('mine:a')
    for data in ('mine', 'mine:', 'all:', 'all:x', 'made'):
        with pytest.raises(ValueError, match="'mine:KIND' .ours., 'all'"):
            load_frames(data, root='data')


def test_motion_of_ones_own(monkeypatch):
    def read(*args, **kwargs):
        return args, kwargs

    monkeypatch.setitem(MOTION, 'mine:KIND', Motion(read, 20))
    assert load_motion('mine:a', 'data', 'val', num_horizons=2) == (
        ('data', 'a', 'val', 40), {})
    assert load_motion('mine:a', 'data', 'val', 3, sizes=(1, 1, 1)) == (
        ('data', 'a', 'val', 3), {'sizes': (1, 1, 1)})
    with pytest.raises(ValueError, match="'nbody', .*'mine:KIND' or an .npz"):
        load_motion('mine', 'data', 'val')
