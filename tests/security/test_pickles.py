"""No pickled file below a root, or beside a file of frames, is loaded."""

import pickle
import sys

import numpy
import pytest
import torch

from torch_sake.datasets import (
    FramesOnDisk,
    convert_frames,
    load_frames,
    md17_frames,
    read_split,
    read_trajectories,
)
from torch_sake.models import SAKENet

# What PyG's data sets keep in the folder 'processed':
PROCESSED = ('data_v3.pt', 'data.pt', 'pre_transform.pt', 'pre_filter.pt')


def place(folder, pickled, names=PROCESSED):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        torch.save(pickled, folder / name)


@pytest.mark.parametrize('original', [True, False])
def test_what_pyg_keeps_of_qm9(qm9_root, tmp_path, pickled, original):
    place(tmp_path / 'qm9' / 'processed', pickled)
    if not original:
        (tmp_path / 'qm9' / 'raw' / 'gdb9.sdf').unlink()
    frames = load_frames('qm9:mu', root=qm9_root)
    assert len(frames) == 58


@pytest.mark.parametrize('options', [{}, dict(
    _use_new_zipfile_serialization=False)], ids=['zip', 'legacy'])
@pytest.mark.parametrize('wrap', [lambda value: value, lambda value: [
    dict(z=torch.ones(2).long(), pos=torch.zeros(2, 3), y=value)]])
def test_tensors_of_qm9(qm9_root, tmp_path, pickled, wrap, options,
                        monkeypatch):
    monkeypatch.setitem(sys.modules, 'rdkit', None)
    raw = tmp_path / 'qm9' / 'raw'
    (raw / 'gdb9.sdf').unlink()
    torch.save(wrap(pickled), raw / 'qm9_v3.pt', **options)
    with pytest.raises(ValueError, match='neither be read') as error:
        load_frames('qm9:mu', root=qm9_root)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('name', ['ethanol', 'revised ethanol',
                                  'ethanol CCSD(T)'])
def test_what_pyg_keeps_of_md17(tmp_path, pickled, monkeypatch, name):
    from torch_geometric.datasets import MD17

    def download(self):
        raise OSError('no route to host')

    monkeypatch.setattr(MD17, 'download', download)
    for folder in (tmp_path, tmp_path / name):
        place(folder / 'processed', pickled, (*PROCESSED, *(
            f'{split}.pt' for split in ('train', 'test', name))))
    with pytest.raises(ValueError, match='no route to host'):
        md17_frames(tmp_path, name)
    # The files are there, but were not when PyG was asked for them:
    monkeypatch.setattr(MD17, 'download', lambda self: None)
    with pytest.raises(ValueError, match='There is no file'):
        md17_frames(tmp_path, name)


def test_beside_a_file_of_frames(water_file, tmp_path, pickled):
    place(tmp_path, pickled)
    place(tmp_path / 'processed', pickled)
    convert_frames(water_file, tmp_path / 'water.frames')
    assert len(FramesOnDisk(tmp_path / 'water.frames')) == 30


@pytest.mark.parametrize('read, keys', [
    (load_frames, ('z', 'R', 'E', 'F')),
    (load_frames, ('z', 'R', 'E', 'F', 'e_unit', 'r_unit')),
    (lambda path: read_split(path, 9), ('train', 'val', 'test')),
    (read_trajectories, ('pos', )), (read_trajectories, ('pos', 'other')),
    (SAKENet.from_flax, ('param/d0/v_mixing/kernel', )),
])
def test_arrays(read, keys, tmp_path, pickled):
    array = numpy.array([pickled], dtype=object)
    path = str(tmp_path / 'arrays.npz')
    numpy.savez(path, **{key: array for key in keys})
    with pytest.raises(ValueError):
        read(path)
    # A pickle under the name of an archive, as numpy.load would take it:
    with open(path, 'wb') as file:
        pickle.dump(pickled, file)
    with pytest.raises(ValueError):
        read(path)


def test_state_of_a_simulation(tmp_path, pickled):
    from torch_sake.simulation import MDConfig
    from torch_sake.simulation.restart import load_state
    numpy.savez(tmp_path / 'restart.npz', config=numpy.array(
        [pickled], dtype=object))
    with pytest.raises(ValueError, match='restart.npz'):
        load_state(MDConfig('checkpoint', resume=True), str(tmp_path), {})
