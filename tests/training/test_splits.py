import dataclasses

import numpy
import pytest
import torch

from torch_sake.datasets import Frames, Split, random_split
from torch_sake.training import TrainConfig
from torch_sake.training.splits import split_frames

UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def build(num_frames, **about):
    pos = numpy.arange(3.0 * num_frames).reshape(num_frames, 1, 3)
    return Frames([[1]] * num_frames, list(pos), numpy.zeros(num_frames),
                  name='some', units=UNITS, source='some.xyz', **about)


def config(**settings):
    return TrainConfig(data='some.xyz', **settings)


def parts(split):
    return [part.tolist() for part in vars(split).values()]


def test_all_frames_are_candidates():
    frames = build(40)
    settings = config(num_train=20, num_val=5, seed=3)
    assert parts(split_frames(frames, settings)) == parts(
        random_split(40, 20, 5, seed=3))
    assert parts(split_frames(frames, settings, torch.arange(40))) == parts(
        random_split(40, 20, 5, seed=3))


@pytest.mark.parametrize('test_start', [None, 30])
def test_only_candidates_are_drawn(test_start):
    frames = build(40, test_start=test_start)
    candidates = torch.tensor([index for index in range(40) if index % 5])
    split = split_frames(frames, config(num_train=15, num_val=5), candidates)
    drawn = torch.cat(list(vars(split).values()))
    assert drawn.unique().numel() == len(drawn)
    assert torch.isin(drawn, candidates).all()
    if test_start is None:
        assert drawn.sort().values.equal(candidates)
    else:
        assert split.test.tolist() == [i for i in range(30, 40) if i % 5]
        assert max(*split.train.tolist(), *split.val.tolist()) < 30
    with pytest.raises(ValueError, match=r'at most \d\d, .*30 \+ 5'):
        split_frames(frames, config(num_train=30, num_val=5), candidates)


def test_others_are_left_out_of_given_splits(tmp_path):
    frames = build(12)
    path = tmp_path / 'split.npz'
    numpy.savez(path, train=[5, 3, 1], val=[0, 2], test=[7, 9])
    candidates = torch.tensor([1, 2, 3, 4, 9])
    settings = config(split=str(path))
    assert parts(split_frames(frames, settings)) == [[5, 3, 1], [0, 2],
                                                     [7, 9]]
    assert parts(split_frames(frames, settings, candidates)) == [[3, 1], [2],
                                                                 [9]]
    frames.splits = {'1': Split(*map(torch.tensor, ([5, 3], [0], [2])))}
    settings = dataclasses.replace(settings, split='1')
    with pytest.raises(ValueError, match=r"frame in 'val' .*\(5 frames in"):
        split_frames(frames, settings, candidates)
