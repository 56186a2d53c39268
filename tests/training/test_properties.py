"""Training on properties that are no energies."""

import csv
import json
import os
from dataclasses import replace

import numpy
import pytest
import torch
from torch_geometric.loader import DataLoader
from torch_geometric.nn.models import SchNet

from torch_sake import (
    Property,
    RadiusInteractionGraph,
    load_potential,
    load_property,
)
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import Frames, qm9_frames
from torch_sake.evaluation.metrics import (
    error_metrics,
    predict,
    trivial_labels,
)
from torch_sake.training import TrainConfig, Trainer, data
from torch_sake.training.label_statistics import summarize
from torch_sake.training.references import batch_weights
from torch_sake.utils.inputs import LAST

ase_data = pytest.importorskip('ase.data')
lightning = pytest.importorskip('pytorch_lightning')


@pytest.fixture
def config(qm9_root, tmp_path) -> TrainConfig:
    """A small run on a dipole moment."""
    return TrainConfig(data='qm9:mu', root=qm9_root, num_train=40, num_val=8,
                       out=str(tmp_path / 'run'), num_steps=12, batch_size=4,
                       val_interval=4, hidden_channels=8, num_layers=2,
                       num_rbf=8)


@pytest.mark.parametrize('target, model', [
    ('mu', 'SAKE'), ('r2', 'VectorSAKE'), ('homo', 'VectorSAKE')
])
def test_training_learns(config, target, model):
    trainer = Trainer(replace(
        config, data=f'qm9:{target}', model=model, num_steps=120,
        val_interval=60, hidden_channels=16, num_rbf=16, learning_rate=1e-2,
        batch_size=8))
    trainer.fit()
    trained = load_property(config.out)
    assert isinstance(trained, Property) and trained.name == target
    outputs = predict(trained, trainer.data.batches('train'),
                      'cpu')
    assert set(outputs.properties) == {target}
    error = error_metrics(outputs)[f'{target}_mae']
    trivial = trivial_labels(trained, trainer.data.batches('train'))
    assert error < 0.5 * float(
        (trivial - outputs[target].label).abs().mean())
    assert trainer.best * trainer.data.scale == pytest.approx(
        min(metrics[f'{target}_mae'] for metrics in trainer.history))
    with open(os.path.join(config.out, 'metrics.csv')) as file:
        rows = list(csv.DictReader(file))
    assert set(rows[-1]) == {'step', 'seconds', 'learning_rate', 'loss',
                             f'{target}_mae', f'{target}_rmse'}


def charges(readout, name, seed=0):
    """Frames with moments of charges of the elements, without references."""
    generator = numpy.random.default_rng(seed)
    z, pos, labels = [], [], []
    for _ in range(64):
        z.append(generator.choice([1, 6, 7, 8], 6))
        pos.append(generator.normal(0, 1.5, (6, 3)))
        mass = ase_data.atomic_masses[z[-1]]
        arm = pos[-1] - mass @ pos[-1] / mass.sum()
        charge = numpy.sin(z[-1])
        labels.append(
            numpy.linalg.norm(charge @ arm) if name == 'mu' else
            charge @ (arm**2).sum(axis=1))
    return Frames(z, pos, labels, name=name, source='charges',
                  units={'length': 'Angstrom', name: 'D'}, readout=readout)


def errors(config, readout, name, monkeypatch):
    """Of atoms that do not see each other, on the test frames, in units of
    the mean absolute label."""
    monkeypatch.setattr(data, 'load_config_frames',
                        lambda *args, **kwargs: charges(readout, name))
    trainer = Trainer(replace(
        config, data=name, cutoff=1e-3, num_train=32, num_val=8,
        num_steps=200, val_interval=50, batch_size=8, learning_rate=1e-2,
        ema_decay=0.9, out=f'{config.out}-{readout}'))
    trainer.fit()
    outputs = predict(load_property(trainer.config.out),
                      trainer.data.batches('test'), 'cpu')
    return error_metrics(outputs)[f'{name}_mae'] / float(
        outputs[name].label.abs().mean())


@pytest.mark.slow
def test_a_dipole_moment_that_only_its_head_can_express(config, monkeypatch):
    assert errors(config, 'dipole', 'mu', monkeypatch) < 0.02
    assert errors(config, 'add', 'mu', monkeypatch) > 0.2


@pytest.mark.slow
def test_a_second_moment_that_only_its_head_can_express(config, monkeypatch):
    # Charges of elements are found by the references already.
    assert errors(config, 'extent', 'r2', monkeypatch) < 1e-5
    assert errors(config, 'add', 'r2', monkeypatch) > 0.2


@pytest.mark.parametrize('target, model', [('r2', 'SAKE'),
                                           ('mu', 'VectorSAKE')])
def test_checkpoint_keeps_the_head(config, target, model):
    trainer = Trainer(replace(config, data=f'qm9:{target}', model=model,
                              num_steps=4))
    trainer.fit()
    trained = load_property(config.out)
    z = torch.tensor([8, 1, 1, 6])
    pos = torch.randn(4, 3)
    for path in (config.out, os.path.join(config.out, LAST)):
        loaded = load_property(path)
        assert torch.equal(loaded(z, pos), trainer.average.module(z, pos))
        assert str(loaded) == str(trainer.average.module)
    assert str(type(trained.model).__name__) == model
    assert trained.readout == {'r2': 'extent', 'mu': 'dipole'}[target]
    _, description = load_checkpoint(config.out)
    assert description['units'] == {
        'length': 'Angstrom', target: {'r2': 'a0^2', 'mu': 'mD'}[target]}
    assert (description['kind'], description['label']) == ('property', target)
    with pytest.raises(ValueError, match="of a potential .*'property'"):
        load_potential(config.out)


def test_potentials_are_no_properties(config, water_file):
    Trainer(replace(config, data=water_file, num_train=16, num_val=4,
                    num_steps=1)).fit()
    with pytest.raises(ValueError, match="of a property .*'potential'"):
        load_property(config.out)


@pytest.mark.parametrize('target', ['r2', 'homo', 'u0'])
def test_models_read_out_as_the_references_do(config, target):
    """One more from each atom, by the model or by the references."""
    trainer = Trainer(replace(config, data=f'qm9:{target}',
                              precision='float64'))
    potential = trainer.potential
    batch = next(iter(trainer.data.batches('train')))
    before = potential(batch.z, batch.pos, batch.batch)
    with torch.no_grad():
        potential.model.mlp_out[-1].bias += 1
    change = potential(batch.z, batch.pos, batch.batch) - before
    potential.atomic_energies.fill_(1.0)
    expected = potential.references(batch.z, batch.pos, batch.batch,
                                    batch.num_graphs)
    assert torch.allclose(change / trainer.data.output_scale, expected)


def test_scales(config):
    """References take what they can, and models begin near zero."""
    for target in ('mu', 'r2', 'homo', 'u0'):
        trainer = Trainer(replace(config, data=f'qm9:{target}',
                                  out=f'{config.out}-{target}'))
        train = trainer.data.frames[trainer.data.split.train]
        trivial = trivial_labels(trainer.potential,
                                 trainer.data.batches('train'))
        rest = torch.cat([frame[target] for frame in train]) - trivial
        assert trainer.data.scale == pytest.approx(
            float(rest.square().mean().sqrt()))
        outputs = predict(trainer.potential, trainer.data.batches('train'),
                          'cpu')
        start = outputs[target].value - trivial
        assert float(start.abs().mean()) < 3 * trainer.data.scale


@pytest.mark.parametrize('target, power', [('mu', 1), ('r2', 2), ('homo', 0)])
def test_summary_of_batches_is_that_of_all(qm9_root, target, power):
    frames = qm9_frames(qm9_root, target)
    small, whole = (summarize(DataLoader(frames, batch_size=size), target,
                              frames.readout) for size in (7, 58))
    assert small.elements == whole.elements == [1, 6, 7, 8, 9]
    for key in ('scale', 'moment_size'):
        assert getattr(small, key) == pytest.approx(getattr(whole, key))
    squares = []
    for frame in frames:
        mass = ase_data.atomic_masses[frame.z]
        arm = frame.pos.numpy() - mass @ frame.pos.numpy() / mass.sum()
        squares += (arm**2).sum(axis=1).tolist()
    assert whole.moment_size == pytest.approx(
        numpy.mean(squares)**(power / 2))
    if target == 'mu':
        assert small.atomic_energies is whole.atomic_energies is None
    else:
        assert torch.allclose(small.atomic_energies, whole.atomic_energies)


@pytest.mark.parametrize('target', ['mu', 'r2', 'homo', 'u0'])
def test_fine_tuning(config, target):
    """It starts with the outputs of the property, refitted or not."""
    config = replace(config, data=f'qm9:{target}', num_steps=2)
    Trainer(config).fit()
    tuning = replace(config, init=config.out, hidden_channels=None, seed=1,
                     num_layers=None, num_rbf=None, num_train=30, num_steps=4,
                     out=config.out + '-2')
    trainer = Trainer(tuning)
    data = trainer.data
    loader = data.batches('train')
    before = load_property(config.out)
    expected = predict(before, loader, 'cpu')[target].value
    outputs = predict(trainer.potential.eval(), loader, 'cpu')
    assert torch.equal(outputs[target].value, expected)
    assert data.scale == before.energy_scale * data.moment_size
    trainer.fit()
    trained = load_property(tuning.out)
    assert str(trained) == str(before)
    assert trained.energy_scale == before.energy_scale

    refitted = Trainer(replace(tuning, refit=True, out=config.out + '-3'))
    outputs = predict(refitted.potential.eval(), loader, 'cpu')
    if target == 'mu':
        assert torch.equal(outputs[target].value, expected)
        return
    # No references leave less: what is left has no part of an element's.
    left = outputs[target].error
    part = next(iter(DataLoader(data.frames[data.split.train],
                                batch_size=30)))
    for element in data.elements:
        weight = batch_weights(before.readout, part) * (part.z == element)
        weight = torch.zeros(30).double().index_add(0, part.batch, weight)
        assert abs(float(left @ weight)) < 1e-6 * float(
            weight.norm() * outputs[target].label.norm())
    assert left.norm() < 0.999 * float(
        (expected - outputs[target].label).norm())


def test_fine_tuning_keeps_the_property(config, water_file, monkeypatch):
    Trainer(replace(config, num_steps=1)).fit()
    tuning = replace(config, init=config.out, hidden_channels=None,
                     num_layers=None, num_rbf=None, out=config.out + '-2')
    for other in (dict(data='qm9:r2'),
                  dict(data=water_file, num_train=16, num_val=4)):
        with pytest.raises(ValueError, match="units .*'mu': 'mD'.*got"):
            Trainer(replace(tuning, **other))
    frames = charges('add', 'mu')
    frames.units['mu'] = 'mD'
    monkeypatch.setattr(data, 'load_config_frames',
                        lambda *args, **kwargs: frames)
    with pytest.raises(ValueError, match="readout .*'dipole' .got 'add'"):
        Trainer(tuning)


def test_resumed_run_ends_where_an_uninterrupted_one_does(config):
    config = replace(config, data='qm9:r2')
    whole = Trainer(config)
    whole.fit()

    class Stop(lightning.Callback):
        def on_train_batch_start(self, trainer, module, *args):
            if module.step == 6:
                raise SystemExit

    interrupted = Trainer(replace(config, out=config.out + '-2'))
    with pytest.raises(SystemExit):
        interrupted.fit([Stop()])
    resumed = Trainer(replace(interrupted.config, resume=True))
    assert resumed.step == 4
    resumed.fit()
    expected = whole.potential.state_dict()
    for key, value in resumed.potential.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_split(config, tmp_path):
    """The published one for all seeds of runs, or one's own."""
    first = Trainer(config).data.split
    other = Trainer(replace(config, seed=1, data='qm9:gap',
                            out=config.out + '-2')).data.split
    for name, size in (('train', 40), ('val', 8), ('test', 10)):
        assert len(getattr(first, name)) == size
        assert torch.equal(getattr(first, name), getattr(other, name))
    order = numpy.random.default_rng(0).permutation(58)
    assert first.train.tolist() == order[:40].tolist()

    path = str(tmp_path / 'split.npz')
    numpy.savez(path, train=[3, 1], val=[0], test=[5])
    own = Trainer(replace(config, split=path, out=config.out + '-3'))
    assert own.data.split.train.tolist() == [3, 1]


def test_published_sizes_of_the_split(qm9_root, tmp_path):
    config = TrainConfig(data='qm9:mu', root=qm9_root, out=str(tmp_path / 'a'))
    assert (config.num_train, config.num_val) == (110_000, 10_000)
    with pytest.raises(ValueError, match=r"at most 58.*got 110000 \+ 10000"):
        Trainer(config)
    # Those of other data follow from how many frames there are.
    config = TrainConfig(data='water.xyz')
    assert (config.num_train, config.num_val) == (None, None)
    assert config.default_sizes == (950, 50)


def test_models_of_others(config):
    trainer = Trainer(config, SchNet(
        8, 8, 1, 8, dipole=True,
        interaction_graph=RadiusInteractionGraph(5.0)))
    trainer.fit()
    assert len(trainer.history) == 3
    with pytest.raises(ValueError, match='of a model of torch_sake'):
        load_property(config.out)


@pytest.mark.parametrize('changes', [dict(zbl=True),
                                     dict(energy_per_atom=True)], ids=str)
def test_settings_for_energies(config, changes):
    with pytest.raises(ValueError, match=f"'{next(iter(changes))}' must not "
                       "be set for data without energies .got 'mu'"):
        Trainer(replace(config, **changes))


def test_command_line(config, qm9_root, capsys):
    pytest.importorskip('jsonargparse')
    pytest.importorskip('matplotlib')
    from torch_sake.cli import main
    small = ['--num_train', '40', '--num_val', '8', '--num_steps', '4',
             '--val_interval', '2', '--hidden_channels', '8', '--num_layers',
             '1', '--num_rbf', '4']
    out = config.out
    assert main(['train', '--data', 'qm9:u0', '--root', qm9_root, '--out', out,
                 *small]) == 0
    printed = capsys.readouterr().out
    assert 'frames with u0 [meV],' in printed and 'per atom' not in printed
    assert 'Errors on the test frames (10;' in printed
    assert '\ncomposition ' in printed
    assert sorted(os.listdir(out)) == [
        'best.safetensors', 'config.yaml', 'error_distribution.png',
        'errors.csv', 'frames.csv', 'last.safetensors', 'learning_curve.png',
        'metrics.csv', 'parity.png', 'test.json'
    ]
    trained = json.load(open(os.path.join(out, 'test.json')))
    assert trained['units'] == {'length': 'Angstrom', 'u0': 'meV'}
    assert set(trained['model']) == {'u0_mae', 'u0_rmse'}
    assert set(trained['intervals']) == {'u0_mae', 'u0_rmse'}
    assert sum(group['num_frames']
               for group in trained['sizes'].values()) == 10
    for kind in ('elements', 'sizes'):
        for group in trained[kind].values():
            assert {'u0_mae', 'u0_rmse'} < set(group)
    assert set(trained['elements']) == set('HCNOF')

    assert main(['evaluate', '--checkpoint', out, '--data', 'qm9:u0',
                 '--root', qm9_root]) == 0
    path = os.path.join(out, 'evaluation', 'evaluation.json')
    assert json.load(open(path)) == trained
    assert main(['evaluate', '--checkpoint', out, '--data', 'qm9:g', '--root',
                 qm9_root]) == 2
    assert "'u0': 'meV'} (got {'length'" in capsys.readouterr().err
    assert main(['md', '--checkpoint', out]) == 2
    assert 'must be of a potential' in capsys.readouterr().err
    assert main(['train', '--data', 'qm9:U0', '--root', qm9_root]) == 2
    assert "must be one of ['alpha', 'cv'" in capsys.readouterr().err


def test_sizes_for_frames_at_hand(qm9_root, tmp_path):
    """They are no published ones: the frames may be some of the data."""
    frames = qm9_frames(qm9_root, 'mu')
    config = TrainConfig(out=str(tmp_path / 'a'), num_val=5)
    with pytest.raises(ValueError, match=r"at most 58.*got 950 \+ 5"):
        Trainer(config, frames=frames)
