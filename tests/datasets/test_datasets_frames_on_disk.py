import json
import multiprocessing
import os
import pickle
import sqlite3

import numpy as np
import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake.datasets import (
    Frames,
    FramesOnDisk,
    convert_frames,
    load_frames,
    read_frames,
    write_frames,
)
from torch_sake.utils.files import INCOMPLETE

UNITS = {'length': 'Angstrom', 'energy': 'eV'}
EXTXYZ = ('2\nProperties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 '
          'pbc="F F F"\nH 0 0 0 0 0 1\nO 0 0 {length} 0 0 -1\n')


def blocks(num_frames=10, size=4):
    """The same frames of two to four atoms in blocks of any size."""
    for first in range(0, num_frames, size):
        rngs = [np.random.default_rng(index) for index in
                range(first, min(first + size, num_frames))]
        z = [rng.integers(1, 10, rng.integers(2, 5)) for rng in rngs]
        pos, force = ([rng.normal(size=(len(rows), 3)) for rng, rows in
                       zip(rngs, z)] for _ in range(2))
        yield Frames(z, pos, torch.tensor([rng.normal() for rng in rngs]),
                     force, name='some', units=UNITS, source='some')


def assert_same(frames, expected):
    assert len(frames) == len(expected)
    for data, other in zip(frames, expected):
        assert data.keys() and set(data.keys()) == set(other.keys())
        for key, value in other:
            assert data[key].dtype == value.dtype
            assert torch.equal(data[key].nan_to_num(7.0),
                               value.nan_to_num(7.0)), key
    assert frames.num_atoms.equal(expected.num_atoms)
    for name in ('name', 'units', 'label', 'readout', 'has_forces',
                 'has_stress', 'test_start', 'split_seed'):
        assert getattr(frames, name) == getattr(expected, name)


@pytest.mark.parametrize('name', ['water_file', 'energy_file', 'copper_file'])
@pytest.mark.parametrize('kind', ['extxyz', 'db', 'traj'])
def test_same_as_in_memory(name, kind, request, tmp_path, monkeypatch):
    ase_io = pytest.importorskip('ase.io')
    from torch_sake.datasets.frames import ase_structures, convert
    monkeypatch.setattr(convert, 'BLOCK', 7)
    monkeypatch.setattr(ase_structures, 'ROWS', 4)
    path = str(tmp_path / f'm.{kind}')
    structures = ase_io.read(request.getfixturevalue(name), ':')
    ase_io.write(path, structures)
    frames = convert_frames(path, tmp_path / 'm.frames')
    expected = read_frames(path)
    assert len(expected) == len(structures)
    assert_same(frames, expected)
    assert frames.elements == expected._data.z.unique().tolist()
    again = load_frames(tmp_path / 'm.frames')
    assert isinstance(again, FramesOnDisk)
    assert_same(again[[5, 2, 2]], expected[[5, 2, 2]])
    assert_same(again[-3:], expected[-3:])


def test_cells_of_some_blocks(tmp_path):
    periodic = Frames([[1]], [[[0.0] * 3]], [1.0], [[[0.0] * 3]],
                      cell=np.eye(3)[None], stress=np.eye(3)[None], name='c',
                      units=UNITS, source='c')
    write_frames([*blocks(4, 4), periodic], tmp_path / 'm')
    frames = FramesOnDisk(tmp_path / 'm')
    assert frames.has_stress
    batch = next(iter(DataLoader(frames, batch_size=5)))
    assert batch.cell[4].equal(torch.eye(3).double())
    assert batch.pbc.tolist() == 4 * [3 * [False]] + [3 * [True]]
    assert not batch.cell[:4].any() and batch.stress[:4].isnan().all()
    assert batch.stress[4].equal(torch.eye(3).double())


@pytest.mark.parametrize('revised', [False, True])
@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_npz_of_md17(revised, save, tmp_path, monkeypatch):
    from torch_sake.datasets.frames import convert
    monkeypatch.setattr(convert, 'BLOCK', 6)
    rng = np.random.default_rng(0)
    values = [np.array([1, 8], dtype=np.uint8), rng.normal(size=(7, 2, 3)),
              rng.normal(size=(7, 1)), rng.normal(size=(7, 2, 3))]
    keys = ('z', 'R', 'E', 'F')
    if revised:
        keys = ('nuclear_charges', 'coords', 'energies', 'forces')
        values[2] = values[2][:, 0]
    path = tmp_path / 'rmd17_ethanol.npz'
    save(path, **dict(zip(keys, values)))
    frames = convert_frames(path, tmp_path / 'm.frames')
    name = 'revised ethanol'
    if not revised:
        path.rename(tmp_path / 'md17_ethanol.npz')
        name = 'ethanol'
    expected = load_frames(f'md17:{name}', root=tmp_path)
    frames.name = expected.name
    assert_same(frames, expected)


def test_npz_that_cannot_be_read(tmp_path, monkeypatch):
    from torch_sake.datasets.frames import convert
    monkeypatch.setattr(convert, 'BLOCK', 6)
    path, out = tmp_path / 'm.npz', tmp_path / 'm.frames'
    arrays = dict(z=[1, 8], R=np.zeros((7, 2, 3)), E=np.zeros(7),
                  F=np.zeros((7, 2, 3)))

    def check(match, **changes):
        np.savez(path, **{**arrays, **changes})
        with pytest.raises(ValueError, match=match):
            convert_frames(path, out)

    force = arrays['F'].copy()
    force[5, 1, 2] = np.nan
    check("m.npz, frame 5: 'force' must be finite", F=force)
    check(r"'F' must have shape \(7, 2, 3\)", F=force[:, :1])
    check("'R' must have shape", R=force[1:])
    check("'E' must have one number per frame", E=np.zeros((7, 2)))
    check("'E' must be an array of numbers", E=np.array(3.0))
    check("'R' must be an array of numbers",
          R=np.asfortranarray(np.zeros((7, 2, 3))))
    np.savez(path, z=[1, 8], R=force)
    with pytest.raises(ValueError, match=r"arrays .*\(it has \['R', 'z'\]"):
        convert_frames(path, out)
    monkeypatch.setattr(convert, 'BLOCK', 1800)
    np.savez(path, z=[1, 8], R=np.zeros((1000, 2, 3)), E=np.zeros(1000),
             F=np.zeros((1000, 2, 3)))
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-30])
    with pytest.raises(ValueError, match='not a complete .npz file'):
        convert_frames(path, out)
    content[content.index(b'F.npy') + 400] ^= 1  # one of its numbers
    path.write_bytes(content)
    with pytest.raises(ValueError, match="frames 900 to 999: 'F' cannot be"):
        convert_frames(path, out)
    assert os.listdir(tmp_path) == ['m.npz']


def test_records_that_cannot_be_read(tmp_path, monkeypatch):
    pytest.importorskip('ase')
    from torch_sake.datasets.frames import convert
    monkeypatch.setattr(convert, 'BLOCK', 4)
    path, out = tmp_path / 'm.extxyz', tmp_path / 'm.frames'
    good = EXTXYZ.format(length=0.9)

    def check(match, text, number=5):
        path.write_text(number * good + text)
        with pytest.raises(ValueError, match=f'm.extxyz.*frame {match}'):
            convert_frames(path, out)
        assert os.listdir(tmp_path) == ['m.extxyz']

    check("5: The file cannot be read", good[:-30])
    check("5: The file cannot be read", 'two\n')
    check("5: 'pos' must be finite", EXTXYZ.format(length='nan') + good)
    check("5: 'energy' must be of real numbers",
          good.replace('energy=-1.5', 'energy=none') + good)
    path.write_text('')
    with pytest.raises(ValueError, match='There are no frames|cannot be read'):
        convert_frames(path, out)
    path.write_text(5 * good)
    assert len(convert_frames(path, out)) == 5
    with pytest.raises(ValueError, match="'out' must not exist"):
        convert_frames(path, out)


def partly_labeled(first, size):
    whole = next(blocks(num_frames=10, size=10))
    part = range(first, first + size)
    return Frames(
        [whole[i].z.numpy() for i in part],
        [whole[i].pos.numpy() for i in part],
        [None if i % 3 == 0 else whole[i].energy.item() for i in part],
        [None if i in (1, 4, 5, 6, 7) else whole[i].force.numpy()
         for i in part], name='some', units=UNITS, source='some',
        infos=[{'config_type': f'type {i}', 'weight': i / 2} if i % 2 else {}
               for i in part])


def test_labels_that_are_not_known(tmp_path):
    # The second of these blocks knows of no forces at all.
    parts = [partly_labeled(0, 4), partly_labeled(4, 4), partly_labeled(8, 2)]
    write_frames(parts, tmp_path / 'm.frames')
    frames, expected = FramesOnDisk(tmp_path / 'm.frames'), partly_labeled(
        0, 10)
    assert_same(frames, expected)
    for name in ('energy', 'force', 'stress'):
        assert frames.known(name).equal(expected.known(name))
        assert frames[4:].known(name).equal(expected[4:].known(name))
    assert frames.has_infos
    for part, other in ((frames, expected), (frames[[7, 2]],
                                             expected[[7, 2]])):
        assert [part.info(i) for i in range(len(part))] == [
            other.info(i) for i in range(len(part))]
    assert frames.info(3) == {'config_type': 'type 3', 'weight': 1.5}
    weight = torch.arange(10)
    assert frames[5:].with_entries(weight=weight[5:])[1].weight.tolist() == [6]
    write_frames([partly_labeled(4, 4)], tmp_path / 'n.frames')
    assert not FramesOnDisk(tmp_path / 'n.frames').has_forces


@pytest.mark.parametrize('text', ['{', '', '[' * 10**5,
                                  '{"a": ' + 5000 * '9' + '}'],
                         ids=['open', 'empty', 'deep', 'huge'])
def test_infos_that_cannot_be_read(text, tmp_path, monkeypatch):
    path = tmp_path / 'some.frames'
    with monkeypatch.context() as context:
        context.setattr(
            'torch_sake.datasets.frames.convert.json.dumps',
            lambda value, dumps=json.dumps: text if
            'type 1' in str(value) else dumps(value))
        write_frames([partly_labeled(0, 4)], path)
    infos = partly_labeled(0, 4)
    wrong = [infos.info(i) for i in range(4)].index(
        {'config_type': 'type 1', 'weight': 0.5})
    frames = FramesOnDisk(path)
    with pytest.raises(ValueError, match=f"some.frames', frame {wrong}: What "
                       f"is known of it cannot be read"):
        frames.info(wrong)


def test_negative_zero(tmp_path):
    """SQLite keeps it as zero."""
    frames = Frames([[1]] * 2, [[[0.0] * 3]] * 2, [-0.0, -1.0], name='h',
                    units={'length': 'Angstrom', 'energy': 'eV'}, source='h')
    write_frames([frames], tmp_path / 'm')
    again = FramesOnDisk(tmp_path / 'm')
    assert [float(data.energy) for data in again] == [0.0, -1.0]


def test_units_of_blocks(tmp_path):
    first, second, _ = blocks()
    second.units['energy'] = 'kcal/mol'
    with pytest.raises(ValueError, match='frame 4: The units must be'):
        write_frames([first, second], tmp_path / 'm')
    assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match='There are no frames'):
        write_frames([], tmp_path / 'm')


def test_files_that_are_damaged(tmp_path):
    path = tmp_path / 'm.frames'
    write_frames(blocks(200, 50), path)
    content, expected = path.read_bytes(), FramesOnDisk(path)[150].pos
    for size in (len(content) - 1, len(content) // 2, 120):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match='m.frames. is truncated'):
            load_frames(path)
    # One bit of the positions of one frame:
    damaged = bytearray(content)
    damaged[content.index(expected.numpy().tobytes()) + 3] ^= 4
    path.write_bytes(damaged)
    frames = FramesOnDisk(path)
    frames[149]
    with pytest.raises(ValueError, match="m.frames', frame 150: .* not what"):
        frames[150]
    with pytest.raises(ValueError, match="frame 150"):
        frames[torch.tensor([3, 150])][1]
    # A page of the table:
    damaged = bytearray(content)
    begin = content.index(expected.numpy().tobytes()) // 4096 * 4096
    damaged[begin:begin + 4096] = bytes(4096)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match="frame 150: The frame cannot be"):
        FramesOnDisk(path)[150]
    # Rows that are not there, or of other shapes:
    path.write_bytes(content)
    with sqlite3.connect(path) as connection:
        connection.execute('DELETE FROM Frames WHERE id = 7')
        connection.execute('UPDATE Frames SET COL_pos = ? WHERE id = 9',
                           (b'123', ))
    connection.close()
    for index in (7, 9):
        with pytest.raises(ValueError, match=f"frame {index}: The frame can"):
            FramesOnDisk(path)[index]


def test_files_of_others(tmp_path):
    path = tmp_path / 'm.frames'
    write_frames(blocks(), path)
    with sqlite3.connect(path) as connection:
        connection.execute('PRAGMA user_version = 9')
    connection.close()
    with pytest.raises(ValueError, match='format 2 .got format 9'):
        load_frames(path)
    with sqlite3.connect(tmp_path / 'other.db') as connection:
        connection.execute('CREATE TABLE Frames (id)')
    connection.close()
    for name in ('other.db', 'absent', '.'):
        with pytest.raises(ValueError, match="'torch-sake convert' wrote"):
            FramesOnDisk(tmp_path / name)


def test_nothing_is_pickled(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError('Something is pickled')

    monkeypatch.setattr(torch, 'save', fail)
    monkeypatch.setattr(torch, 'load', fail)
    write_frames(blocks(), tmp_path / 'm')
    assert_same(FramesOnDisk(tmp_path / 'm'), next(blocks(10, 10)))
    assert os.listdir(tmp_path) == ['m']  # and nothing beside the file


@pytest.mark.parametrize('context', [
    None, 'fork', pytest.param('spawn', marks=pytest.mark.slow)])
def test_workers(context, tmp_path):
    if context not in (None, *multiprocessing.get_all_start_methods()):
        pytest.skip(f"There is no '{context}' here")
    write_frames(blocks(), tmp_path / 'm')
    frames = FramesOnDisk(tmp_path / 'm')[[8, 1, 4, 4, 0]]
    frames[0]  # the connection of this process
    workers = {} if context is None else dict(
        num_workers=1, multiprocessing_context=context, timeout=300)
    expected = next(blocks(10, 10))[[8, 1, 4, 4, 0]]
    for batch, other in zip(DataLoader(frames, batch_size=2, **workers),
                            DataLoader(expected, batch_size=2)):
        assert batch.pos.equal(other.pos) and batch.batch.equal(other.batch)


def use(frames, queue):
    queue.put((id(frames.db), frames[3].pos.tolist()))


def test_each_process_has_its_own_connection(tmp_path):
    if 'fork' not in multiprocessing.get_all_start_methods():
        pytest.skip("There is no 'fork' here")
    write_frames(blocks(), tmp_path / 'm')
    frames = FramesOnDisk(tmp_path / 'm')
    own, pos = id(frames.db), frames[3].pos
    assert own == id(frames.db)
    context = multiprocessing.get_context('fork')
    queue = context.SimpleQueue()
    process = context.Process(target=use, args=(frames, queue))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert queue.get()[0] != own  # that object is there, too
    assert pickle.loads(pickle.dumps(frames))[3].pos.equal(pos)
    frames.close()
    assert frames[3].pos.equal(pos)  # opened again


def test_what_a_killed_process_left_is_removed(tmp_path):
    for name in ('m-1', 'm-2-1', 'n-1'):
        (tmp_path / f'{INCOMPLETE}{name}').mkdir()
    write_frames(blocks(), tmp_path / 'm')
    assert sorted(os.listdir(tmp_path)) == [
        f'{INCOMPLETE}m-2-1', f'{INCOMPLETE}n-1', 'm']
