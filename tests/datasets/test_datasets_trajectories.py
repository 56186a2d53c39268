import numpy
import pytest
import torch

from torch_sake import neighbor_list
from torch_sake.datasets import Trajectories, read_trajectories


def curves(num_trajectories, num_frames=20, num_dimensions=2):
    """Positions and velocities of three nodes that move along curves."""
    start, speed, turn = torch.randn(
        3, num_trajectories, 1, 3, num_dimensions, dtype=torch.float64,
        generator=torch.Generator().manual_seed(0))
    time = 0.1 * torch.arange(num_frames).view(-1, 1, 1)
    return start + speed * time + turn * time**2, speed + 2 * turn * time


@pytest.mark.parametrize('num_dimensions', [1, 2, 3])
def test_velocities_of_their_own(num_dimensions):
    pos, vel = curves(2, num_dimensions=num_dimensions)
    x = torch.randn(2, 3, 4)
    data = Trajectories(pos, 'val', horizon=2, vel=vel, time_step=0.1, x=x)
    # Frames 12 to 15 of both trajectories:
    assert len(data) == 4 and data.time == pytest.approx(0.2)
    for index, sample in enumerate(data):
        trajectory, frame = index // 2, 12 + index % 2
        for key, expected in (('pos', pos[trajectory, frame]),
                              ('vel', vel[trajectory, frame]),
                              ('y', pos[trajectory, frame + 2]),
                              ('y_vel', vel[trajectory, frame + 2]),
                              ('x', x[trajectory])):
            assert torch.equal(sample[key], expected.float())
        assert sample.edge_index.tolist() == neighbor_list(
            sample.pos, None)[0].tolist()
        assert sample.edge_attr is None


@pytest.mark.parametrize('velocity, first, step', [('previous', 1, -1),
                                                   ('next', 0, 1)])
def test_velocities_by_differences(velocity, first, step):
    pos, _ = curves(1)
    data = Trajectories(pos, 'train', horizon=3, velocity=velocity,
                        time_step=0.1)
    assert len(data) == 12 - 4
    for index, sample in enumerate(data):
        frame = first + index
        for key, end in (('vel', frame), ('y_vel', frame + 3)):
            expected = step * (pos[0, end + step] - pos[0, end]) / 0.1
            assert torch.allclose(sample[key], expected.float(), atol=1e-6)


def test_many_trajectories_are_whole():
    pos, _ = curves(11)
    first = pos[:, 1, 0, 0].float()
    seen = []
    for split, size in (('train', 7), ('val', 2), ('test', 2)):
        data = Trajectories(pos, split, horizon=18)
        assert len(data) == size
        seen += [sample.pos[0, 0] for sample in data]
    assert torch.equal(torch.stack(seen), first)


def test_sizes_are_evenly_spaced():
    pos, _ = curves(3, num_frames=30)
    every = Trajectories(pos, horizon=2)  # 15 of each
    some = Trajectories(pos, horizon=2, sizes=(9, 1, 1))
    assert len(every) == 45 and len(some) == 9
    for index in range(9):
        assert torch.equal(some[index].pos, every[5 * index].pos)


def test_edges():
    pos, _ = curves(2)
    edge_index = torch.tensor([[0, 1, 2], [1, 2, 0]])
    edge_attr = torch.randn(3, 2)
    for sample in Trajectories(pos, horizon=2, edge_index=edge_index,
                               edge_attr=edge_attr):
        assert torch.equal(sample.edge_index, edge_index)
        assert torch.equal(sample.edge_attr, edge_attr)
    counts = set()
    for sample in Trajectories(pos, horizon=2, cutoff=1.5):
        expected, _ = neighbor_list(sample.pos, 1.5)
        assert torch.equal(sample.edge_index, expected)
        counts.add(expected.size(1))
    assert len(counts) > 1


@pytest.mark.parametrize('options, match', [
    (dict(split='all'), "'split' must be one of"),
    (dict(horizon=0), "'horizon' must be at least 1"),
    (dict(horizon=11), r"'horizon' must be at most 10 for 2 trajectories of "
                       r"12 frames in 'train' \(got 11"),
    (dict(sizes=(21, 1, 1)), "'sizes' must be at most 20 for 2 trajectories"),
    (dict(sizes=(1, 1)), "'sizes' must be those of"),
    (dict(velocity='mean'), "'velocity' must be one of"),
    (dict(time_step=0.0), "'time_step' must be positive"),
    (dict(cutoff=-1.0), "'cutoff' must be positive"),
    (dict(pos=torch.zeros(2, 3, 2)), r"'pos' must have shape \[S, T, n, D\]"),
    (dict(pos=torch.zeros(2, 20, 0, 2)), "'pos' must not be empty"),
    (dict(vel=torch.zeros(2, 19, 3, 2)), r"'vel' must have shape \[2, 20, 3"),
    (dict(vel=torch.full((2, 20, 3, 2), torch.nan)), "'vel' must be finite"),
    (dict(x=torch.zeros(4, 1)), r"'x' must have shape \[3, F\]"),
    (dict(x=torch.zeros(1, 3, 1)), r"'x' must have shape \[2, 3, F\]"),
    (dict(edge_index=torch.tensor([[0], [3]])), "'edge_index' must be small"),
    (dict(edge_index=torch.tensor([[0], [1]]), cutoff=1.0),
     "'cutoff' must not be given together with 'edge_index'"),
    (dict(edge_attr=torch.zeros(6, 1)), "'edge_attr' must not be given witho"),
    (dict(edge_index=torch.tensor([[0], [1]]), edge_attr=torch.zeros(2, 1)),
     r"'edge_attr' must have shape \[1, K\]"),
])
def test_bad_input(options, match):
    with pytest.raises(ValueError, match=match):
        Trajectories(**{'pos': curves(2)[0], 'horizon': 1, **options})


def test_read(tmp_path):
    pos, vel = (value.numpy() for value in curves(1))
    path = tmp_path / 'm.npz'
    arrays = dict(pos=pos[0], vel=vel[0], time_step=0.1,
                  x=numpy.array([[1], [0], [2]]),
                  edge_index=numpy.array([[0, 1], [1, 2]], dtype='int32'),
                  edge_attr=numpy.array([[1], [2]]))
    numpy.savez(path, **arrays)
    data = read_trajectories(path, split='test', horizon=2)
    assert data.time == pytest.approx(0.2) and len(data) == 2
    assert torch.equal(data[1].y_vel, torch.from_numpy(vel[0, 19]).float())
    assert data[1].x.tolist() == [[1], [0], [2]]
    assert data[1].edge_index.tolist() == [[0, 1], [1, 2]]
    assert data[1].edge_attr.tolist() == [[1], [2]]
    numpy.savez(path, pos=numpy.concatenate([pos] * 10))
    assert len(read_trajectories(path, split='test', horizon=18)) == 2

    for changed, match in (
            (dict(vel=vel[0, 1:]), r"m.npz': 'vel' must have shape \[1, 20"),
            (dict(time_step=[1.0, 2.0]), "m.npz': 'time_step' must be one"),
            (dict(x=numpy.array(['a', 'b', 'c'])), "m.npz': 'x' must be of n"),
            (dict(pos=numpy.where(pos[0] > 1, numpy.nan, pos[0])),
             "m.npz': 'pos' must be finite")):
        numpy.savez(path, **{**arrays, **changed})
        with pytest.raises(ValueError, match=match):
            read_trajectories(path, horizon=2)
    for changed, match in (
            (dict(velocity=vel[0]), r"got \['velocity'\]"),
            (dict(edge_index=numpy.array([[0.5], [1.0]])), "be of integers")):
        numpy.savez(path, **{**arrays, **changed})
        with pytest.raises(ValueError, match=match):
            read_trajectories(path, horizon=2)
    numpy.savez(path, **arrays)
    with pytest.raises(ValueError, match=r"has \['time_step'\], which must n"):
        read_trajectories(path, horizon=2, time_step=0.5)
    with pytest.raises(ValueError, match="'velocity' must be one of"):
        read_trajectories(path, horizon=2, velocity='mean')
    numpy.savez(path, pos=pos[0][:5])
    with pytest.raises(ValueError, match="'horizon' needs longer trajector"):
        read_trajectories(path, split='val', horizon=2)
    numpy.savez(path, vel=vel)
    with pytest.raises(ValueError, match=r"no array \['pos'\]"):
        read_trajectories(path, horizon=2)
