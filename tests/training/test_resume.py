"""What a run goes on from, and a folder that goes away meanwhile."""

import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch

from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.utils.inputs import LAST

lightning = pytest.importorskip('pytorch_lightning')
from torch_sake.training import Trainer  # noqa: E402


@pytest.fixture
def run(config):
    config = replace(config, num_steps=4, num_layers=1, hidden_channels=4)
    Trainer(config).fit()
    return replace(config, resume=True)


def set_to(value):
    return lambda tensors, description, name: description.update({
        name: value})


def remove(tensors, description, name):
    del description[name]


def in_tensor(function):
    def change(tensors, description, name):
        tensors[name] = function(tensors[name])
    return change


MOMENT = 'optimizer_states.1.state.0.exp_avg'
COUNT = 'optimizer_states.1.state.0.step'
CASES = [
    ('kind', set_to('dynamics'), "of a potential .*'dynamics'"),
    ('config', set_to([]), "'config' must be of type dict"),
    ('config', remove, "'config' must be of type dict .got None"),
    ('step', remove, "'step' is missing"),
    ('step', set_to(-1), "'step' must not be negative"),
    ('step', set_to(10**12), "'step' must be at most the number of steps"),
    ('step', set_to('4'), "'step' must be of type int"),
    ('history', set_to([1]), "'history.0' must be of type dict"),
    ('history', set_to([{'step': 4}]), "'history.0.seconds' is missing"),
    ('split', set_to(None), "'split' must be of type dict"),
    ('raw', remove, "'raw' is missing"),
    ('raw', set_to({'__tensors__': 'x.', 'names': ['a']}), "got no 'x.a'"),
    ('raw', set_to({'__tensors__': 'raw.', 'names': 5}), 'must stand for te'),
    ('random_state', in_tensor(lambda value: value[:7]), r"shape \[5056\]"),
    ('losses', in_tensor(lambda value: torch.tensor(1.0)), "'losses' must h"),
    ('optimizer_states', set_to([]), "'optimizer_states' must be of 2 opti"),
    ('optimizer_states', set_to([1, 2]), "'optimizer_states.0' must be of t"),
    (MOMENT, in_tensor(torch.Tensor.flatten), f"'{MOMENT}' must be a tensor"),
    (MOMENT, in_tensor(lambda value: value / 0), f"'{MOMENT}' must be finit"),
    (COUNT, in_tensor(lambda value: -value), f"'{COUNT}' must be from 1 to"),
    ('raw.model.mlp_out.0.weight', in_tensor(torch.Tensor.double),
     "float32 .*float64"),
    ('potential.model.mlp_out.0.weight', in_tensor(
        lambda value: value * torch.nan), "must be finite"),
    ('pytorch-lightning_version', set_to('new'), "must be a version"),
    ('pytorch-lightning_version', remove, "'pytorch-lightning_version' is"),
    ('callbacks', set_to(None), "'callbacks' must be of type dict"),
]


def test_what_a_run_must_find(run):
    path = os.path.join(run.out, LAST)
    trainer, content = Trainer(run), open(path, 'rb').read()
    for name, change, match in CASES:
        open(path, 'wb').write(content)
        tensors, description = load_checkpoint(path)
        change(tensors, description, name)
        save_checkpoint(path, tensors, description)
        with pytest.raises(ValueError, match=match) as caught:
            trainer._restore()
        assert str(caught.value).startswith(f"'{path}'")
        assert '\n' not in str(caught.value)
    with pytest.raises(ValueError, match=match):
        Trainer(run)
    open(path, 'wb').write(content[:-9])
    with pytest.raises(ValueError, match='not a complete safetensors file'):
        Trainer(run)


class Kill(lightning.Callback):
    def on_train_batch_start(self, trainer, module, *args):
        if module.step == 5:
            os.kill(os.getpid(), signal.SIGINT)


def test_what_is_lightnings_does_not_matter(config):
    """It follows from the number of steps and the settings."""
    whole = Trainer(config)
    whole.fit()
    config = replace(config, out=config.out + '-2')
    with pytest.raises(KeyboardInterrupt):
        Trainer(config).fit([Kill()])
    path = os.path.join(config.out, LAST)
    tensors, description = load_checkpoint(path)
    for state in description['optimizer_states']:
        state['param_groups'] = [{'lr': -1.0, 'params': 'none'}]
    description.update(loops={'fit_loop': 3}, epoch='x', global_step=-5,
                       lr_schedulers=[{'a': 1}])
    save_checkpoint(path, tensors, description)
    trainer = Trainer(replace(config, resume=True))
    assert trainer.step == 6
    trainer.fit()
    expected = whole.potential.state_dict()
    for key, value in trainer.potential.state_dict().items():
        assert torch.equal(value, expected[key]), key


class Remove(lightning.Callback):
    def __init__(self, folder, step):
        self.folder, self.step = folder, step

    def on_train_batch_end(self, trainer, module, *args):
        if module.step == self.step:
            shutil.rmtree(self.folder)


def test_folder_that_is_gone(config):
    trainer = Trainer(config)
    with pytest.raises(ValueError, match="folder '.*run' of the run is gone"):
        trainer.fit([Remove(config.out, 6)])
    assert trainer.step == 8  # not later than at the next validation
    assert not os.path.exists(config.out)
