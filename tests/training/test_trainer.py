import csv
import json
import os
import signal
import warnings
from dataclasses import replace

import numpy
import pytest
import torch
from torch_geometric.nn.models import SchNet

from torch_sake import Potential, VectorSAKE, load_potential
from torch_sake.checkpoint import FORMAT, load_checkpoint, save_checkpoint
from torch_sake.evaluation.metrics import error_metrics, predict
from torch_sake.evaluation.predictions import Predicted, Predictions
from torch_sake.optim.optimizers import build_optimizers
from torch_sake.training import TrainConfig, Trainer
from torch_sake.utils.inputs import BEST, LAST

pytest.importorskip('ase')
lightning = pytest.importorskip('pytorch_lightning')


@pytest.mark.parametrize('model', ['SAKE', 'VectorSAKE'])
def test_training_learns(config, model):
    trainer = Trainer(replace(config, model=model, num_steps=150,
                              val_interval=50, hidden_channels=16, num_rbf=16,
                              learning_rate=1e-2))
    trainer.fit()
    outputs = predict(load_potential(config.out),
                      trainer.data.batches('test', 8), 'cpu')
    trivial = float(outputs['force'].label.abs().mean())
    assert error_metrics(outputs)['force_mae'] < 0.2 * trivial
    assert float(outputs['energy'].error.abs().mean()
                 ) < float(outputs['energy'].label.std())

    with open(os.path.join(config.out, 'metrics.csv')) as file:
        rows = list(csv.DictReader(file))
    assert [int(row['step']) for row in rows] == [50, 100, 150]
    assert float(rows[-1]['force_mae']) < float(rows[0]['force_mae'])


def test_training_on_energies_alone(config, energy_file, monkeypatch):
    def forward(*args, **kwargs):
        raise AssertionError('Forces are computed')

    monkeypatch.setattr(Potential, 'forward', forward)
    trainer = Trainer(replace(config, data=energy_file, num_steps=150,
                              val_interval=50, hidden_channels=16, num_rbf=16,
                              learning_rate=1e-2, energy_weight=0.0))
    train = trainer.data.frames[trainer.data.split.train]
    # Of one composition, of which the references leave the deviations.
    assert trainer.data.scale == pytest.approx(
        float(train.energy.std(correction=0)))
    trainer.fit()
    assert set(trainer.history[0]) == {
        'step', 'seconds', 'learning_rate', 'loss', 'energy_mae',
        'energy_rmse', 'energy_per_atom_mae', 'energy_per_atom_rmse'
    }
    assert trainer.best * trainer.data.scale == pytest.approx(
        min(metrics['energy_mae'] for metrics in trainer.history))
    outputs = predict(load_potential(config.out),
                      trainer.data.batches('train', 8), 'cpu')
    assert set(outputs.properties) == {'energy'}
    assert error_metrics(outputs)['energy_mae'] < 0.5 * float(
        outputs['energy'].label.std())


@pytest.mark.parametrize('data', ['water_file', 'energy_file'])
def test_loss_and_score(config, data, request):
    trainer = Trainer(replace(config, data=request.getfixturevalue(data),
                              val_interval=1, num_steps=1, batch_size=16))
    batch = next(iter(trainer.data.batches('train', 16)))
    energy, forces, _ = trainer.potential(batch.z, batch.pos.float(),
                                          batch.batch)
    expected = float((energy - batch.energy).abs().mean().detach())
    if data == 'water_file':
        length = (forces - batch.force).square().sum(dim=1).sqrt()
        expected = float(
            length.mean().detach()) + config.energy_weight * expected
    trainer.fit()
    metrics, = trainer.history
    scale = trainer.data.scale
    assert metrics['loss'] == pytest.approx(expected / scale, rel=1e-4)
    score = metrics['energy_mae']
    if data == 'water_file':
        score = metrics['force_mae'] + config.energy_weight * score
    assert trainer.best == pytest.approx(score / scale)


@pytest.mark.parametrize('stop, signum, data, changes', [
    (1, signal.SIGINT, 'water_file', {}),
    (6, signal.SIGTERM, 'water_file', {'optimizer': 'adam'}),
    pytest.param(8, signal.SIGINT, 'water_file', {'compile': True},
                 marks=[pytest.mark.compile, pytest.mark.slow]),
    (6, signal.SIGINT, 'energy_file', {}),
])
def test_resumed_run_ends_where_an_uninterrupted_one_does(
        config, stop, signum, data, changes, request):
    config = replace(config, data=request.getfixturevalue(data), **changes)
    whole = Trainer(config)
    whole.fit()

    class Kill(lightning.Callback):
        def on_train_batch_start(self, trainer, module, *args):
            if module.step == stop - 1:
                os.kill(os.getpid(), signum)

    interrupted = Trainer(replace(config, out=config.out + '-2'))
    handler = signal.getsignal(signum)
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit([Kill()])
    load_potential(interrupted.config.out)  # can be used
    assert signal.getsignal(signum) == handler  # as before
    resumed = Trainer(replace(interrupted.config, resume=True))
    assert resumed.step == stop
    resumed.fit()
    assert resumed.potential.compiled == bool(config.compile)
    expected = whole.potential.state_dict()
    for key, value in resumed.potential.state_dict().items():
        assert torch.equal(value, expected[key]), key
    expected = load_potential(config.out).state_dict()
    for key, value in load_potential(resumed.config.out).state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert [metrics['step'] for metrics in resumed.history] == [4, 8, 12]
    for metrics, expected in zip(resumed.history, whole.history):
        assert dict(metrics, seconds=0) == dict(expected, seconds=0)


@pytest.mark.parametrize('model', ['SAKE', 'VectorSAKE'])
def test_cutoff_in_which_there_is_nobody(config, model):
    with pytest.raises(ValueError, match=r"'cutoff' must be larger than the "
                       r"distance .*, in Angstrom \(got 0.5\)"):
        Trainer(replace(config, model=model, cutoff=0.5))


def test_weight_of_stresses_that_are_not_there(config):
    with pytest.raises(ValueError, match="'stress_weight' must not be given "
                       "for data without stresses .got 5.0"):
        Trainer(replace(config, stress_weight=5.0))
    Trainer(replace(config, stress_weight=0.0))


def test_long_runs_are_compiled(config):
    assert not replace(config, num_steps=2999).compiles
    assert replace(config, num_steps=3000).compiles
    assert not replace(config, num_steps=3000, compile=False).compiles
    assert replace(config, num_steps=3000, model='SAKE').compiles
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        own = Trainer(replace(config, compile=True), SchNet(num_filters=8))
    assert not own.potential.compiled


@pytest.mark.parametrize('name', ['adam', 'muon'])
def test_optimizers_share_the_parameters(name):
    module = VectorSAKE(hidden_channels=8, num_layers=2)
    optimizers = build_optimizers(module, name, 1e-3)
    shared = [parameter for optimizer in optimizers
              for group in optimizer.param_groups
              for parameter in group['params']]
    assert sorted(map(id, shared)) == sorted(map(id, module.parameters()))
    if name == 'muon':
        for parameter in optimizers[0].param_groups[0]['params']:
            assert parameter.dim() == 2 and 1 not in parameter.shape
        embedding = module.embedding.weight
        assert all(parameter is not embedding for parameter in
                   optimizers[0].param_groups[0]['params'])


def test_a_seed_fixes_a_run(config):
    states = []
    for seed, out in ((0, 'a'), (0, 'b'), (1, 'c')):
        trainer = Trainer(replace(config, seed=seed, out=config.out + out))
        trainer.fit()
        states.append(trainer.potential.model.mlp_out[0].weight)
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_checkpoint_carries_what_it_came_from(config):
    trainer = Trainer(config)
    trainer.fit()
    tensors, description = load_checkpoint(config.out)
    assert description['config']['num_steps'] == 12
    assert description['units'] == {'length': 'Angstrom', 'energy': 'eV'}
    assert description['versions']['torch'] == torch.__version__
    assert description['elements'] == [1, 8]
    assert torch.equal(tensors['split.test'], trainer.data.split.test)
    potential = load_potential(config.out)
    assert potential.atomic_energies.dtype == torch.double
    z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3)
    expected = trainer.average.module(z, pos)
    best = load_potential(os.path.join(config.out, LAST))(z, pos)
    assert torch.equal(best[0], expected[0])
    assert torch.equal(best[1], expected[1])


def test_a_model_of_your_own(config):
    from torch_geometric.nn.models import SchNet

    from torch_sake import RadiusInteractionGraph
    trainer = Trainer(config, SchNet(
        8, 8, 1, 8, interaction_graph=RadiusInteractionGraph(5.0)))
    trainer.fit()
    assert len(trainer.history) == 3
    with pytest.raises(ValueError, match='of a model of torch_sake'):
        load_potential(config.out)


def test_checkpoints_that_cannot_be_read(config, tmp_path):
    with pytest.raises(ValueError, match='no checkpoint'):
        load_potential(tmp_path)
    path = str(tmp_path / BEST)
    save_checkpoint(path, {'x': torch.zeros(3)}, {})
    content = open(path, 'rb').read()
    open(path, 'wb').write(content[:-4])
    with pytest.raises(ValueError, match='not a complete safetensors file'):
        load_checkpoint(path)
    written = f'\\"format\\": {FORMAT}'.encode()
    assert written in content
    open(path, 'wb').write(content.replace(written, b'\\"format\\": 9'))
    with pytest.raises(ValueError, match='format 9'):
        load_checkpoint(path)
    from safetensors.torch import save_file
    save_file({'x': torch.zeros(3)}, path)
    with pytest.raises(ValueError, match='not a checkpoint of torch_sake'):
        load_checkpoint(path)


def test_folders_that_hold_a_run(config):
    with pytest.raises(ValueError, match="'resume' needs a run"):
        Trainer(replace(config, resume=True))
    Trainer(config).fit()
    with pytest.raises(ValueError, match="'out' must not hold a run"):
        Trainer(config)
    with pytest.raises(ValueError, match="'batch_size' must be 4"):
        Trainer(replace(config, resume=True, batch_size=2))


def test_metrics():
    generator = numpy.random.default_rng(0)
    arrays = {'energy': generator.normal(size=4),
              'energy_label': generator.normal(size=4),
              'num_atoms': numpy.array([1, 2, 3, 4]),
              'force': generator.normal(size=(10, 3)),
              'force_label': generator.normal(size=(10, 3))}
    tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
    metrics = error_metrics(Predictions(
        tensors['num_atoms'], torch.ones(10, dtype=torch.long), {
            name: Predicted(tensors[name], tensors[f'{name}_label'],
                            torch.arange(len(tensors[name])))
            for name in ('energy', 'force')}))
    error = arrays['energy'] - arrays['energy_label']
    force = arrays['force'] - arrays['force_label']
    assert metrics == pytest.approx({
        'energy_mae': abs(error).mean(),
        'energy_rmse': (error**2).mean()**0.5,
        'energy_per_atom_mae': abs(error / arrays['num_atoms']).mean(),
        'energy_per_atom_rmse': ((error / arrays['num_atoms'])**2).mean()**0.5,
        'force_mae': abs(force).mean(),
        'force_rmse': (force**2).mean()**0.5,
    })


@pytest.mark.parametrize('change, error, match', [
    (dict(num_steps=0), ValueError, "'num_steps' must be at least 1"),
    (dict(heads=0), ValueError, "'heads' must be at least 1"),
    (dict(heads=2), ValueError, "'heads' must not be given"),
    (dict(model='MACE'), ValueError, "'model' must be one of"),
    (dict(model='module.MACE'), ValueError, "or an import path such as"),
    (dict(model='mo dule:MACE'), ValueError, "or an import path such as"),
    (dict(model='VectorSAKE', num_coefficients=2), ValueError, "must not be"),
    (dict(num_frames=0), ValueError, "'num_frames' must be at least 1"),
    (dict(freeze=-1, init='run'), ValueError, "'freeze' must not be negative"),
    (dict(learning_rate=-1.0), ValueError, "'learning_rate' must be positive"),
    (dict(cutoff=0.0), ValueError, "'cutoff' must be positive"),
    (dict(ema_decay=1.0), ValueError, "'ema_decay' must be at least 0"),
    (dict(energy_weight=-1.0), ValueError, "'energy_weight' must not be"),
    (dict(loss='l3'), ValueError, "'loss' must be one of"),
    (dict(optimizer='sgd'), ValueError, "'optimizer' must be one of"),
    (dict(precision='half'), ValueError, "'precision' must be"),
    (dict(schedule='linear'), ValueError, "'schedule' must be one of"),
    (dict(patience=0), ValueError, "'patience' must be at least 1"),
    (dict(devices=0), ValueError, "'devices' must be at least 1"),
    (dict(num_workers=-1), ValueError, "'num_workers' must not be negative"),
    (dict(devices=3, num_nodes=3), ValueError, "'batch_size' must be"),
    (dict(devices=2, device='cuda:1'), ValueError, "'device' must not be a"),
    (dict(split_prefix='random_'), ValueError, "'split_prefix' needs 'split'"),
], ids=str)
def test_wrong_settings(change, error, match):
    with pytest.raises(error, match=match):
        TrainConfig(**change)


def test_files_of_a_run_are_readable_without_this_package(config):
    Trainer(config).fit()
    from safetensors import safe_open
    with safe_open(os.path.join(config.out, BEST), framework='numpy') as file:
        description = json.loads(file.metadata()['torch_sake'])
        assert file.get_tensor('potential.model.embedding.weight').shape == (
            100, 8)
    assert description['model']['arguments']['hidden_channels'] == 8
