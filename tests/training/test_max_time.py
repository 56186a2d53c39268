"""Runs of a length of time, by a clock that goes on with what they compute.
No test waits, or depends on the time that anything takes.
"""

import json
import multiprocessing
import os
import signal
import warnings
from dataclasses import asdict, replace

import pytest
import torch

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.datasets import convert_frames
from torch_sake.training import TrainConfig
from torch_sake.utils.durations import seconds_of
from torch_sake.utils.inputs import LAST

lightning = pytest.importorskip('pytorch_lightning')
from torch_sake.runs import trial  # noqa: E402
from torch_sake.training import Trainer  # noqa: E402


class Clock:
    """Each loss takes some time, which may depend on the number of losses so
    far, and so does each validation."""
    def __init__(self, loss=1.0, validation=5.0):
        self.loss, self.validation = loss, validation
        self.time, self.losses = 1e5, 0

    def __call__(self):
        return self.time

    def watch(self, trainer, free=0):
        """Puts the clock into a run. Its first losses may take no time."""
        module = trainer.module
        module.timer.now = self
        loss_of, errors = module.loss_of, module.validation_errors
        self.losses = -free

        def slow_loss(data):
            if self.losses >= 0:
                self.time += (self.loss(self.losses) if callable(self.loss)
                              else self.loss)
            self.losses += 1
            return loss_of(data)

        def slow_errors():
            self.time += self.validation
            return errors()

        module.loss_of, module.validation_errors = slow_loss, slow_errors
        return trainer


class Rates(lightning.Callback):
    def __init__(self):
        self.rates, self.plans = [], []

    def on_train_batch_start(self, trainer, module, *args):
        self.rates.append(module.learning_rate)

    def on_train_batch_end(self, trainer, module, *args):
        self.plans.append(module.schedule.plan)


class Kill(lightning.Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, *args):
        if module.step == self.step - 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def timed(config):
    return replace(config, num_steps=None, max_time='00:04:00',
                   val_interval=10, num_layers=1, hidden_channels=4,
                   num_rbf=4, num_train=8, compile=False)


COSTS = {
    'even': 1.0,
    'slower': lambda number: 1.0 if number < 80 else 3.0,
    'faster': lambda number: 2.0 if number < 40 else 0.5,
    'uneven': lambda number: 0.5 + number % 3,
    'compiled': lambda number: 60.0 if number == 0 else 1.0,
    'compiled again': lambda number: 50.0 if number in (0, 30) else 1.0,
    'slow to start': lambda number: 8.0 if number < 5 else 0.5,
}


@pytest.mark.parametrize('cost', [
    'even', 'slower', 'compiled', *(pytest.param(
        cost, marks=pytest.mark.slow) for cost in (
            'faster', 'uneven', 'compiled again', 'slow to start'))])
def test_run_ends_in_time(timed, cost, capfd):
    clock, rates = Clock(COSTS[cost]), Rates()
    trainer = clock.watch(Trainer(timed))
    begin = clock.time
    trainer.fit([rates])
    used = clock.time - begin
    # Not later, nor much earlier than with one more step.
    assert 240 - 8 < used <= 240 + 3
    assert trainer.module.timer.used == pytest.approx(used)
    steps = [row['step'] for row in trainer.history]
    assert steps == sorted({*range(10, trainer.step + 1, 10), trainer.step})
    assert trainer.module.finished and len(rates.rates) == trainer.step
    # The rate rises and falls, and is at its end when the time is over.
    largest = rates.rates.index(max(rates.rates))
    assert rates.rates[largest:] == sorted(rates.rates[largest:], reverse=True)
    assert largest < 0.1 * trainer.step
    assert rates.rates[-1] < 0.01 * timed.learning_rate
    assert trainer.history[-1]['learning_rate'] < 1e-12
    load_potential(timed.out)
    # The bar and the time have ended.
    assert capfd.readouterr().err.count(f' {trainer.step}/{trainer.step} ') > 0
    clock.time += 100
    assert trainer.module.timer.used == pytest.approx(used)


@pytest.mark.parametrize('busy, fits', [(0.5, True), (1.3, True),
                                        (1.4, False), (10.0, False)])
def test_time_to_compile(timed, busy, fits, monkeypatch):
    """A busy machine takes longer, and compilation is not all of a run."""
    clock = Clock()
    trainer = clock.watch(Trainer(replace(timed, compile=None)))
    monkeypatch.setattr(trial, 'process_time', lambda: clock.time / busy)
    module, batch = trainer.module, next(iter(trainer.data.batches('train')))
    assert module.compiles and trainer.potential.compiled
    assert trial.has_time_to_compile(module, batch) == fits
    assert trainer.potential.compiled
    module.config = replace(timed, compile=True)
    assert trial.has_time_to_compile(module, batch)


def test_no_time_to_compile(timed, monkeypatch, capfd):
    clock = Clock()
    trainer = clock.watch(Trainer(replace(timed, compile=None)))
    monkeypatch.setattr(trial, 'process_time', lambda: clock.time / 10)
    begin = clock.time
    trainer.fit()
    assert not trainer.potential.compiled
    said = capfd.readouterr().err
    assert 'not compiled: on this machine' in said and (
        'compiling, about' not in said)
    assert 240 - 8 < clock.time - begin <= 240 + 3


def test_rate_follows_the_time(timed):
    """In a run of even steps it is that of as many steps, but for a step."""
    clock, rates = Clock(validation=0.0), Rates()
    trainer = clock.watch(Trainer(timed))
    trainer.module.steps_of_validation = 0.0
    trainer.fit([rates])
    assert 230 <= trainer.step <= 240  # but for the trials
    whole = Trainer(replace(timed, max_time=None, num_steps=trainer.step,
                            out=timed.out + '-2'))
    other = Rates()
    whole.fit([other])
    assert rates.rates == pytest.approx(other.rates, abs=2e-5)
    assert len({plan for plan in rates.plans}) > 30
    # From one plan to the next, nothing jumps.
    for step, (plan, following) in enumerate(
            zip(rates.plans, rates.plans[1:]), 2):
        if following != plan:
            done, total = plan.position(step)
            assert following.step == step
            assert following.progress == pytest.approx(done / total)


@pytest.mark.parametrize('changes', [
    dict(num_workers=2), dict(data='disk', max_num_atoms=12)], ids=str)
def test_batches_that_are_not_needed(timed, changes, tmp_path):
    """The end comes between two validations, with batches made ahead."""
    if 'data' in changes:
        changes['data'] = str(tmp_path / 'water.frames')
        convert_frames(timed.data, changes['data'])
    clock = Clock(validation=0.0)
    trainer = clock.watch(Trainer(replace(
        timed, max_time='00:00:30', val_interval=20, **changes)))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        trainer.fit()
    assert [row['step'] for row in trainer.history] == [20, trainer.step]
    assert 26 <= trainer.step < 30
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize('max_time, steps', [
    ('00:00:01', 1), ('00:01:40', 1), ('00:08:20', 3)])
def test_steps_that_take_longer_than_the_run(timed, max_time, steps):
    clock = Clock(100.0, 50.0)
    trainer = clock.watch(Trainer(replace(timed, max_time=max_time)))
    trainer.fit()
    assert trainer.step == steps
    assert [row['step'] for row in trainer.history] == [steps]
    assert clock.losses <= steps + 2
    load_potential(timed.out)


def test_validations_that_take_long(timed):
    """The last one is planned for, also before there has been one."""
    clock = Clock(1.0, 60.0)
    trainer = clock.watch(Trainer(replace(timed, val_interval=50)))
    begin = clock.time
    trainer.module.steps_of_validation = 60.0
    trainer.fit()
    # Another step would have brought another validation.
    assert [row['step'] for row in trainer.history] == [50, 100]
    assert clock.time - begin == 4 + 50 + 60 + 50 + 60
    clock = Clock(1.0, 60.0)
    trainer = clock.watch(Trainer(replace(timed, val_interval=10**6,
                                          out=timed.out + '-2')))
    begin = clock.time
    trainer.module.steps_of_validation = 60.0
    trainer.fit()
    assert len(trainer.history) == 1 and 230 < clock.time - begin <= 241


@pytest.mark.parametrize('stop', [
    40, *(pytest.param(stop, marks=pytest.mark.slow) for stop in (3, 117))])
def test_resumed_run_ends_where_an_uninterrupted_one_does(timed, stop):
    whole = Clock().watch(Trainer(timed))
    whole.fit()
    config = replace(timed, out=timed.out + '-2')
    clock = Clock()
    with pytest.raises(KeyboardInterrupt):
        clock.watch(Trainer(config)).fit([Kill(stop)])
    used = clock.time - 1e5
    _, description = load_checkpoint(os.path.join(config.out, LAST))
    assert description['step'] == stop
    assert description['timer']['used'] == pytest.approx(used)
    clock.time += 1e6  # which does not count
    # Without the time, which it is given anew if it is not said.
    config = replace(config, max_time=None, resume=True)
    assert config.num_steps is None
    resumed = Trainer(config)
    assert resumed.config.max_time == timed.max_time
    assert resumed.step == stop
    assert resumed.module.schedule.plan._asdict().items() <= (
        description['plan'].items())
    clock.watch(resumed, free=4).fit()
    assert resumed.module.timer.used == pytest.approx(
        whole.module.timer.used)
    for row, expected in zip(resumed.history, whole.history, strict=True):
        assert dict(row, seconds=0) == dict(expected, seconds=0)
    expected = whole.potential.state_dict()
    for key, value in resumed.potential.state_dict().items():
        assert torch.equal(value, expected[key]), key
    again = Trainer(replace(config, max_time=timed.max_time))
    assert again.module.finished
    again.fit()
    assert again.history == resumed.history


def test_rest_of_the_time_on_a_slower_machine(timed):
    clock = Clock()
    with pytest.raises(KeyboardInterrupt):
        clock.watch(Trainer(timed)).fit([Kill(60)])
    used, begin = clock.time - 1e5, clock.time
    clock.loss, rates = 5.0, Rates()
    resumed = clock.watch(Trainer(replace(timed, resume=True)))
    resumed.fit([rates])
    assert 240 - 10 < used + clock.time - begin < 240 + 5
    assert resumed.step < 60 + 35
    assert rates.rates[-1] < 0.05 * timed.learning_rate
    # Until another plan is made, it is that of before.
    assert rates.plans[0].step <= 60 + 1


@pytest.mark.slow
def test_run_that_is_given_more_or_less_time(timed):
    clock, rates = Clock(validation=0.0), Rates()
    clock.watch(Trainer(timed)).fit([rates])
    best = Trainer(replace(timed, resume=True)).best
    longer = Trainer(replace(timed, resume=True, max_time='00:08:00'))
    assert not longer.module.finished
    first, rates = longer.step, Rates()
    clock.watch(longer, free=4).fit([rates])
    assert 475 < longer.module.timer.used <= 481
    assert longer.step > first + 200
    # Half of the time is over, as is the warmup.
    assert rates.rates[0] == pytest.approx(
        longer.module.schedule.largest * 0.5, rel=0.1)
    assert rates.rates[-1] < 1e-3 * longer.config.learning_rate
    assert longer.history[-1]['step'] == longer.step
    assert longer.best <= best
    for change in ('00:02:00', '00:07:30'):
        with pytest.raises(ValueError, match=r"last.safetensors': 'max_time' "
                           r"must be more than 00:0[78]:\d\d, .* .got "
                           + change):
            Trainer(replace(timed, resume=True, max_time=change))


def test_run_that_is_given_less_time(timed):
    clock = Clock(validation=0.0)
    with pytest.raises(KeyboardInterrupt):
        clock.watch(Trainer(timed)).fit([Kill(56)])
    assert clock.time - 1e5 == 60
    shorter, rates = Trainer(replace(timed, resume=True,
                                     max_time='00:01:20')), Rates()
    clock.watch(shorter, free=4).fit([rates])
    assert shorter.step in (75, 76)
    # Three quarters of the time are over.
    rest = (0.75 - timed.warmup) / (1 - timed.warmup)
    assert rates.rates[0] == pytest.approx(timed.learning_rate * 0.5 * (
        1 + torch.tensor(rest * torch.pi).cos().item()), rel=0.02)
    _, description = load_checkpoint(os.path.join(timed.out, LAST))
    assert description['config']['max_time'] == '00:01:20'


def test_steps_after_time_and_time_after_steps(timed):
    clock = Clock(validation=0.0)
    steps = replace(timed, max_time=None, num_steps=60)
    with pytest.raises(KeyboardInterrupt):
        clock.watch(Trainer(steps)).fit([Kill(26)])
    resumed = clock.watch(Trainer(replace(timed, resume=True)), free=4)
    rates = Rates()
    with pytest.raises(KeyboardInterrupt):
        resumed.fit([rates, Kill(126)])
    # Of the first run there were four trials.
    assert rates.plans[0][:2] == (26, pytest.approx(30 / 240))
    assert resumed.module.num_steps == pytest.approx(236, abs=1)
    last = Trainer(replace(timed, resume=True, max_time=None, num_steps=150))
    assert last.module.schedule.plan == (0, 0.0, 150)
    clock.watch(last).fit()
    assert last.step == 150 and last.module.finished
    with open(os.path.join(timed.out, 'config.yaml')) as file:
        text = file.read()
    assert 'num_steps: 150' in text and 'max_time: null' in text


PLAN = "'plan.progress' must be at least 0 and below 1"
CASES = [
    (lambda entry: entry.pop('plan'), "'plan' must be of type dict"),
    (lambda entry: entry['plan'].pop('step'), "'plan.step' is missing"),
    (lambda entry: entry['plan'].update(progress=1.5), PLAN),
    (lambda entry: entry['plan'].update(progress=float('nan')), PLAN),
    (lambda entry: entry['plan'].update(last_step=4), "'step' must be at mo"),
    (lambda entry: entry['plan'].update(step=10**6), "'plan.step' must be at"),
    (lambda entry: entry['plan'].update(warm=1), "'plan.warm' must be of typ"),
    (lambda entry: entry['timer'].update(used=-1.0), "'timer.used' must not"),
    (lambda entry: entry['timer'].update(step='x'), "'timer.step' must be of"),
    (lambda entry: entry['timer'].update(planned=float('inf')), "'timer.pla"),
    (lambda entry: entry['config'].update(max_time='soon'),
     "'config.max_time' must be a time as"),
    (lambda entry: entry['config'].update(num_steps='7'),
     "'config.num_steps' must be of type int"),
    (lambda entry: entry['config'].update(max_time=None),
     "'config' must have num_steps or max_time .got a run of kind 'pot"),
]


def test_what_a_run_must_find(timed):
    clock = Clock()
    with pytest.raises(KeyboardInterrupt):
        clock.watch(Trainer(timed)).fit([Kill(6)])
    path = os.path.join(timed.out, LAST)
    tensors, description = load_checkpoint(path)
    for change, match in CASES:
        changed = json.loads(json.dumps(description))
        change(changed)
        save_checkpoint(path, tensors, changed)
        given = None if 'must have' in match else timed.max_time
        with pytest.raises(ValueError, match=match) as caught:
            Trainer(replace(timed, resume=True, max_time=given))
        assert str(caught.value).startswith(f"'{path}'")
        assert '\n' not in str(caught.value)


@pytest.mark.slow
def test_old_runs_can_get_a_length_of_time(timed):
    """Those that did not keep the time have that of the processor."""
    steps = replace(timed, max_time=None, num_steps=12)
    Trainer(steps).fit()
    path = os.path.join(timed.out, LAST)
    tensors, description = load_checkpoint(path)
    del description['timer'], description['plan']
    del description['config']['max_time']
    save_checkpoint(path, tensors, dict(description, seconds=120.0))
    assert Trainer(replace(steps, resume=True)).module.finished
    clock, rates = Clock(validation=0.0), Rates()
    trainer = clock.watch(Trainer(replace(timed, resume=True)), free=4)
    trainer.fit([rates])
    assert rates.plans[0][:2] == (12, 0.5)
    assert trainer.step in (131, 132)


def test_loop_of_ones_own_has_no_plan(timed):
    trainer = Trainer(timed)
    batch = next(iter(trainer.data.batches('train')))
    with pytest.raises(ValueError, match="'max_time' must have a plan"):
        trainer.module.take_step(
            batch, trainer.module.configure_optimizers())


def test_settings():
    assert TrainConfig().num_steps == 5000
    assert TrainConfig(resume=True).num_steps is None
    config = TrainConfig(max_time='00:20:00')
    assert config.num_steps is None and config.seconds == 1200
    assert config.next_validation(399) == 400
    assert config.compiles and TrainConfig(max_time='00:03:00').compiles
    assert not TrainConfig(max_time='00:02:59').compiles
    assert TrainConfig(**asdict(config)) == config
    with pytest.raises(ValueError, match="'num_steps' must not be given "
                       "beside 'max_time'"):
        TrainConfig(max_time='00:20:00', num_steps=5000)
    with pytest.raises(TypeError, match="'max_time' must be text"):
        TrainConfig(max_time=1200)
    assert seconds_of('00:00:01') == 1


def test_what_takes_the_time_back():
    from torch_sake.training.config import TrainConfig
    with pytest.raises(ValueError, match="'--max_time null' or "):
        TrainConfig(num_steps=10, max_time='00:01:00')
