"""Runs that are prolonged and shortened, and the plan that the rate follows.
"""

import math
from dataclasses import replace

import pytest

from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.optim.plan import Plan
from torch_sake.optim.schedule import Schedule
from torch_sake.utils.inputs import LAST

lightning = pytest.importorskip('pytorch_lightning')
from torch_sake.training import Trainer  # noqa: E402


class Interrupt(lightning.Callback):
    """At the end of a step, saved."""
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, module, *args):
        if module.step == self.step:
            trainer.callbacks[-1].interrupt.requested = True


class Rates(lightning.Callback):
    def __init__(self):
        self.rates = []

    def on_train_batch_start(self, trainer, module, *args):
        self.rates.append(module.learning_rate)


def rates(config, steps):
    schedule = Schedule(config.schedule, config.learning_rate,
                        config.num_steps, config.warmup)
    return [schedule(step, []) for step in steps]


def test_plan_of_a_number_of_steps_changes_nothing():
    """To the last digit."""
    for num_steps in (1, 7, 93, 5000):
        for warmup in (0.0, 0.02, 0.3):
            schedule = Schedule('cosine', 3e-3, num_steps, warmup)
            for step in range(num_steps + 1):
                progress = step / num_steps
                if progress < warmup:
                    expected = 3e-3 * (step + 1) / (warmup * num_steps + 1)
                else:
                    rest = (progress - warmup) / (1 - warmup)
                    expected = 3e-3 * 0.5 * (1 + math.cos(math.pi * rest))
                assert schedule(step, []) == expected


def test_plans():
    plan = Plan(40, 0.2, 80)
    assert plan.position(40) == pytest.approx((10, 50))
    assert plan.position(60) == pytest.approx((30, 50))
    assert plan.position(80) == (1, 1)
    assert Plan(40, 0.2, 40).position(40) == (1, 1)
    schedule = Schedule('cosine', 1.0, None, 0.3)
    with pytest.raises(ValueError, match='must have a plan'):
        schedule(0, [])
    schedule.plan = plan
    assert schedule.progress(60) == pytest.approx(0.6)
    # In the warmup, as a run of 50 steps.
    assert schedule(40, []) == pytest.approx(11 / 16)
    assert not schedule.is_warm(44) and schedule.is_warm(45)
    schedule.warm = True
    assert schedule.is_warm(44) and schedule(40, []) == 1.0
    assert schedule(45, []) == pytest.approx(1.0)
    assert schedule(80, []) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize('stop', [6, 8])
def test_prolonged_run(config, stop):
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).fit([Interrupt(stop)])
    longer, seen = replace(config, resume=True, num_steps=30), Rates()
    trainer = Trainer(longer)
    assert trainer.step == stop
    trainer.fit([seen])
    assert [row['step'] for row in trainer.history] == [*range(4, 31, 4), 30]
    assert seen.rates == rates(longer, range(stop, 30))


def test_run_that_has_ended_is_prolonged_twice(config):
    config = replace(config, warmup=0.25)
    trainer = Trainer(config)
    trainer.fit()
    best = trainer.best
    longer, seen = replace(config, resume=True, num_steps=80), Rates()
    resumed = Trainer(longer)
    assert not resumed.module.finished
    with pytest.raises(KeyboardInterrupt):
        resumed.fit([seen, Interrupt(17)])
    # The warmup was over: there is no other one, though twenty steps of a run
    # of this length would be.
    assert seen.rates == 5 * [config.learning_rate]
    assert rates(longer, [16])[0] < 0.9 * config.learning_rate
    assert resumed.history[:3] == trainer.history and resumed.best <= best
    # A run that does not say how long it is to be is as long as it was.
    again, seen = Trainer(replace(longer, num_steps=None)), Rates()
    assert again.config.num_steps == 80 and again.step == 17
    again.fit([seen])
    assert seen.rates == 3 * [config.learning_rate] + rates(
        longer, range(20, 80))
    assert again.history[-1]['learning_rate'] == 0.0
    last = Trainer(replace(longer, num_steps=84))
    assert last.module.learning_rate == rates(
        replace(longer, num_steps=84), [80])[0] > 0


def test_shortened_run(config):
    config = replace(config, num_steps=40)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).fit([Interrupt(10)])
    for num_steps, least in ((3, 11), (10, 11)):
        with pytest.raises(ValueError, match=f"last.safetensors': 'num_steps' "
                           f"must be at least {least}, as the run has done "
                           f"10 steps .got {num_steps}"):
            Trainer(replace(config, resume=True, num_steps=num_steps))
    shorter, seen = replace(config, resume=True, num_steps=14), Rates()
    trainer = Trainer(shorter)
    trainer.fit([seen])
    assert [row['step'] for row in trainer.history] == [4, 8, 12, 14]
    assert seen.rates == rates(shorter, range(10, 14))
    # All has been validated.
    assert Trainer(replace(shorter, num_steps=None)).module.finished
    with pytest.raises(ValueError, match='must be at least 14'):
        Trainer(replace(shorter, num_steps=13))


def test_plateau_of_a_prolonged_run(config):
    config = replace(config, val_interval=1, num_steps=15, warmup=0.1,
                     schedule='plateau', learning_rate=1e-30)
    trainer = Trainer(config)
    trainer.fit()
    rate = trainer.history[-1]['learning_rate']
    assert rate == 0.5e-30
    seen = Rates()
    longer = Trainer(replace(config, resume=True, num_steps=200, patience=23))
    assert longer.module.learning_rate == rate
    longer.fit([seen])
    # The validations before count, for the rate and for the patience.
    assert longer.step == 24
    assert seen.rates == 6 * [0.5e-30] + 3 * [0.25e-30]


def test_run_of_an_older_version_is_prolonged(config):
    trainer = Trainer(config)
    trainer.fit()
    path = f'{config.out}/{LAST}'
    tensors, description = load_checkpoint(path)
    for name in ('plan', 'timer'):
        del description[name]
    del description['config']['max_time']
    save_checkpoint(path, tensors, description)
    longer = Trainer(replace(config, resume=True, num_steps=16))
    assert longer.module.schedule.warm
    longer.fit()
    assert longer.step == 16
    assert longer.module.timer.used > description['seconds']


def test_length_of_another_kind(config):
    Trainer(config).fit()
    path = f'{config.out}/{LAST}'
    tensors, description = load_checkpoint(path)
    description['config']['num_steps'] = 'many'
    save_checkpoint(path, tensors, description)
    with pytest.raises(ValueError, match="last.safetensors': 'num_steps' must "
                       "be an integer or null .got 'many'"):
        Trainer(replace(config, resume=True, num_steps=None))
