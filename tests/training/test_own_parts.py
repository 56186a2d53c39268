"""Frames, models and losses of one's own in a training run."""

import os
from dataclasses import replace

import pytest
import torch
from torch_geometric.nn import global_add_pool

from torch_sake import RadiusInteractionGraph, VectorSAKE, load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import read_frames
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.losses import PENALTIES, WeightedLoss

pytest.importorskip('pytorch_lightning')


class PairModel(torch.nn.Module):
    """A sum over pairs, with settings of its own."""
    def __init__(self, hidden_channels: int = 4, cutoff: float = 3.0,
                 avg_num_neighbors: float = 8.0):
        super().__init__()
        self.interaction_graph = RadiusInteractionGraph(cutoff)
        self.avg_num_neighbors = avg_num_neighbors
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(1, hidden_channels), torch.nn.SiLU(),
            torch.nn.Linear(hidden_channels, 1))

    def forward(self, z, pos, batch):
        (row, column), length = self.interaction_graph(pos, batch)
        pairs = self.mlp(length.unsqueeze(1)) / self.avg_num_neighbors
        return global_add_pool(pairs, batch[row], int(batch.max()) + 1)


class Plain(PairModel):
    def __init__(self):
        super().__init__()


def test_frames(config):
    frames = read_frames(config.data)
    whole = Trainer(config)
    whole.fit()
    given = replace(config, data='xtb:water', out=config.out + '-2')
    trainer = Trainer(given, frames=frames)
    assert trainer.data.frames is frames
    trainer.fit()
    state = trainer.potential.state_dict()
    for key, value in whole.potential.state_dict().items():
        assert torch.equal(value, state[key]), key
    # The run names the data, and knows them.
    assert load_checkpoint(given.out)[1]['config']['data'] == frames.source
    assert Trainer(replace(given, resume=True), frames=frames).step == 12
    with pytest.raises(ValueError, match="'resume' needs the data of the run"):
        Trainer(replace(given, resume=True), frames=frames[:25])
    with pytest.raises(TypeError, match="'frames' must be Frames or FramesOn"):
        Trainer(replace(config, out=config.out + '-3'), frames=[frames[0]])


@pytest.mark.parametrize('as_text', [False, True])
def test_class_of_a_model(config, as_text, monkeypatch):
    name = f'{PairModel.__module__}:PairModel'
    model = name if as_text else PairModel
    trainer = Trainer(replace(config, cutoff=2.5), model)
    trainer.fit()
    description = load_checkpoint(config.out)[1]['model']
    assert description == {'name': name, 'arguments': {
        'hidden_channels': 8, 'cutoff': 2.5, 'avg_num_neighbors':
        trainer.data.avg_num_neighbors(2.5)}}
    expected = trainer.average.module.state_dict()
    last = os.path.join(config.out, 'last.safetensors')
    for key, value in load_potential(last, model=model).state_dict().items():
        assert torch.equal(value, expected[key]), key
    with pytest.raises(ValueError, match=f"its model is '{name}'"):
        load_potential(config.out)
    # The run names the model.
    resumed = Trainer(replace(config, cutoff=2.5, resume=True, model=name))
    assert resumed.step == 12 and resumed.config == replace(
        trainer.config, resume=True)


@pytest.fixture
def config(config):
    return replace(config, num_layers=None, num_rbf=None)


def test_settings_that_a_model_does_not_take(config):
    for change, match in (
            (dict(), "'hidden_channels' must not be given for .*:Plain, "),
            (dict(hidden_channels=None, cutoff=2.0), "'cutoff' must not be"),
            (dict(hidden_channels=None, num_layers=2), "'num_layers' must")):
        with pytest.raises(ValueError, match=match):
            Trainer(replace(config, **change), Plain)
    trainer = Trainer(replace(config, hidden_channels=None), Plain)
    assert trainer.module.description['model']['arguments'] == {}
    for model in (3, 'SchNet', 'torch_sake.models:find_nothing', dict):
        with pytest.raises((TypeError, ValueError), match="'model' must be"):
            Trainer(config, model)


def test_class_without_import_path(config):
    class Local(PairModel):
        pass

    with pytest.raises(ValueError, match="'model' must be a class of a mod"):
        Trainer(config, Local)


class Own(VectorSAKE):
    pass


def test_class_of_this_package(config):
    trainer = Trainer(config)
    description = trainer.module.description['model']
    assert description == {'name': 'VectorSAKE', 'arguments': {
        'hidden_channels': 8, 'cutoff': 5.0, 'avg_num_neighbors': 2.0}}
    assert Trainer(config, VectorSAKE).module.description['model'] == (
        description)
    first, *_ = Trainer(config, Own).potential.model.stack.convs
    assert first.avg_num_neighbors == 2.0
    published = Trainer(replace(config, model='SAKE')).module.description
    assert published['model'] == {'name': 'SAKE', 'arguments': {
        'hidden_channels': 8, 'cutoff': 5.0}}


class PerAtom(WeightedLoss):
    """Errors of energies count by the number of atoms."""
    def __call__(self, outputs, labels, num_atoms):
        loss = super().__call__(outputs, labels, num_atoms)
        return loss + (outputs['energy'] / num_atoms).square().mean()


def test_loss(config):
    def weights(loss=None, **changes):
        out = f'{config.out}-{len(runs)}'
        trainer = Trainer(replace(config, num_steps=2, out=out, **changes),
                          loss=loss)
        trainer.fit()
        runs.append(trainer.potential.state_dict()['model.embedding.weight'])
        return trainer

    runs = []
    weights(loss=PENALTIES['huber'])
    weights(**{'loss': PENALTIES['l2']})
    assert weights(PerAtom).module.loss.penalty is PENALTIES['norm']
    for name in ('huber', 'l2', 'norm'):
        trainer = Trainer(replace(config, num_steps=2, loss=name,
                                  out=f'{config.out}-{name}'))
        trainer.fit()
        runs.append(trainer.potential.state_dict()['model.embedding.weight'])
    assert torch.equal(runs[0], runs[3]) and torch.equal(runs[1], runs[4])
    assert not torch.equal(runs[2], runs[5])


def test_what_is_no_loss(config):
    for loss in (3, dict):
        with pytest.raises(TypeError, match="'loss' must be a function"):
            Trainer(config, loss=loss)
    with pytest.raises(ValueError, match="'loss' must be one of"):
        WeightedLoss('l3', {'energy': 1.0}, {'energy': 1.0})
    loss = WeightedLoss(torch.mean, {'energy': 1.0}, {'energy': 1.0})
    with pytest.raises(ValueError, match="one number for each of 3 rows"):
        loss({'energy': torch.zeros(3)}, {'energy': torch.zeros(3)},
             torch.ones(3))


def test_own_model_needs_no_pretrained(config):
    with pytest.raises(ValueError, match="'init' must not be given"):
        Trainer(TrainConfig(data=config.data, init=config.out,
                            out=config.out + '-2'), PairModel)
