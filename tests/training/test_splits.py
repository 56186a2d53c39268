import dataclasses

import numpy
import pytest
import torch

from torch_sake.datasets import Frames, Split, random_split
from torch_sake.datasets.frames.joined_frames import assign_frames
from torch_sake.training import TrainConfig
from torch_sake.training.splits import (
    choose_sizes,
    describe_sizes,
    settle_sizes,
    split_frames,
)

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


@pytest.mark.parametrize('number,settings,given,has_tests,sizes', [
    (5000, {}, [], False, (950, 50)),
    (1000, {}, [], False, (950, 50)),
    (999, {}, [], False, (799, 99)),
    (30, {}, [], False, (24, 3)),
    (10, {}, [], False, (8, 1)),
    (3, {}, [], False, (2, 1)),
    (2, {}, [], False, (1, 1)),
    (1, {}, [], False, (1, 1)),  # which there are not
    # One of two, with the usual other one where it fits:
    (100, dict(num_train=30), [], False, (30, 50)),
    (100, dict(num_train=60), [], False, (60, 10)),
    (100, dict(num_train=95), [], False, (95, 5)),
    (100, dict(num_train=100), [], False, (100, 1)),
    (100, dict(num_val=30), [], False, (70, 30)),
    (100, dict(num_val=5), [], False, (80, 5)),
    (2000, dict(num_val=500), [], False, (950, 500)),
    (1000, dict(num_train=980), [], False, (980, 20)),
    # Given tests leave all others for training:
    (100, dict(num_test=40), [], False, (50, 10)),
    (100, dict(num_test=0), [], False, (90, 10)),
    (1000, dict(num_test=0), [], False, (950, 50)),
    (100, {}, [], True, (90, 10)),
    (1000, {}, [], True, (950, 50)),
    (100, {}, ['test'], False, (90, 10)),
    (1000, {}, ['test'], False, (950, 50)),
    (4000, {}, ['test'], False, (3950, 50)),
    (4000, dict(num_train=7), ['test'], False, (7, 50)),
    (40, {}, ['val'], False, (40, 0)),
    (40, dict(num_test=9), ['val'], False, (31, 0)),
    (40, {}, ['val', 'test'], False, (40, 0)),
    (40, dict(num_train=30), ['val', 'test'], False, (30, 0)),
], ids=str)
def test_sizes_that_are_not_given(number, settings, given, has_tests, sizes):
    assert choose_sizes(number, config(**settings), given,
                        has_tests) == sizes


def test_small_data_are_split_without_a_word():
    frames = build(30)
    split = split_frames(frames, config())
    assert [part.numel() for part in vars(split).values()] == [24, 3, 3]
    drawn = {'train': 24, 'val': 3, 'test': 3}
    settled = settle_sizes(config(), drawn)
    assert (settled.num_train, settled.num_val, settled.num_test) == (24, 3,
                                                                      None)
    assert parts(split_frames(frames, settled)) == parts(split)
    words = "{'train': 24, 'val': 3, 'test': 3} frames"
    assert describe_sizes(config(), split, drawn) == (
        f"{words} (80 % and 10 %, as 'num_train' and 'num_val' are not given)")
    assert describe_sizes(settled, split, drawn) == words
    assert describe_sizes(config(), split, {**drawn, 'train': 950}) == words
    assert describe_sizes(config(num_test=3), split, drawn) == words
    with pytest.raises(ValueError, match=r"at least 2 frames, .*\(got 1 in"):
        split_frames(build(1), config())


def test_given_frames_are_no_candidates_for_training():
    a, b = build(20), build(6)
    frames = assign_frames(a, {'val': b})
    candidates = torch.tensor([i for i in range(26) if i not in (3, 21)])
    train, val, test = parts(split_frames(frames, config(), candidates))
    assert val == [20, 22, 23, 24, 25] and test == []
    assert sorted(train) == [i for i in range(20) if i != 3]
    # With test frames of their own in the data:
    frames = assign_frames(build(20, test_start=15), {'val': b})
    train, val, test = parts(split_frames(frames, config()))
    assert (sorted(train), test) == (list(range(15)), list(range(15, 20)))
    with pytest.raises(ValueError, match=r"frames to train on \(got 6 in all, "
                       r"of which 6 in 'val'\)"):
        split_frames(assign_frames(a, {'val': b}), config(),
                     torch.arange(20, 26))


def test_types_of_frames():
    infos = [{'config_type': 'gas' if i % 2 else 1} if i < 8 else {}
             for i in range(10)]
    frames = build(10, infos=infos)
    train, val, test = parts(split_frames(frames, config(
        val_config_type='gas', test_config_type=['Default'])))
    assert (sorted(train), val, test) == ([0, 2, 4, 6], [1, 3, 5, 7], [8, 9])
    train, val, test = parts(split_frames(frames, config(
        test_config_type=['1', 'Default'], num_val=1)))
    assert test == [0, 2, 4, 6, 8, 9]
    assert sorted(train + val) == [1, 3, 5, 7] and len(val) == 1
    own = build(10, infos=infos, test_start=6)
    train, val, test = parts(split_frames(own, config(val_config_type='gas')))
    assert (sorted(train), val, test) == ([0, 2, 4], [1, 3, 5, 7],
                                          [6, 8, 9])
    with pytest.raises(ValueError, match="'test_config_type' must not be "
                       "given for data with test frames of their own"):
        split_frames(own, config(test_config_type='gas'))
    with pytest.raises(ValueError, match=r"{'Default': 12} \(got \['gas'\]\)"):
        split_frames(build(12), config(val_config_type='gas'))
