"""Runs on frames of several charges and spins."""

import json
import os
import signal
import warnings
from dataclasses import asdict, replace

import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import Frames, load_frames
from torch_sake.datasets.frames.charges import with_states
from torch_sake.datasets.frames.duplicates import (
    match_keys,
    same_structure,
    structure_keys,
)
from torch_sake.evaluation import evaluate as evaluation
from torch_sake.evaluation.config import EvaluateConfig
from torch_sake.evaluation.metrics import predict_batch
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.isolated import find_isolated
from torch_sake.training.model import build_model

lightning = pytest.importorskip('pytorch_lightning')

class Stop(lightning.Callback):
    def on_train_batch_end(self, trainer, module, *args):
        if module.step == 6:
            os.kill(os.getpid(), signal.SIGINT)


STATES = [(0, 1), (1, 2), (-1, 2)]


@pytest.fixture
def ions(water_file):
    """The frames of water, each with the energy of another ion."""
    frames = load_frames(water_file)
    infos = [dict(zip(('charge', 'spin'), STATES[index % 3]))
             for index in range(len(frames))]
    return with_infos(frames, infos)


def with_infos(frames, infos):
    data = [frames[index] for index in range(len(frames))]
    return Frames([one.z for one in data], [one.pos for one in data],
                  [one.energy.item() + 5.0 * info.get('charge', 0)
                   for one, info in zip(data, infos)],
                  [one.force for one in data], name='ions', source='ions',
                  units=frames.units, infos=infos)


@pytest.fixture
def embedding(config):
    return replace(config, embed_charge=True)


def test_settings(config):
    assert 'embed_charge' not in config.model_arguments
    on = replace(config, embed_charge=True)
    assert on.model_arguments['embed_charge'] is True
    with pytest.raises(TypeError, match="'embed_charge' must be true or"):
        replace(config, embed_charge=1)


def test_charges_are_learned(embedding, ions):
    trainer = Trainer(replace(embedding, num_steps=150, val_interval=50,
                              learning_rate=1e-2, energy_weight=1.0),
                      frames=ions)
    batch = next(iter(trainer.data.batches('train')))
    assert batch.charge.shape == batch.spin.shape == batch.energy.shape
    trainer.fit()
    _, description = load_checkpoint(embedding.out)
    assert description['states'] == [[-1, 2], [0, 1], [1, 2]]
    assert description['model']['arguments']['embed_charge'] is True
    # The frames of the ions are 5 eV apart, and so are these:
    potential = load_potential(embedding.out)
    z, pos = ions[0].z, ions[0].pos.float()
    low, middle, high = (float(potential.energy(
        z, pos, charge=charge, spin=spin).detach()) for charge, spin in sorted(
            STATES))
    assert 4 < middle - low < 6 and 4 < high - middle < 6
    # The structure of the checkpoint has its charge:
    tensors, _ = load_checkpoint(embedding.out)
    assert tensors['structure.charge'] == 0 and tensors['structure.spin'] == 1


def test_goes_on_exactly(embedding, ions, tmp_path):
    whole = Trainer(embedding, frames=ions)
    whole.fit()
    out = str(tmp_path / 'parts')
    part = Trainer(replace(embedding, out=out), frames=ions)
    with pytest.raises(KeyboardInterrupt):
        part.fit([Stop()])
    rest = Trainer(replace(embedding, out=out, resume=True), frames=ions)
    assert rest.step == 6
    rest.fit()
    for a, b in zip(whole.potential.parameters(), rest.potential.parameters()):
        assert torch.equal(a, b)
    with pytest.raises(ValueError, match="'embed_charge' must be True"):
        Trainer(replace(embedding, out=out, resume=True, embed_charge=False),
                frames=with_infos(ions, len(ions) * [{}]))


def test_several_need_the_setting(config, ions):
    with pytest.raises(ValueError, match="'charge' must be the same in all "
                       r"frames, unless 'embed_charge' .*got 0 in 'ions', "
                       r"frame 0 and 1 in 'ions', frame 1"):
        Trainer(config, frames=ions)


def test_one_is_kept(config, ions):
    trainer = Trainer(config, frames=with_infos(ions, len(ions) * [
        {'total_charge': -1, 'multiplicity': 2}]))
    assert trainer.data.states == [[-1, 2]]
    assert 'charge' not in next(iter(trainer.data.batches('train')))
    plain = Trainer(config, frames=with_infos(ions, len(ions) * [{}]))
    assert 'states' not in plain.data.description


class Own(torch.nn.Module):
    def __init__(self, hidden_channels, num_layers, num_rbf):
        super().__init__()


def test_models_of_users(config, ions):
    data = Trainer(config, frames=with_infos(ions, len(ions) * [{}])).data
    build_model(Own, config, data)
    with pytest.raises(ValueError, match="'embed_charge' must not be given "
                       'for .*:Own'):
        build_model(Own, replace(config, embed_charge=True), data)


def test_tuning(embedding, config, ions, tmp_path):
    Trainer(embedding, frames=ions).fit()
    tuning = TrainConfig(**{
        **asdict(config), 'out': str(tmp_path / 'tuned'),
        'init': embedding.out, 'freeze': 0, 'hidden_channels': None,
        'num_layers': None, 'num_rbf': None})
    more = with_infos(ions, [{'charge': 2 * (index % 2)}
                             for index in range(len(ions))])
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # labels differ
        trainer = Trainer(tuning, frames=more)
    assert trainer.config.embed_charge
    assert trainer.data.states == [[-1, 2], [0, 1], [1, 2], [2, 1]]
    electronic = trainer.potential.model.electronic
    assert not any(value.requires_grad for value in electronic.parameters())
    trainer.fit()
    expected = load_potential(embedding.out).model.electronic
    assert all(map(torch.equal, electronic.parameters(),
                   expected.parameters()))
    plain = replace(config, out=str(tmp_path / 'plain'))
    Trainer(plain, frames=with_infos(ions, len(ions) * [{}])).fit()
    with pytest.raises(ValueError, match="'embed_charge' must be that of the "
                       r"potential of 'init', False \(got True\)"):
        Trainer(replace(tuning, init=plain.out, embed_charge=True,
                        out=str(tmp_path / 'other')), frames=more)


def test_evaluation(embedding, ions, tmp_path, monkeypatch):
    Trainer(embedding, frames=ions).fit()
    monkeypatch.setattr(evaluation, 'load_data', lambda *args: ions)
    config = EvaluateConfig(checkpoint=[embedding.out], data='ions',
                            out=str(tmp_path / 'errors'))
    evaluation.evaluate(config)  # the test frames, as the data are the run's
    path = tmp_path / 'errors/evaluation.json'
    assert json.loads(path.read_text())['num_frames'] == 10
    config.part = 'all'
    evaluation.evaluate(config)
    report = json.loads(path.read_text())
    embedded, _ = with_states(ions, True)
    potential = load_potential(embedding.out)
    data = next(iter(DataLoader(embedded, batch_size=len(ions))))
    with torch.no_grad():
        error = predict_batch(potential, data)['energy'] - data.energy
    assert report['model']['energy_mae'] == pytest.approx(
        float(error.abs().mean()))
    other = with_infos(ions, len(ions) * [{'charge': 3, 'spin': 2}])
    monkeypatch.setattr(evaluation, 'load_data', lambda *args: other)
    with pytest.warns(UserWarning, match=r'was not trained on, \+3 and 2 \(it '
                      r'knows -1 and 2, 0 and 1, \+1 and 2\)'):
        evaluation.evaluate(config)


def test_isolated_atoms(config):
    """Atoms are references whatever spin they have, ions of one atom are
    frames as any other."""
    torch.manual_seed(0)
    z = [[8], [1], *20 * [[8, 1], [8]]]
    states = [(0, 3), (0, 2), *20 * [(-1, 1), (-1, 2)]]
    frames = Frames(
        [torch.tensor(one) for one in z], [torch.rand(len(one), 3).double()
                                           for one in z],
        [-2000.0, -13.0, *20 * [-2020.0, -2002.0]],
        [torch.zeros(len(one), 3) for one in z], name='ions', source='ions',
        units={'length': 'Angstrom', 'energy': 'eV'},
        infos=[dict(zip(('charge', 'spin'), state)) for state in states])
    config = replace(config, embed_charge=True, atomic_energies='isolated')
    trainer = Trainer(config, frames=frames)
    assert trainer.data.states == [[-1, 1], [-1, 2]]
    parts = torch.cat([*vars(trainer.data.split).values()])
    assert sorted(parts.tolist()) == [*range(2, 42)]
    trainer.fit()
    potential = load_potential(config.out)
    for number, energy, spin in ((8, -2000.0, 3), (1, -13.0, 2)):
        for state in ({}, {'charge': 0, 'spin': spin}):
            found = potential.energy(torch.tensor([number]),
                                     torch.zeros(1, 3), **state)
            assert float(found.detach()) == pytest.approx(energy, abs=1e-9)
    with pytest.raises(ValueError, match="'ions', frame 1: An isolated atom, "
                       "as 'config_type' calls it, must be neutral"):
        find_isolated(Frames(
            [torch.tensor([1])] * 2, [torch.zeros(1, 3)] * 2, [0.0, 1.0],
            name='ions', source='ions', units=frames.units, infos=[
                {}, {'config_type': 'IsolatedAtom', 'total_charge': 1}]))


def find_repeats(frames):
    """The frames that were there before, each with the first one of them."""
    keys = structure_keys(frames)
    first = match_keys(keys, keys).tolist()
    return [(index, other) for index, other in enumerate(first)
            if index != other and same_structure(frames[index],
                                                 frames[other])]


def test_ions_are_no_duplicates(config, ions):
    """One place of the atoms with two charges is two frames."""
    data = [ions[0], ions[0], ions[1], ions[1]]
    frames = Frames([one.z for one in data], [one.pos for one in data],
                    [0.0, 1.0, 2.0, 3.0], name='ions', source='ions',
                    units=ions.units, infos=[
                        {'charge': 0}, {'charge': 1, 'spin': 2},
                        {'charge': 0}, {'charge': 0}])
    assert find_repeats(frames) == [(1, 0), (3, 2)]
    embedded, _ = with_states(frames, True)
    assert find_repeats(embedded) == [(3, 2)]
    assert find_repeats(embedded[[1, 0]]) == []
