import pickle

import numpy
import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake.datasets import (
    Frames,
    FramesOnDisk,
    JoinedFrames,
    load_frames,
    write_frames,
)
from torch_sake.datasets.frames.duplicates import structure_keys
from torch_sake.datasets.frames.fingerprint import frames_fingerprint
from torch_sake.datasets.frames.joined_frames import assign_frames

UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def build(source, seed, num_frames=4, **arrays):
    generator = numpy.random.default_rng(seed)
    sizes = generator.integers(1, 5, num_frames)
    return Frames([generator.integers(1, 9, size) for size in sizes],
                  [generator.normal(0, 2, (size, 3)) for size in sizes],
                  generator.normal(0, 1, num_frames), name=source[:1],
                  source=source, **{'units': UNITS, **arrays})


@pytest.fixture
def parts(tmp_path):
    """Molecules with forces of some, crystals with stresses of some, and
    molecules with energies alone, on disk."""
    a = build('a.xyz', 0, infos=[{'config_type': str(i)} for i in range(4)])
    forces = [None if index == 1 else numpy.ones((size, 3)) * index
              for index, size in enumerate(a.num_atoms.tolist())]
    a = Frames([data.z for data in a], [data.pos for data in a],
               [float(data.energy) for data in a], forces, name='a',
               units=UNITS, source='a.xyz',
               infos=[a.info(index) for index in range(4)])
    b = build('b.xyz', 1, 3, cell=numpy.tile(4 * numpy.eye(3), (3, 1, 1)),
              stress=[numpy.full((3, 3), numpy.nan), numpy.eye(3),
                      numpy.eye(3)])
    write_frames([build('c.xyz', 2, 5)], tmp_path / 'c.frames')
    return [a, b, FramesOnDisk(tmp_path / 'c.frames')]


def test_frames_of_several_sources(parts):
    frames = JoinedFrames(parts)
    assert len(frames) == 12 and frames.label == 'energy'
    assert frames.has_forces and frames.has_stress and frames.has_infos
    assert frames.elements == sorted({*parts[0].elements, *parts[1].elements,
                                      *parts[2].elements})
    assert frames.num_atoms.tolist() == [
        data.num_nodes for part in parts for data in part]
    for data, other in zip(frames, [*parts[0], *parts[1], *parts[2]]):
        assert sorted(data.keys()) == ['cell', 'energy', 'force', 'pbc', 'pos',
                                       'stress', 'z']
        for key, value in data:
            if key in other:
                assert torch.equal(value.nan_to_num(9e9) if key != 'pbc' else
                                   value, other[key].nan_to_num(9e9)
                                   if key != 'pbc' else other[key])
            elif key in ('force', 'stress'):
                assert value.isnan().all()
            else:
                assert not value.any()
            assert value.dtype == (torch.long if key == 'z' else torch.bool
                                   if key == 'pbc' else torch.double)
    assert frames.known('energy').all()
    assert frames.known('force').tolist() == [
        True, False, True, True, *8 * [False]]
    assert frames.known('stress').tolist() == [
        *5 * [False], True, True, *5 * [False]]
    assert frames.info(2) == {'config_type': '2'} and frames.info(5) == {}
    assert frames.mentions('config_type') and not frames.mentions('config')


def test_selections_and_batches(parts):
    frames = JoinedFrames(parts)
    some = frames[torch.tensor([11, 2, 5])]
    assert some.num_atoms.tolist() == frames.num_atoms[[11, 2, 5]].tolist()
    assert some.where(0) == f"'{parts[2].source}', frame 4"
    assert some.where(1) == "'a.xyz', frame 2"
    assert some.where(2) == "'b.xyz', frame 1"
    assert some.known('stress').tolist() == [False, False, True]
    assert some.info(1) == {'config_type': '2'}
    assert some[1:][0].pos.equal(parts[0][2].pos)
    for workers in (0, 2):
        batch, = DataLoader(some, batch_size=3, num_workers=workers)
        assert batch.stress.shape == batch.cell.shape == (3, 3, 3)
        assert batch.force.shape == batch.pos.shape
        assert batch.pos.equal(torch.cat([frames[index].pos
                                          for index in (11, 2, 5)]))
    weighed = some.with_entries(weight=torch.tensor([1.0, 2.0, 3.0]))
    assert [float(data.weight) for data in weighed] == [1.0, 2.0, 3.0]
    again = pickle.loads(pickle.dumps(some))
    assert again[2].energy.equal(some[2].energy)


def test_joined_parts_may_be_selections(parts):
    frames = JoinedFrames([parts[0][[3, 1]], parts[2][[4]]])
    assert [frames.where(index) for index in range(3)] == [
        "'a.xyz', frame 3", "'a.xyz', frame 1",
        f"'{parts[2].source}', frame 4"]
    again = JoinedFrames([frames[[2, 0]], parts[1]])
    assert again.where(0) == f"'{parts[2].source}', frame 4"
    assert again.where(4) == "'b.xyz', frame 2"
    assert again[1].pos.equal(parts[0][3].pos)
    assert again.is_in_memory is False
    assert JoinedFrames(parts[:2]).is_in_memory


def test_keys_and_fingerprint(parts):
    frames = JoinedFrames(parts)
    keys = torch.cat([structure_keys(part) for part in parts])
    assert structure_keys(frames).equal(keys)
    assert structure_keys(frames[[7, 0, 5]]).equal(keys[[7, 0, 5]])
    assert frames_fingerprint(frames) == frames_fingerprint(
        JoinedFrames(parts))
    assert frames_fingerprint(frames) != frames_fingerprint(
        JoinedFrames(parts[::-1]))


def test_what_does_not_fit_names_both():
    a = build('a.xyz', 0)
    b = build('b.xyz', 1, units={'length': 'Bohr', 'energy': 'eV'})
    with pytest.raises(ValueError, match=r"'a.xyz' and 'b.xyz' must have the "
                       r"same units \(got .*Angstrom.* and .*Bohr"):
        JoinedFrames([a, b])
    c = build('c.xyz', 2, units={'length': 'Angstrom', 'gap': 'eV'})
    d = build('d.xyz', 2, units=c.units, readout='mean')
    with pytest.raises(ValueError, match="'c.xyz' and 'd.xyz' .* readout"):
        JoinedFrames([c, c, d])
    with pytest.raises(ValueError, match="'a.xyz' and 'c.xyz' .* units"):
        JoinedFrames([a, c])
    with pytest.raises(ValueError, match=r"entries \(got \[\] and \['weight"):
        JoinedFrames([a, a.with_entries(weight=torch.ones(4))])
    with pytest.raises(ValueError, match="'parts' must be at least one"):
        JoinedFrames([])


def test_sources_in_words():
    names = [f'{name}.xyz' for name in 'abcde']
    assert [JoinedFrames([build(name, 0) for name in names[:number]]).source
            for number in (2, 3, 5)] == [
        'a.xyz and b.xyz', 'a.xyz, b.xyz and c.xyz',
        'a.xyz, b.xyz and 3 others']


def test_frames_given_for_a_part():
    a, b, c = (build(f'{name}.xyz', 0, number)
               for name, number in (('a', 4), ('b', 3), ('c', 2)))
    frames = assign_frames(a, {'val': b, 'test': c})
    assert {name: part.tolist() for name, part in frames.assigned.items()} == {
        'val': [4, 5, 6], 'test': [7, 8]}
    assert frames[[1, 2]].assigned == {}
    assert assign_frames(a, {}) is a
    ends = build('d.xyz', 0, 5, test_start=3)
    frames = assign_frames(ends, {'val': b})
    assert frames.assigned['test'].tolist() == [3, 4]
    assert frames.assigned['val'].tolist() == [5, 6, 7]
    with pytest.raises(ValueError, match=r"'test' must not be given for data "
                       r"with test frames of their own \(got 'd.xyz'\)"):
        assign_frames(ends, {'test': c})
    # As they have one, others that they are joined with leave it to them:
    joined = JoinedFrames([a, ends, ends])
    assert joined.assigned['test'].tolist() == [7, 8, 12, 13]
    assert assign_frames(joined, {'val': b}).assigned['test'].tolist() == [
        7, 8, 12, 13]


def test_joined_frames_are_joined_once_more():
    a, b = (build(f'{name}.xyz', seed, test_start=2)
            for seed, name in enumerate('ab'))
    joined = JoinedFrames([a, b])
    assert joined.assigned['test'].tolist() == [2, 3, 6, 7]
    twice = JoinedFrames([a[:1], joined, a])
    assert twice.assigned['test'].tolist() == [3, 4, 7, 8, 11, 12]


def test_load_several(water_file, copper_file, tmp_path, monkeypatch):
    frames = load_frames([water_file, copper_file])
    assert len(frames) == 54
    assert frames.where(30) == f"'{copper_file}', frame 0"
    assert isinstance(load_frames([water_file]), Frames)
    write_frames([load_frames(water_file)], tmp_path / 'water.frames')
    mixed = load_frames([tmp_path / 'water.frames', water_file])
    assert mixed[0].pos.equal(mixed[30].pos) and not mixed.is_in_memory
    with pytest.raises(ValueError, match="'data' must be at least one"):
        load_frames([])
    with pytest.raises(ValueError, match="missing.xyz"):
        load_frames([water_file, 'missing.xyz'])
    with pytest.raises(TypeError, match=r"'num_frames'.*\] are options of"):
        load_frames([water_file, copper_file], num_frames=3)
