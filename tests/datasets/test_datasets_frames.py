import copy
import pickle
import time

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake.datasets import Frames, FramesOnDisk, write_frames
from torch_sake.datasets.frames.fingerprint import frames_fingerprint

UNITS = {'length': 'Angstrom', 'energy': 'eV'}
SIZES = [3, 1, 4, 2]


def arrays():
    rng = np.random.default_rng(0)
    return {
        'z': [rng.integers(1, 10, n) for n in SIZES],
        'pos': [rng.normal(size=(n, 3)) for n in SIZES],
        'energy': [-97196.123456789 - i for i in range(len(SIZES))],
        'force': [rng.normal(size=(n, 3)) for n in SIZES],
    }


def make(**changes):
    options = {'name': 'mixed', 'units': UNITS, 'source': 'mixed.xyz'}
    return Frames(**{**arrays(), **options, **changes})


def check_frame(data, index):
    given = arrays()
    assert isinstance(data, Data)
    assert data.z.dtype == torch.long
    assert data.z.tolist() == given['z'][index].tolist()
    assert data.num_nodes == SIZES[index]
    assert data.energy.shape == (1, )
    assert data.energy.item() == given['energy'][index]
    for key in ('pos', 'force'):
        assert data[key].dtype == torch.float64
        assert np.array_equal(data[key].numpy(), given[key][index])


def test_frames_of_lists():
    frames = make()
    assert len(frames) == 4
    assert str(frames) == "Frames(4, source='mixed.xyz')"
    for index, data in enumerate(frames):
        check_frame(data, index)
    check_frame(frames[-1], 3)


def test_frames_of_tensors():
    given = {key: torch.from_numpy(np.concatenate(value))
             for key, value in arrays().items() if key != 'energy'}
    frames = make(**given, num_atoms=torch.tensor(SIZES))
    for index, data in enumerate(frames):
        check_frame(data, index)

    frames = make(**given, energy=[1.0, 2.0], num_atoms=5)
    assert frames[1].pos.equal(given['pos'][5:])
    assert frames[1].energy.tolist() == [2.0]


def test_frames_single():
    frames = make()[2:3].copy()
    assert len(frames) == 1
    check_frame(frames[0], 2)
    assert frames.num_atoms.tolist() == [SIZES[2]]
    given = {key: value[:1] for key, value in arrays().items()}
    check_frame(make(**given)[0], 0)


@pytest.mark.parametrize('index', [[2, 0], slice(0, 3, 2), np.array([1, 3]),
                                   torch.tensor([3, 3, 1]),
                                   torch.tensor([True, False, False, True])])
def test_frames_selection(index):
    expected = torch.arange(4)[index].tolist()
    frames = make(test_start=2)
    assert frames.test_start == 2
    for part in (frames[index], frames[index].copy(), frames.copy(index)):
        assert isinstance(part, Frames)
        assert (part.name, part.units, part.source) == ('mixed', UNITS,
                                                        'mixed.xyz')
        assert part.test_start is None
        assert len(part) == len(expected)
        for data, original in zip(part, expected):
            check_frame(data, original)
    assert frames.test_start == frames.copy().test_start == 2


def test_frames_without_forces():
    assert make().has_forces
    whole = {key: torch.from_numpy(np.concatenate(arrays()[key]))
             for key in ('z', 'pos')}
    for frames in (make(force=None), make(**whole, force=None,
                                          num_atoms=torch.tensor(SIZES))):
        assert not frames.has_forces and not frames[1:3].has_forces
        for data, pos in zip(frames, arrays()['pos']):
            assert 'force' not in data
            assert np.array_equal(data.pos, pos)
        batch = next(iter(DataLoader(frames, batch_size=4)))
        assert batch.energy.tolist() == arrays()['energy']
        assert 'force' not in batch


def test_frames_with_another_label():
    units = {'length': 'Angstrom', 'gap': 'meV'}
    frames = make(force=None, units=units, readout='mean', split_seed=3)
    assert (frames.label, frames.readout, frames.split_seed) == ('gap', 'mean',
                                                                 3)
    assert [float(data.gap) for data in frames] == arrays()['energy']
    assert 'energy' not in frames[0]
    part = frames[1:]
    assert (part.label, part.readout, part.split_seed) == ('gap', 'mean', None)
    for key, value in (('force', arrays()['force']),
                       ('cell', torch.eye(3).expand(len(SIZES), 3, 3))):
        with pytest.raises(ValueError, match=f"'{key}' must not be given for "
                           "frames labeled with 'gap'"):
            make(**{'force': None, 'units': units, key: value})
    for wrong in ({'length': 'Angstrom'}, {'energy': 'eV', 'gap': 'meV'}):
        with pytest.raises(ValueError, match="'units' must have the keys"):
            make(units=wrong)
    with pytest.raises(ValueError, match="'readout' must be one of"):
        make(readout='max')


@pytest.mark.parametrize('missing', [0, 2])
def test_frames_of_which_some_have_forces(missing):
    force = arrays()['force']
    force[missing] = None
    frames = make(force=force)
    for part in (frames, frames[1:], frames.copy(), frames[[missing]].copy()):
        for index, data in enumerate(part):
            there = not bool(data.force.isnan().any())
            assert there == bool(part.known('force')[index])
            assert there or data.force.isnan().all()
            assert data.force.shape == data.pos.shape
    known = frames.known('force').tolist()
    assert known == [index != missing for index in range(4)]
    assert frames.has_forces and frames.known('energy').all()
    assert not frames.known('stress').any()
    assert not make(force=4 * [None]).has_forces


def test_frames_of_which_some_have_energies():
    frames = make(energy=[1.0, None, 3.0, None])
    assert frames.known('energy').tolist() == [True, False, True, False]
    assert frames[1].energy.isnan().all()
    assert frames[2:].copy().known('energy').tolist() == [True, False]
    with pytest.raises(ValueError, match="frame 1: 'energy' must be finite"):
        make(energy=[1.0, np.nan, 3.0, 4.0])


def test_infos_of_frames():
    infos = [{'config_type': 'a', 'spin': np.int64(2)}, {}, {'x': 0.5},
             {'config_type': 'b', 'done': True}]
    frames = make(infos=infos)
    assert frames.has_infos and not make().has_infos
    assert not make(infos=4 * [{}]).has_infos and make().info(2) == {}
    assert frames.info(0) == {'config_type': 'a', 'spin': 2}
    assert type(frames.info(0)['spin']) is int
    for part in (frames[[3, 1]], frames[[3, 1]].copy()):
        assert [part.info(index) for index in range(2)] == [infos[3], {}]
    with pytest.raises(ValueError, match="'infos' must be of 4 frames"):
        make(infos=infos[1:])
    for wrong in ({'a': [1]}, {'a': None}, {1: 2}, 3):
        with pytest.raises(TypeError, match="mixed.xyz, frame 2: 'infos' "):
            make(infos=[*infos[:2], wrong, {}])


def test_further_entries_of_frames():
    frames = make()[[2, 0, 3]].with_entries(weight=torch.tensor([1., 2., 3.]))
    assert frames[1].weight.tolist() == [2.0]
    assert frames[[2, 1]][0].weight.tolist() == [3.0]
    assert frames[1:].copy()[0].weight.tolist() == [2.0]
    frames = frames.with_entries(charge=torch.tensor([-1, 0, 1]))
    batch = next(iter(DataLoader(frames, batch_size=3)))
    assert batch.weight.tolist() == [1.0, 2.0, 3.0]
    assert batch.charge.tolist() == [-1, 0, 1]
    assert 'weight' not in make()[0]


def test_entries_of_a_copy():
    frames = make().with_entries(charge=torch.tensor([0, 1, -1, 2]))
    copied = frames[[3, 1]].copy()
    assert copied.entries['charge'].tolist() == [2, 1]
    assert [data.charge.tolist() for data in copied] == [[2], [1]]
    assert frames_fingerprint(copied) == frames_fingerprint(make()[[3, 1]])
    changed = copied.with_entries(charge=torch.tensor([5, 6]))
    assert [data.charge.tolist() for data in changed] == [[5], [6]]


def test_frames_copies():
    frames = make()
    for clone in (pickle.loads(pickle.dumps(frames)), copy.deepcopy(frames)):
        assert clone.units == UNITS
        check_frame(clone[2], 2)


def test_frames_loader():
    loader = DataLoader(make(), batch_size=3)
    batch, rest = list(loader)
    given = arrays()
    assert batch.batch.tolist() == [0] * 3 + [1] + [2] * 4
    assert batch.energy.tolist() == given['energy'][:3]
    assert np.array_equal(batch.force, np.concatenate(given['force'][:3]))
    assert rest.num_nodes == 2


def test_frames_of_many_equal_molecules():
    num_frames, num_atoms = 100_000, 9
    pos = torch.randn(num_frames * num_atoms, 3, dtype=torch.float64)
    start = time.process_time()
    frames = make(z=torch.ones(num_frames * num_atoms, dtype=torch.uint8),
                  pos=pos, energy=torch.arange(num_frames), force=pos,
                  num_atoms=num_atoms)
    frames[[5, 99_999]][1]
    # A list of as many Data objects takes several seconds.
    assert time.process_time() - start < 1.0
    assert frames[99_999].pos.equal(pos[-9:])
    assert frames[99_999].energy.item() == 99_999


def test_frames_errors():
    given = arrays()

    def replaced(key, index, value):
        return {key: [*given[key][:index], value, *given[key][index + 1:]]}

    for key, value, match in (
        ('z', [1, 1, 119, 1], r"frame 2: 'z' must lie .*\(got 119\)"),
        ('z', [1, 0, 1, 1], r"frame 2: 'z' must lie .*\(got 0\)"),
        ('pos', np.full((4, 3), np.nan), r"frame 2: 'pos' must be finite"),
        ('force', np.full((4, 3), np.inf), r"frame 2: 'force' must be fin"),
        ('energy', float('nan'), r"frame 2: 'energy' must be finite"),
        ('pos', np.zeros((3, 3)), r"frame 2: 'pos' .*\[4, 3\] \(got \[3, 3\]"),
        ('force', np.zeros((4, 2)), r"frame 2: 'force' .* \(got \[4, 2\]"),
        ('z', np.zeros((0, ), int), r"frame 2: 'pos' must have shape \[0, 3"),
    ):
        with pytest.raises(ValueError, match='mixed.xyz, ' + match):
            make(**replaced(key, 2, value))
    with pytest.raises(TypeError, match="frame 1: 'z' must be of integer"):
        make(**replaced('z', 1, np.array([1.0])))
    with pytest.raises(TypeError, match="'energy' must be an array"):
        make(energy=['a', 'b', 'c', 'd'])
    with pytest.raises(ValueError, match=r"'force' must hold .* 4 \(got 3"):
        make(force=given['force'][:3])
    with pytest.raises(ValueError, match='no frames'):
        make(z=[], pos=[], energy=[], force=[])
    with pytest.raises(ValueError, match="'units' must have"):
        make(units={'energy': 'eV'})
    for test_start in (0, 4):
        with pytest.raises(ValueError, match="'test_start' must lie"):
            make(test_start=test_start)

    whole = {key: np.concatenate(given[key]) for key in ('z', 'pos', 'force')}
    with pytest.raises(ValueError, match="'z' must be a list"):
        make(**whole)
    with pytest.raises(ValueError, match=r"'z' .* \[11\] \(got \[10\]"):
        make(**whole, num_atoms=torch.tensor([3, 1, 4, 3]))
    with pytest.raises(ValueError, match='frame 1: There are no atoms'):
        make(**whole, num_atoms=torch.tensor([4, 0, 4, 2]))
    with pytest.raises(ValueError, match="'num_atoms' must have shape"):
        make(**whole, num_atoms=torch.tensor([8, 2]))
    with pytest.raises(TypeError, match="'num_atoms' must be of integer"):
        make(**whole, num_atoms=2.5)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_stress_is_known_or_not(value):
    cell = np.tile(9 * np.eye(3), (4, 1, 1))
    stress = np.tile(np.eye(3), (4, 1, 1))
    stress[1] = np.nan
    assert make(cell=cell, stress=stress).has_stress
    stress[2, 0, 1] = value
    with pytest.raises(ValueError, match="mixed.xyz, frame 2: 'stress' must "
                       "be finite, or all NaN"):
        make(cell=cell, stress=stress)


def test_a_stress_is_that_of_a_crystal():
    r"""Files have zeros for molecules, which are nothing to learn."""
    cell = np.tile(9 * np.eye(3), (4, 1, 1))
    pbc = np.zeros((4, 3), dtype=bool)
    pbc[0], pbc[2, 0] = True, True
    stress = np.tile(np.eye(3), (4, 1, 1))
    frames = make(cell=cell, pbc=pbc, stress=stress)
    known = [not data.stress.isnan().any() for data in frames]
    assert known == [True, False, True, False]
    assert not make(cell=cell, pbc=np.zeros_like(pbc),
                    stress=stress).has_stress


def test_frames_say_where_they_are_from(tmp_path):
    z, pos = [[1]] * 6, np.zeros((6, 1, 3))
    frames = Frames(z, list(pos), np.arange(6.0), name='a', source='a.xyz',
                    units={'length': 'Angstrom', 'energy': 'eV'})
    assert frames.where(2) == "'a.xyz', frame 2"
    some = frames[[5, 3, 1]]
    assert some.where(0) == "'a.xyz', frame 5"
    assert some.copy().where(1) == "'a.xyz', frame 3"
    assert some.copy()[[2]].copy().where(0) == "'a.xyz', frame 1"
    later = Frames(z, list(pos), np.arange(6.0), name='a', source='a.xyz',
                   first_frame=100, units=frames.units)
    assert later[1:].where(0) == "'a.xyz', frame 101"
    path = tmp_path / 'a.frames'
    write_frames([frames], path)
    on_disk = FramesOnDisk(path)
    assert on_disk[[4]].where(0) == f"'{path}', frame 4"
