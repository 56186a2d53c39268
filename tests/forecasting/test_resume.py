"""What a run that learns to forecast goes on from."""

import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.forecasting import DynamicsConfig, load_forecaster
from torch_sake.utils.inputs import BEST, LAST

pytest.importorskip('pytorch_lightning')
pytest.importorskip('matplotlib')
from torch_sake.forecasting.fit import run_dynamics
from torch_sake.forecasting.module import DynamicsModule


@pytest.fixture
def config(tmp_path):
    return DynamicsConfig(
        data='nbody', root=str(tmp_path / 'nbody'), sizes=(6, 4, 4),
        out=str(tmp_path / 'run'), hidden_channels=4, num_layers=1,
        num_epochs=3, batch_size=3, num_rollout=1)


@pytest.fixture
def interrupted(config, monkeypatch):
    """A run that was stopped in its second epoch."""
    step = DynamicsModule.training_step

    def stop(self, batch, batch_idx):
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DynamicsModule, 'training_step', stop)
        with pytest.raises(KeyboardInterrupt):
            run_dynamics(config)
    return replace(config, resume=True)


@pytest.mark.slow
def test_what_is_lightnings_does_not_matter(interrupted):
    """As in the checkpoints of older versions, which had it."""
    whole = replace(interrupted, resume=False, out=interrupted.out + '-whole')
    run_dynamics(whole)
    path = os.path.join(interrupted.out, LAST)
    tensors, description = load_checkpoint(path)
    assert description['step'] == 2 and 'loops' not in description
    description['optimizer_states'][0]['param_groups'] = [{'lr': -1.0}]
    description.update(loops={'fit_loop': 3}, epoch=7, global_step=-5)
    save_checkpoint(path, tensors, description)
    run_dynamics(interrupted)
    tensors, description = load_checkpoint(path)
    expected, _ = load_checkpoint(os.path.join(whole.out, LAST))
    assert description['step'] == 6 and tensors.keys() == expected.keys()
    assert all(value.equal(expected[key]) for key, value in tensors.items())


@pytest.mark.parametrize('step', [1, 3, 4])
def test_interrupted_run_ends_where_an_uninterrupted_one_does(
        step, config, monkeypatch):
    """It keeps the steps of an epoch that it has not ended, as training."""
    whole = replace(config, out=config.out + '-whole')
    run_dynamics(whole)
    take_step = DynamicsModule.training_step

    def stop(self, batch, batch_idx):
        if self.step == step - 1:
            os.kill(os.getpid(), signal.SIGINT)
        return take_step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(DynamicsModule, 'training_step', stop)
        with pytest.raises(KeyboardInterrupt):
            run_dynamics(config)
    assert load_checkpoint(os.path.join(config.out, LAST))[1]['step'] == step
    load_forecaster(config.out)  # can be used
    run_dynamics(replace(config, resume=True))
    for name in (LAST, BEST):
        (tensors, found), (expected, other) = (
            load_checkpoint(os.path.join(out, name))
            for out in (config.out, whole.out))
        assert tensors.keys() == expected.keys()
        assert all(value.equal(expected[key])
                   for key, value in tensors.items())
        for row, like in zip(found['history'], other['history'], strict=True):
            assert dict(row, seconds=0) == dict(like, seconds=0)


def test_run_of_another_length(config, interrupted):
    """It has the rates that a run of that length has."""
    whole = replace(config, num_epochs=5, out=config.out + '-whole')
    run_dynamics(whole)
    rates = [row['learning_rate'] for row in load_checkpoint(
        os.path.join(whole.out, LAST))[1]['history']]
    assert replace(interrupted, num_epochs=None).num_epochs is None
    run_dynamics(replace(interrupted, num_epochs=5))
    path = os.path.join(config.out, LAST)
    _, description = load_checkpoint(path)
    history = description['history']
    assert [row['step'] for row in history] == [2, 4, 6, 8, 10]
    assert [row['learning_rate'] for row in history[1:]] == rates[1:]
    assert description['config']['num_epochs'] == 5
    # It is as long as it was, if nobody says how long.
    run_dynamics(replace(interrupted, num_epochs=None))
    assert load_checkpoint(path)[1]['history'] == history
    with pytest.raises(ValueError, match="'num_epochs' must be at least 5, as "
                       "the run has done 10 steps .got 4"):
        run_dynamics(replace(interrupted, num_epochs=4))


def test_shortened_run(interrupted):
    run_dynamics(replace(interrupted, num_epochs=2))
    _, description = load_checkpoint(os.path.join(interrupted.out, LAST))
    assert description['step'] == 4 and len(description['history']) == 2
    assert description['history'][-1]['learning_rate'] == 0.0


def test_how_long_a_step_takes(config, capsys, monkeypatch):
    monkeypatch.setattr('torch_sake.runs.trial.step_time',
                        lambda module, batch: 0.5)
    run_dynamics(replace(config, num_epochs=10, num_rollout=1))
    assert ('a step takes 500 ms: 20 steps take about 10 s\n'
            in capsys.readouterr().err)


def test_runs_of_the_loop_before(interrupted):
    """They ended with an epoch, and kept no random numbers."""
    whole = replace(interrupted, resume=False, out=interrupted.out + '-whole')
    run_dynamics(whole)
    path = os.path.join(interrupted.out, LAST)
    tensors, description = load_checkpoint(path)
    for name in ('random_state', 'losses'):
        del tensors[name], description[name]
    save_checkpoint(path, tensors, description)
    run_dynamics(interrupted)
    tensors, _ = load_checkpoint(path)
    expected, _ = load_checkpoint(os.path.join(whole.out, LAST))
    assert all(value.equal(expected[key]) for key, value in tensors.items())


def test_what_a_run_must_find(interrupted):
    path = os.path.join(interrupted.out, LAST)
    content = open(path, 'rb').read()
    for name, value, match in (
            ('kind', 'potential', "of a dynamics .*'potential'"),
            ('config', None, "'config' must be of type dict"),
            ('step', 4, "'step' must be that of the end of epoch 1"),
            ('step', None, "'step' must be of type int"),
            ('history', [], "'step' must be that of the end of epoch 0"),
            ('raw', None, "'raw' must be of type dict"),
            ('forecaster', {'__tensor__': 'x'}, "got no 'x'"),
            ('optimizer_states', [], "must be of 1 optimizers")):
        open(path, 'wb').write(content)
        tensors, description = load_checkpoint(path)
        save_checkpoint(path, tensors, {**description, name: value})
        with pytest.raises(ValueError, match=match) as caught:
            run_dynamics(interrupted)
        assert str(caught.value).startswith(f"'{path}'")
        assert '\n' not in str(caught.value)


def test_folder_that_is_gone(config, monkeypatch):
    validate = DynamicsModule.on_validation_epoch_end

    def remove(self):
        validate(self)
        if self.step == 4:
            shutil.rmtree(config.out)

    monkeypatch.setattr(DynamicsModule, 'on_validation_epoch_end', remove)
    with pytest.raises(ValueError, match="folder '.*run' of the run is gone"):
        run_dynamics(config)
    assert not os.path.exists(config.out)
    assert torch.is_grad_enabled()
