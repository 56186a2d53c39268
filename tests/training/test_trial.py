"""What is said before the first step, and that it changes nothing."""

import re
from dataclasses import replace

import pytest
import torch

from torch_sake.datasets import convert_frames

lightning = pytest.importorskip('pytorch_lightning')
from torch_sake.runs import trial  # noqa: E402
from torch_sake.training import Trainer  # noqa: E402


class Noisy(torch.nn.Module):
    """Draws random numbers in each step, and has a state of its own."""
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.mlp = torch.nn.Sequential(torch.nn.Linear(9, 8), torch.nn.SiLU(),
                                       torch.nn.Dropout(0.5),
                                       torch.nn.Linear(8, 1))

    def forward(self, z, pos, batch):
        length = pos.square().sum(dim=1, keepdim=True)
        x = torch.cat([self.norm(self.embedding(z)), length], dim=1)
        return self.mlp(x).new_zeros(int(batch.max()) + 1, 1).index_add(
            0, batch, self.mlp(x))


@pytest.fixture
def longer(config):
    return replace(config, num_steps=trial.FEWEST, val_interval=10)


def learn(config, model=None):
    torch.manual_seed(0)
    trainer = Trainer(config, model and model())
    trainer.fit()
    states = [trainer.potential.state_dict(),
              trainer.average.module.state_dict()]
    return states, [dict(row, seconds=0) for row in trainer.history]


@pytest.mark.parametrize('model, changes', [
    (None, {}), (Noisy, {}), (None, dict(num_workers=1)),
    (None, dict(optimizer='adam', schedule='plateau')),
    (None, dict(data='disk', max_num_atoms=12)),
    pytest.param(None, dict(compile=True),
                 marks=[pytest.mark.compile, pytest.mark.slow])], ids=str)
def test_nothing_changes(longer, model, changes, monkeypatch, capsys,
                         tmp_path):
    if changes.get('data') == 'disk':
        path = str(tmp_path / 'water.frames')
        convert_frames(longer.data, path)
        changes = dict(changes, data=path)
    config = replace(longer, **changes)
    states, history = learn(config, model)
    assert 'a step takes' in capsys.readouterr().err
    monkeypatch.setattr(trial, 'FEWEST', 10**9)
    others, expected = learn(replace(config, out=config.out + '-2'), model)
    assert 'a step takes' not in capsys.readouterr().err
    assert history == expected
    for state, other in zip(states, others):
        for key, value in state.items():
            assert torch.equal(value, other[key]), key


@pytest.mark.parametrize('changes, words', [
    ({}, ['a step takes 50 ms: 20 steps take about 1.1 s']),
    (dict(num_steps=48_000, val_interval=1000, compile=True),
     ['compiling, about a minute',
      'a step takes 50 ms: 48000 steps take about 40 min']),
    (dict(num_steps=None, max_time='00:20:00', compile=False),
     ['a step takes 50 ms: about 23000 steps in 20 min']),
    (dict(num_steps=19), [])], ids=str)
def test_what_is_said(longer, changes, words, monkeypatch, capfd):
    """Before the bar, and without any word in the way of results."""
    times = iter(range(10**6))
    monkeypatch.setattr(trial, 'step_time', lambda module, batch: 0.05)

    class Stop(lightning.Callback):
        def on_train_batch_start(self, *args):
            raise KeyboardInterrupt

    trainer = Trainer(replace(longer, **changes))
    trainer.module.timer.now = lambda: 1e-9 * next(times)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit([Stop()])
    out, err = capfd.readouterr()
    lines = re.split('[\r\n]+', err.strip())
    assert out == ''
    assert [line for line in lines if not line.startswith('training')] == words
    assert lines[:len(words)] == words


def test_steps_that_are_left(longer, monkeypatch, capsys):
    class Stop(lightning.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            if module.step == 6:
                trainer.callbacks[-1].interrupt.requested = True

    config = replace(longer, num_steps=60, val_interval=100)
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).fit([Stop()])
    monkeypatch.setattr(trial, 'step_time', lambda module, batch: 2.0)
    capsys.readouterr()
    Trainer(replace(config, resume=True)).fit()
    assert ('a step takes 2 s: 54 steps left take about 109 s\n'
            in capsys.readouterr().err)


def test_a_step_is_measured(longer):
    """Evaluations of the loss, and optimizers, but not what comes once."""
    class Clock:
        time = 0.0

        def __call__(self):
            return self.time

    clock, trainer = Clock(), Trainer(longer)
    module = trainer.module
    module.timer.now, loss_of, calls = clock, module.loss_of, []

    def slow_loss(data):
        calls.append(data)
        clock.time += 30.0 if len(calls) == 1 else 0.5
        return loss_of(data)

    module.loss_of = slow_loss
    batch = next(iter(trainer.data.batches('train')))
    before = {key: value.clone() for key, value in
              module.potential.state_dict().items()}
    optimizers = module.configure_optimizers()
    assert trial.step_time(module, batch) == pytest.approx(0.5)
    assert len(calls) == 1 + trial.NUM_TRIALS
    assert not any(batch is call for call in calls)
    assert all(not optimizer.state for optimizer in optimizers)
    for name, parameter in module.potential.named_parameters():
        assert parameter.grad is None
        assert torch.equal(parameter, before[name])
    assert trial.optimizer_time(module) == 0
