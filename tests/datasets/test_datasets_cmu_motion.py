import numpy
import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake.datasets import CMUMotion
from torch_sake.datasets.motion.acclaim import read_motion, read_skeleton
from torch_sake.datasets.motion.cmu_motion import published_starts
from torch_sake.datasets.motion.kinematics import joint_positions

TRIALS = ([1], [2], [1, 2])


def trajectory(mocap):
    skeleton = read_skeleton(mocap / 'raw' / '35.asf')
    return joint_positions(skeleton, read_motion(
        mocap / 'raw' / '35_01.amc', skeleton)).float()


@pytest.mark.parametrize('velocity, first, step', [('next', 0, 1),
                                                   ('previous', 1, -1)])
def test_samples(mocap, velocity, first, step):
    pos = trajectory(mocap)
    data = CMUMotion(mocap, trials=TRIALS, horizon=10, velocity=velocity)
    assert len(data) == 29 and data.time == 10.0  # of 40 frames
    assert data.joints == ['root', 'rknee', 'rhip', 'lknee']
    for index in (0, 28):
        frame = first + index
        assert torch.equal(data[index].pos, pos[frame])
        assert torch.equal(data[index].y, pos[frame + 10])
        assert torch.allclose(
            data[index].vel, step * (pos[frame + step] - pos[frame]),
            atol=1e-5)
        assert torch.allclose(data[index].y_vel, step * (
            pos[frame + 10 + step] - pos[frame + 10]), atol=1e-5)
    assert torch.equal(data[3].x, torch.eye(4))
    edges = {tuple(edge): int(value) for edge, value in zip(
        data[3].edge_index.t().tolist(), data[3].edge_attr)}
    # The tree is 1 - 2 - 0 - 3:
    once = {(0, 2): 1, (0, 3): 1, (1, 2): 1, (0, 1): 2, (2, 3): 2}
    assert edges == {**once, **{edge[::-1]: value
                                for edge, value in once.items()}}
    batch = next(iter(DataLoader(data, batch_size=3)))
    assert batch.x.shape == (12, 4) and int(batch.edge_index.max()) == 11


def test_splits_and_meters(mocap):
    sizes = [len(CMUMotion(mocap, split, trials=TRIALS, horizon=10))
             for split in ('train', 'val', 'test')]
    assert sizes == [29, 29, 58]
    native = CMUMotion(mocap, trials=TRIALS)._data
    meters = CMUMotion(mocap, trials=TRIALS, in_meters=True)._data
    for name in ('pos', 'vel', 'y', 'y_vel'):
        assert torch.allclose(meters[name], native[name] * 0.0254 / 0.45,
                              atol=1e-6)


def test_published_protocol(mocap):
    """Trial 2 is of training and has the frames from 11 to 50."""
    skeleton = read_skeleton(mocap / 'raw' / '35.asf')
    pos = joint_positions(skeleton, read_motion(
        mocap / 'raw' / '35_02.amc.gz', skeleton)).float()
    data = CMUMotion(mocap)
    starts = [start for start in published_starts('train')[2]
              if 11 <= start + 1 and start + 32 <= 50]
    assert 0 < len(starts) == len(data)
    for start, sample in zip(starts, data):
        assert torch.equal(sample.pos, pos[start + 1 - 11])
    assert {split: len(published_starts(split))
            for split in ('train', 'val', 'test')} == {
        'train': 11, 'val': 6, 'test': 6}
    (mocap / 'raw' / '35_04.amc').unlink()
    with pytest.raises(ValueError, match="must be trials of the split 'val'"):
        CMUMotion(mocap, 'val')


def test_bad_input(mocap):
    for options, match in (
            (dict(split='all'), "'split' must be one of"),
            (dict(subject=7), "'trials' must be given for a subject"),
            (dict(trials=([1], [2])), "'trials' must be those of"),
            (dict(trials=([5], [1], [1])), "There is no file '35_05.amc'"),
            (dict(trials=TRIALS, horizon=39), "'.*35_01.amc' must have at "
             r"least 41 frames for a horizon of 39 \(got 40\)"),
            (dict(trials=TRIALS, horizon=0), "'horizon' must be at least 1"),
            (dict(velocity='now'), "'velocity' must be one of"),
            (dict(subject=8, trials=TRIALS), "There is no file '08.asf'")):
        with pytest.raises(ValueError, match=match):
            CMUMotion(mocap, **options)
    assert len(CMUMotion(mocap, trials=TRIALS, horizon=38)) == 1


def test_real_files(shared_data):
    """Positions and trivial predictors are those that come with the files."""
    root = shared_data / 'cmu_mocap_35'
    if not root.is_dir():
        pytest.skip(f'There are no files in {root}')
    known = numpy.load(root / 'positions.npz')
    skeleton = read_skeleton(root / 'raw' / '35.asf.gz')
    for index in (0, 13):
        motion = read_motion(
            root / 'raw' / f"{known['trial'][index]}.amc.gz", skeleton)
        begin, end = known['trial_offset'][index:index + 2]
        pos = joint_positions(skeleton, motion)
        assert motion.first_frame == known['frame_number'][begin]
        expected = torch.from_numpy(known['positions'][begin:end])
        assert torch.allclose(pos.float(), expected, atol=1e-5)
        lengths = (pos[:, 1:] - pos[:, skeleton.parents[1:]]).norm(dim=2)
        assert torch.allclose(lengths, lengths[:1], atol=1e-13, rtol=0)
    # No motion, constant velocity, velocity times the best number:
    for split, table in (('train', (12.28, 2.561, 2.272)),
                         ('val', (12.06, 2.508, 2.275)),
                         ('test', (12.89, 2.665, 2.396))):
        data = CMUMotion(root, split)._data
        step, vel = data.y - data.pos, data.vel
        best = (step * vel).sum() / vel.square().sum()
        errors = [float((step - time * vel).square().mean())
                  for time in (0, 30, best)]
        assert errors == pytest.approx(table, rel=5e-4)
        rows = torch.from_numpy(known['positions'])[known[f'{split}_start']]
        assert torch.allclose(data.pos.view_as(rows), rows, atol=1e-5)
