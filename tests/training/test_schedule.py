import math
from dataclasses import replace

import pytest

from torch_sake.optim.schedule import PLATEAU, Schedule, waits
from torch_sake.training import Trainer

lightning = pytest.importorskip('pytorch_lightning')


@pytest.mark.parametrize('name', ['constant', 'cosine', 'plateau'])
def test_rate_rises_and_then_follows_the_schedule(name):
    schedule = Schedule(name, 0.5, 100, 0.1)
    rates = [schedule(step, [1.0]) for step in range(101)]
    assert rates[:11] == pytest.approx([0.5 * (step + 1) / 11
                                        for step in range(10)] + [0.5])
    if name == 'cosine':
        assert rates[55] == pytest.approx(0.25)
        assert rates[100] == pytest.approx(0.0, abs=1e-12)
        assert rates[10:] == sorted(rates[10:], reverse=True)
    else:
        assert rates[10:] == 91 * [0.5]


def test_plateau_halves_the_rate():
    schedule = Schedule('plateau', 1.0, 10**6, 0.0)
    scores = [3.0, 2.0] + PLATEAU * [2.5]
    rates = [schedule(len(scores[:end]), scores[:end])
             for end in range(len(scores) + 1)]
    assert rates == (2 + PLATEAU) * [1.0] + [0.5]
    # A better score does not bring it back; more plateaus halve it again.
    scores += [1.0] + (2 * PLATEAU) * [1.0]
    assert schedule(99, scores) == 0.125
    # The other schedules do not look at scores.
    assert Schedule('constant', 1.0, 100, 0.0)(99, scores) == 1.0


def test_waits():
    assert waits([]) == []
    assert waits([3, 2, 2, 4, 1, math.nan]) == [0, 0, 1, 2, 0, 1]
    assert waits([math.nan, 5.0]) == [1, 0]


def test_a_run_without_progress_ends_early(config):
    # At this rate, nothing is learned.
    config = replace(config, val_interval=1, num_steps=50, patience=3,
                     learning_rate=1e-30, schedule='constant')
    trainer = Trainer(config)
    trainer.fit()
    assert waits(trainer.module.scores) == [0, 1, 2, 3]
    assert trainer.step == 4
    # It has come to its end: it does not go on, unless it is given more time.
    again = Trainer(replace(config, resume=True))
    again.fit()
    assert again.history == trainer.history
    longer = Trainer(replace(config, resume=True, patience=5))
    longer.fit()
    assert waits(longer.module.scores) == [0, 1, 2, 3, 4, 5]
    assert longer.history[:4] == trainer.history


@pytest.mark.slow
def test_plateau_in_a_run_that_is_resumed(config):
    config = replace(config, val_interval=1, num_steps=30, schedule='plateau',
                     learning_rate=1e-30, warmup=0.0)

    class Interrupt(lightning.Callback):
        def on_train_batch_start(self, trainer, module, *args):
            if module.step == 20:
                raise KeyboardInterrupt

    whole = Trainer(config)
    whole.fit()
    rates = [row['learning_rate'] for row in whole.history]
    assert rates == 11 * [1e-30] + 10 * [5e-31] + 9 * [2.5e-31]
    config = replace(config, out=config.out + '-2')
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).fit([Interrupt()])
    resumed = Trainer(replace(config, resume=True))
    assert resumed.step == 20
    resumed.fit()
    assert [row['learning_rate'] for row in resumed.history] == rates
    assert resumed.module.scores == whole.module.scores
