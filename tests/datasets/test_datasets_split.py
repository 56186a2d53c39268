import dataclasses

import numpy as np
import pytest
import torch

from torch_sake.datasets import (
    Split,
    published_split,
    random_split,
    read_split,
)
from torch_sake.datasets.frames.split import epoch_order


def indices(split):
    return [getattr(split, key).tolist() for key in ('train', 'val', 'test')]


@pytest.mark.parametrize('num_test', [None, 20])
def test_random_split(num_test):
    split = random_split(100, 50, 10, num_test, seed=1)
    train, val, test = indices(split)
    assert (len(train), len(val), len(test)) == (50, 10, num_test or 40)
    drawn = train + val + test
    assert len(set(drawn)) == len(drawn)
    assert set(drawn) <= set(range(100))
    assert train != sorted(train)
    assert all(part.dtype == torch.int64
               for part in (split.train, split.val, split.test))

    assert indices(random_split(100, 50, 10, num_test, seed=1)) == [
        train, val, test]
    assert indices(random_split(100, 50, 10, num_test, seed=2)) != [
        train, val, test]
    # The number of test frames changes nothing else.
    assert indices(random_split(100, 50, 10, seed=1))[:2] == [train, val]


def test_seed_is_zero_by_default():
    assert indices(random_split(30, 20, 5)) == indices(
        random_split(30, 20, 5, seed=0))
    split, other = (published_split(splits(), '1', 10, 2, **seed)
                    for seed in ({}, {'seed': 0}))
    assert indices(split) == indices(other)


def test_order_of_an_epoch_stays_as_it_is():
    """Runs that are resumed by a newer version go on in it."""
    assert epoch_order(8, 3, 2).tolist() == [4, 3, 5, 7, 0, 1, 2, 6]


def test_random_split_before_test_start():
    for num_test in (None, 5):
        train, val, test = indices(
            random_split(100, 60, 10, num_test, test_start=90))
        assert test == list(range(90, 90 + (num_test or 10)))
        assert (len(train), len(val)) == (60, 10)
        assert len(set(train + val)) == 70
        assert max(train + val) < 90


def test_random_split_edges():
    assert indices(random_split(1, 1, 0)) == [[0], [], []]
    assert len(random_split(5, 3, 2, 0).test) == 0


@pytest.mark.parametrize('arguments,match', [
    ((10, 9, 2), r"at most 10, .*\(got 9 \+ 2\)"),
    ((10, 5, 2, 4), r"'num_test' must be at most 3.*\(got 4\)"),
    ((10, 0, 2), "'num_train' must be at least 1"),
    ((10, 1, -1), "'num_val'"),
    ((10, 1, 1, -1), "'num_test'"),
    ((10, 5, 2, None, 0, 6), 'at most 6'),
    ((10, 2, 2, 5, 0, 6), "'num_test' must be at most 4"),
    ((10, 1, 1, None, 0, 11), "'test_start' must lie"),
    ((10, 1, 1, None, 0, 0), "'test_start' must lie"),
])
def test_random_split_errors(arguments, match):
    with pytest.raises(ValueError, match=match):
        random_split(*arguments)


def test_split_is_frozen():
    split = Split(torch.arange(2), torch.arange(2, 3), torch.arange(3, 5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        split.train = split.test


def test_read_split(tmp_path):
    path = tmp_path / 'splits.npz'
    parts = {'train': np.array([3, 1], np.int32),
             'val': np.array([], np.uint8), 'test': np.array([0, 4])}
    np.savez(path, **parts, **{f'b_{key}': value[:1]
                               for key, value in parts.items()})
    split = read_split(path, 5)
    assert indices(split) == [[3, 1], [], [0, 4]]
    assert split.train.dtype == split.val.dtype == torch.int64
    assert indices(read_split(path, 5, prefix='b_')) == [[3], [], [0]]

    with pytest.raises(ValueError, match=r"splits.npz' has no .*'c_train'.*"
                       r"'b_test'"):
        read_split(path, 5, prefix='c_')
    with pytest.raises(ValueError, match=r"'test' .* 4 frames \(got 4\)"):
        read_split(path, 4)
    for key, value, match in (
        ('train', np.array([3, -1]), r"'train' .*\(got -1\)"),
        ('val', np.array([2.0]), "'val' must be a vector of integers"),
        ('val', np.array([[2]]), "'val' must be a vector of integers"),
        ('val', np.array([4]), 'disjoint .frame 4'),
        ('train', np.array([3, 3]), 'disjoint .frame 3'),
    ):
        np.savez(path, **{**parts, key: value})
        with pytest.raises(ValueError, match='splits.npz.*' + match):
            read_split(path, 5)


def test_splits_of_real_data(shared_data):
    path = shared_data / 'md17' / 'md17_ethanol_splits.npz'
    drawn = read_split(path, 2000, prefix='random_')
    # That file says that it was drawn in the same way.
    assert indices(drawn) == indices(random_split(2000, 950, 50))
    blocked = read_split(path, 2000, prefix='blocked_')
    assert blocked.test.tolist() == list(range(1300, 2000))
    with pytest.raises(ValueError, match='1999 frames'):
        read_split(path, 1999, prefix='random_')


def splits():
    return {'1': Split(torch.tensor([7, 1, 5, 9]), torch.empty(0).long(),
                       torch.tensor([2, 3])),
            '2': Split(torch.tensor([0]), torch.tensor([4]),
                       torch.tensor([8]))}


def test_published_split():
    split = published_split(splits(), '1', 10, num_val=1, seed=3)
    assert sorted([*split.train.tolist(), *split.val.tolist()]) == [1, 5, 7, 9]
    assert split.val.numel() == 1 and split.test.tolist() == [2, 3]
    again = published_split(splits(), '1', 10, num_val=1, seed=3)
    assert again.val.equal(split.val) and again.train.equal(split.train)
    drawn = {published_split(splits(), '1', 10, 1, seed).val.item()
             for seed in range(30)}
    assert drawn == {1, 5, 7, 9}
    split = published_split(splits(), '2', 10, num_val=1)
    assert [part.tolist() for part in vars(split).values()] == [[0], [4], [8]]


def test_published_split_errors():
    with pytest.raises(ValueError, match=r"splits \['1', '2'\] \(got '3'\)"):
        published_split(splits(), '3', 10, num_val=1)
    with pytest.raises(ValueError, match="'num_val' must be below 4"):
        published_split(splits(), '1', 10, num_val=4)
    with pytest.raises(ValueError, match=r"'num_val' must .*\(got -1\)"):
        published_split(splits(), '1', 10, num_val=-1)
    with pytest.raises(ValueError, match="split '1': 'train' .* 9 frames"):
        published_split(splits(), '1', 9, num_val=1)
    wrong = {'1': Split(torch.tensor([1, 2]), torch.empty(0).long(),
                        torch.tensor([2]))}
    with pytest.raises(ValueError, match="must be disjoint .frame 2"):
        published_split(wrong, '1', 10, num_val=1)
