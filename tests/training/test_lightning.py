import csv
import os
import warnings
from dataclasses import replace

import pytest
import torch
from torch_geometric.nn import global_add_pool

from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.training import Trainer
from torch_sake.utils.inputs import LAST

lightning = pytest.importorskip('pytorch_lightning')


def weights(trainer):
    return {key: value.clone()
            for key, value in trainer.average.module.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert value.equal(second[key]), key


class Interrupt(lightning.Callback):
    """Interrupts a run in the middle of a step, without saving."""
    def __init__(self, step):
        self.step = step

    def on_train_batch_start(self, trainer, module, *args):
        if module.step == self.step:
            raise KeyboardInterrupt


class Count(lightning.Callback):
    """A callback of the user's, with a state."""
    def __init__(self):
        self.batches, self.scores = 0, []

    def on_train_batch_end(self, *args):
        self.batches += 1

    def on_validation_end(self, trainer, module):
        self.scores.append(float(trainer.callback_metrics['score']))

    def state_dict(self):
        return {'batches': self.batches, 'scores': self.scores}

    def load_state_dict(self, state):
        self.batches, self.scores = state['batches'], state['scores']


def test_callbacks_of_the_user(config):
    count = Count()
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).fit([count, Interrupt(6)])
    assert count.batches == 6
    resumed, count = Trainer(replace(config, resume=True)), Count()
    assert resumed.step == 4
    resumed.fit([count])
    assert count.batches == 12  # 4 and 8 more
    assert count.scores == pytest.approx(resumed.module.scores)


def test_fit_again_goes_on(config):
    whole = Trainer(config)
    whole.fit()
    trainer = Trainer(replace(config, out=config.out + '-2'))
    for step in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            trainer.fit([Interrupt(step)])
        assert trainer.step == step
    trainer.fit()
    assert_equal(weights(whole), weights(trainer))


def test_steps_without_lightning(config):
    trainer = Trainer(config)
    trainer.fit()
    other = Trainer(replace(config, out=config.out + '-2'))
    optimizers = other.module.configure_optimizers()

    class Copy(lightning.Callback):
        def on_train_batch_start(self, trainer, module, batch, *args):
            other.module.take_step(batch.clone(), optimizers)

    Trainer(replace(config, out=config.out + '-3')).fit([Copy()])
    assert_equal(weights(trainer), weights(other))


@pytest.mark.parametrize('change', [dict(num_workers=1),
                                    dict(deterministic=True)], ids=str)
def test_same_weights(config, change):
    config = replace(config, num_steps=4, val_interval=2)
    states, modes = [], []

    class Mode(lightning.Callback):
        def on_train_batch_end(self, *args):
            modes.append(torch.are_deterministic_algorithms_enabled())

    for changes in ({}, change):
        trainer = Trainer(replace(config, out=f'{config.out}-{changes}',
                                  **changes))
        trainer.fit([Mode()])
        states.append(weights(trainer))
        assert not torch.are_deterministic_algorithms_enabled()
    assert modes == 4 * [False] + 4 * ['deterministic' in change]
    assert_equal(*states)


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
        return global_add_pool(self.mlp(x), batch)


def test_random_numbers_of_a_model_go_on(config):
    def build(**changes):
        torch.manual_seed(0)
        return Trainer(replace(config, **changes), Noisy())

    whole = build()
    whole.fit()
    out = config.out + '-2'
    with pytest.raises(KeyboardInterrupt):
        build(out=out).fit([Interrupt(6)])
    resumed = build(out=out, resume=True)
    resumed.fit()
    assert_equal(weights(whole), weights(resumed))
    # Dropout is not for validations.
    batch = next(iter(whole.data.batches('val')))
    energies = [whole.average.module.energy(batch.z, batch.pos.float(),
                                            batch.batch) for _ in range(2)]
    assert energies[0].equal(energies[1])


def test_tensorboard(config):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing import event_accumulator
    trainer = Trainer(replace(config, tensorboard=True))
    trainer.fit()
    events = event_accumulator.EventAccumulator(
        os.path.join(config.out, 'tensorboard'))
    events.Reload()
    logged = events.Scalars('force_mae')
    assert [event.step for event in logged] == [4, 8, 12]
    assert [event.value for event in logged] == pytest.approx(
        [row['force_mae'] for row in trainer.history])
    with open(os.path.join(config.out, 'metrics.csv')) as file:
        assert len(list(csv.DictReader(file))) == 3


def test_lightning_keeps_its_tips_to_itself(config, capfd, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Trainer(config).fit()
    out, err = capfd.readouterr()
    assert out == '' and caplog.text == ''
    bars = [line for line in err.replace('\r', '\n').split('\n') if line]
    assert all(line.startswith('training: ') for line in bars)
    assert '12/12' in bars[-1] and 'force MAE' in bars[-1]


def test_runs_of_the_loop_before_lightning(config):
    Trainer(config).fit()
    path = os.path.join(config.out, LAST)
    tensors, description = load_checkpoint(path)
    del description['optimizer_states']
    save_checkpoint(path, tensors, description)
    with pytest.raises(ValueError, match='a run of this version'):
        Trainer(replace(config, resume=True))


def test_more_devices_than_there_are(config, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    with pytest.raises(ValueError, match="'devices' must be at most 1"):
        Trainer(replace(config, device='cuda', devices=2))
    with pytest.raises(ValueError, match="one frame in 'val' for each device"):
        Trainer(replace(config, device='cpu', devices=2, num_val=1))
