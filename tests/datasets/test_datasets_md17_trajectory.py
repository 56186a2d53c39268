import numpy
import pytest
import torch

from torch_sake import neighbor_list
from torch_sake.datasets import MD17Trajectory, md17_frames


@pytest.fixture
def root(tmp_path):
    """A trajectory of 50 frames of a molecule, which moves along curves."""
    generator = numpy.random.default_rng(0)
    start, vel, turn = generator.normal(size=(3, 1, 4, 3))
    time = numpy.arange(50).reshape(-1, 1, 1)
    numpy.savez(tmp_path / 'md17_ethanol.npz', z=numpy.array([8, 1, 6, 1]),
                R=start + 0.1 * vel * time + 1e-3 * turn * time**2,
                E=numpy.zeros(50), F=numpy.zeros((50, 4, 3)))
    return tmp_path


@pytest.mark.parametrize('velocity, first, step', [('next', 0, 1),
                                                   ('previous', 1, -1)])
def test_samples(root, velocity, first, step):
    pos = md17_frames(root, 'ethanol')._data.pos.view(50, 4, 3)
    for split, begin, end in (('train', 0, 30), ('val', 30, 40),
                              ('test', 40, 50)):
        data = MD17Trajectory(root, 'ethanol', split, horizon=5, sizes=None,
                              velocity=velocity)
        assert len(data) == end - begin - 6 and data.time == 5.0
        for index in (0, len(data) - 1):
            frame = begin + first + index
            for key, expected in (
                    ('pos', pos[frame]), ('y', pos[frame + 5]),
                    ('vel', step * (pos[frame + step] - pos[frame])),
                    ('y_vel', step * (pos[frame + 5 + step] -
                                      pos[frame + 5]))):
                assert torch.equal(data[index][key], expected.float())
    assert data[2].z.tolist() == [8, 1, 6, 1]
    assert data[2].x.tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert data[2].edge_index.shape == (2, 12)


def test_sizes_and_cutoff(root):
    every = MD17Trajectory(root, 'ethanol', horizon=5, sizes=None)
    some = MD17Trajectory(root, 'ethanol', horizon=5, sizes=(6, 1, 1))
    assert len(some) == 6
    for index in range(6):  # of 24
        assert torch.equal(some[index].pos, every[4 * index].pos)
    near = MD17Trajectory(root, 'ethanol', horizon=5, sizes=None, cutoff=3.0)
    counts = set()
    for sample in near:
        expected, _ = neighbor_list(sample.pos, 3.0)
        assert torch.equal(sample.edge_index, expected)
        counts.add(expected.size(1))
    assert len(counts) > 1


@pytest.mark.parametrize('options, match', [
    (dict(name='revised ethanol'), "'name' must be that of frames in the"),
    (dict(name='aspirin CCSD'), "'name' must be that of frames in the"),
    (dict(split='all'), "'split' must be one of"),
    (dict(horizon=0), "'horizon' must be at least 1"),
    (dict(sizes=(1, 2)), "'sizes' must be those of"),
    (dict(sizes=(25, 1, 1)), "'sizes' must be at most 24 for the 30 frames"),
    (dict(sizes=None, horizon=29), "'horizon' must be at most 28"),
    (dict(velocity='mean'), "'velocity' must be one of"),
    (dict(cutoff=-1.0), "'cutoff' must be positive"),
])
def test_bad_input(root, options, match):
    with pytest.raises(ValueError, match=match):
        MD17Trajectory(root, **dict(dict(name='ethanol', horizon=5,
                                         sizes=(1, 1, 1)), **options))


def test_real_frames(shared_data):
    """Constant velocity holds for a while, then it is worse than nothing."""
    for horizon, low, high in ((2, 0, 0.01), (5, 0.01, 0.2), (30, 1.2, 5)):
        data = MD17Trajectory(shared_data / 'md17', 'ethanol',
                              horizon=horizon, sizes=(500, 100, 100))
        assert len(data) == 500 and data[0].x.shape == (9, 3)
        step, vel = data._data.y - data._data.pos, data._data.vel
        ratio = (step - horizon * vel).square().mean() / step.square().mean()
        assert low < float(ratio) < high
