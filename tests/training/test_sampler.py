import pytest
import torch

from torch_sake.datasets.frames.split import epoch_order
from torch_sake.training import TrainConfig
from torch_sake.training.sampler import StepSampler

pytestmark = pytest.mark.parametrize('val_interval', [1, 3, 100])


def batches(num_frames, batch_size, num_steps, val_interval, first_step=0,
            seed=0, sizes=None, rank=0, num_processes=1):
    """Returns the batches of all steps, one validation after the other."""
    limit = {} if sizes is None else {'max_num_atoms': batch_size}
    config = TrainConfig(batch_size=batch_size, num_steps=num_steps, seed=seed,
                         val_interval=val_interval, **limit)
    out, before = [], first_step
    sizes = torch.ones(num_frames) if sizes is None else sizes
    sampler = StepSampler(sizes, config, lambda: before, rank, num_processes)
    while before < num_steps:
        steps = list(sampler)
        out += steps
        before += len(steps)
        assert before == num_steps or before % val_interval == 0
    return out


def test_batches_of_every_epoch(val_interval):
    steps = batches(10, 4, 7, val_interval)
    assert len(steps) == 7
    for epoch in range(3):
        seen = sum(steps[2 * epoch:2 * epoch + 2], [])
        assert len(set(seen)) == len(seen) == 8 and set(seen) <= {*range(10)}
    assert steps[0] != steps[2]
    assert steps != batches(10, 4, 7, val_interval, seed=1)
    for first_step in range(7):
        assert steps[first_step:] == batches(10, 4, 7, val_interval,
                                             first_step)


def test_processes_share_batches(val_interval):
    steps = batches(10, 5, 6, val_interval)
    shares = [batches(10, 5, 6, val_interval, rank=rank, num_processes=3)
              for rank in range(3)]
    for whole, *parts in zip(steps, *shares):
        assert [len(part) for part in parts] == [2, 2, 1]
        assert sorted(sum(parts, [])) == sorted(whole)


def test_fewer_frames_than_in_a_batch(val_interval):
    steps = batches(3, 5, 4, val_interval)
    assert [sorted(step) for step in steps] == 4 * [[0, 1, 2]]


SIZES = torch.tensor([3, 5, 1, 4, 1, 2, 5, 3, 2, 1])


def test_batches_of_a_number_of_atoms(val_interval):
    steps = batches(10, 9, 20, val_interval, sizes=SIZES)
    # Batches of an epoch are as large as possible, and differ in their frames.
    expected, epoch = [], 0
    while len(expected) < 20:
        batch = []
        for index in epoch_order(10, 0, epoch).tolist():
            if SIZES[[*batch, index]].sum() > 9:
                expected.append(batch)
                batch = []
            batch.append(index)
        if SIZES[batch].sum() == 9:
            expected.append(batch)
        epoch += 1
    assert epoch > 5
    assert steps == expected[:20]
    for first_step in range(20):
        assert steps[first_step:] == batches(10, 9, 20, val_interval,
                                             first_step, sizes=SIZES)


def test_processes_share_atoms(val_interval):
    steps = batches(10, 10, 20, val_interval, sizes=SIZES)
    shares = [batches(10, 10, 20, val_interval, sizes=SIZES, rank=rank,
                      num_processes=2) for rank in range(2)]
    for whole, *parts in zip(steps, *shares):
        assert sorted(sum(parts, [])) == sorted(whole)
        first, second = (int(SIZES[part].sum()) for part in parts)
        assert min(first, second) > 0
        # The smallest frame of the larger part came last.
        assert abs(first - second) <= int(SIZES[whole].max())


def test_all_frames_in_a_batch(val_interval):
    steps = batches(10, 100, 4, val_interval, sizes=SIZES)
    assert [sorted(step) for step in steps] == 4 * [[*range(10)]]
