import pytest

from torch_sake.training import TrainConfig
from torch_sake.training.sampler import StepSampler

pytestmark = pytest.mark.parametrize('val_interval', [1, 3, 100])


def batches(num_frames, batch_size, num_steps, val_interval, first_step=0,
            seed=0, **kwargs):
    """Returns the batches of all steps, one validation after the other."""
    config = TrainConfig(batch_size=batch_size, num_steps=num_steps, seed=seed,
                         val_interval=val_interval)
    out, before = [], first_step
    sampler = StepSampler(num_frames, config, lambda: before, **kwargs)
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
