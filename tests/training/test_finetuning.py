"""Runs that start from the potential of another run."""

import os
import shutil
import signal
import warnings
from dataclasses import asdict, replace

import pytest
import torch

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.evaluation.metrics import predict
from torch_sake.ops.compilation import verify
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.finetuning import shift_atomic_energies
from torch_sake.utils.inputs import BEST, LAST

ase_io = pytest.importorskip('ase.io')
lightning = pytest.importorskip('pytorch_lightning')

MODEL = {'hidden_channels': None, 'num_layers': None, 'num_rbf': None}


@pytest.fixture(scope='module')
def run_on_water(tmp_path_factory):
    """Where a run is kept for all tests, once one of them has trained it."""
    return tmp_path_factory.mktemp('kept') / 'run'


@pytest.fixture
def pretrained(config, run_on_water):
    """The potential of a run on water."""
    if not run_on_water.exists():
        Trainer(replace(config, num_steps=4)).fit()
        shutil.copytree(config.out, run_on_water)
    else:
        shutil.copytree(run_on_water, config.out)
    return load_potential(config.out)


@pytest.fixture
def tuning(config, pretrained, tmp_path):
    """Settings of a run that starts from it, on the same water."""
    return replace(config, **MODEL, init=config.out, seed=1,
                   out=str(tmp_path / 'tuned'))


@pytest.fixture
def sulfide_file(water_file, tmp_path):
    """The frames of water, of which every other one has a sulfur atom and an
    energy that is lower by 300 eV."""
    frames = ase_io.read(water_file, ':')
    for atoms in frames[::2]:
        calc = atoms.calc
        atoms.symbols[0] = 'S'
        calc.results['energy'] -= 300.0
        atoms.calc = calc
    path = str(tmp_path / 'sulfide.extxyz')
    ase_io.write(path, frames)
    return path


def outputs_of(potential, frames):
    potential = potential.eval()
    data = [frames[index] for index in range(len(frames))]
    with torch.no_grad():
        return [potential(frame.z, frame.pos.float())[:2] for frame in data]


def assert_same(outputs, expected):
    for pair in zip(outputs, expected):
        for value, other in zip(*pair):
            assert torch.equal(value, other)


@pytest.mark.parametrize('data', ['water_file', 'sulfide_file'])
@pytest.mark.parametrize('freeze', [None, 1])
def test_it_starts_with_the_outputs_of_the_potential(
        tuning, pretrained, data, freeze, request):
    trainer = Trainer(replace(tuning, data=request.getfixturevalue(data),
                              freeze=freeze))
    frames = Trainer(replace(tuning, init=None, out=tuning.out + '-2')
                     ).data.frames
    expected = outputs_of(pretrained, frames)
    assert_same(outputs_of(trainer.potential, frames), expected)
    assert_same(outputs_of(trainer.average.module, frames), expected)
    assert trainer.data.scale == pretrained.energy_scale
    # From other random numbers, all would differ:
    embedding = trainer.potential.model.embedding.weight
    assert torch.equal(embedding, pretrained.model.embedding.weight)


def test_new_elements_get_the_energies_that_are_left(tuning, pretrained,
                                                     sulfide_file):
    trainer = Trainer(replace(tuning, data=sulfide_file))
    assert trainer.data.elements == [1, 8, 16]
    energies = trainer.potential.atomic_energies
    assert torch.equal(energies[:16], pretrained.atomic_energies[:16])
    assert energies[17:].eq(0).all()
    outputs = predict(trainer.potential, trainer.data.batches('train'), 'cpu')
    errors = outputs['energy'].error
    errors = errors[outputs['energy'].label < -2200.0]  # those of sulfur
    assert errors.mean().abs() < 1e-9 and errors.std() > 1e-3
    # It knows them from now on.
    trainer.fit()
    assert load_checkpoint(tuning.out)[1]['elements'] == [1, 8, 16]
    again = Trainer(replace(tuning, init=tuning.out, out=tuning.out + '-2'))
    assert again.data.elements == [1, 8, 16]
    assert torch.equal(again.potential.atomic_energies,
                       load_potential(tuning.out).atomic_energies)


def test_refit_shifts_all_atomic_energies(tuning, pretrained, water_file,
                                          tmp_path):
    frames = ase_io.read(water_file, ':')
    for atoms in frames:
        atoms.calc.results['energy'] += 77.0
    shifted = str(tmp_path / 'shifted.extxyz')
    ase_io.write(shifted, frames)
    with pytest.warns(UserWarning, match="25.*eV per atom .* need 'refit'"):
        kept = Trainer(replace(tuning, data=shifted)).potential
    assert torch.equal(kept.atomic_energies, pretrained.atomic_energies)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        trainer = Trainer(replace(tuning, data=shifted, refit=True,
                                  out=tuning.out + '-2'))
    outputs = predict(trainer.potential, trainer.data.batches('train'), 'cpu')
    error = outputs['energy'].error
    assert error.mean().abs() < 1e-9
    before = predict(pretrained, trainer.data.batches('train'),
                     'cpu')
    assert torch.equal(outputs['force'].value, before['force'].value)
    # Each atom takes its part of the shift, the smallest that does it:
    shift = trainer.potential.atomic_energies - pretrained.atomic_energies
    assert float(shift[1] / shift[8]) == pytest.approx(2.0)
    left = (outputs['energy'].label - before['energy'].value).mean()
    assert float(2 * shift[1] + shift[8]) == pytest.approx(float(left))


@pytest.mark.parametrize('data, optimizer', [
    ('water_file', 'muon'), ('sulfide_file', 'muon'),
    ('sulfide_file', 'adam')])
def test_frozen_weights_do_not_change(data, optimizer, tuning, pretrained,
                                      request):
    trainer = Trainer(replace(
        tuning, data=request.getfixturevalue(data), freeze=1,
        optimizer=optimizer, learning_rate=0.1, warmup=0.0))
    trainer.fit()
    before = pretrained.state_dict()
    for potential in (trainer.potential, load_potential(tuning.out)):
        for key, value in potential.state_dict().items():
            if key.startswith('model.stack.convs.0.'):
                assert torch.equal(value, before[key]), key
            elif key == 'model.embedding.weight':
                changed = (value != before[key]).any(dim=1).nonzero()
                assert changed.flatten().tolist() == (
                    [16] if data == 'sulfide_file' else [])
            elif 'weight' in key:
                assert not torch.equal(value, before[key]), key


def test_compilers_are_watched_with_frozen_weights(tuning, pretrained):
    trainer = Trainer(replace(tuning, freeze=1, compile=True))
    assert trainer.potential.compiled
    batch = next(iter(trainer.data.batches('train')))
    parameters = list(trainer.potential.parameters())
    trainer.potential.compiled = False

    def call():
        return trainer.potential(batch.z, batch.pos.float(), batch.batch)[:2]

    def call_wrongly():
        energy, forces = call()
        return energy, forces + 0.1 * (forces - forces.detach())

    verify(call, call, parameters)
    with pytest.raises(RuntimeError, match='the compiled function differs'):
        verify(call_wrongly, call, parameters)


def test_all_weights_learn_without_freeze(tuning, pretrained):
    trainer = Trainer(tuning)
    trainer.fit()
    before = pretrained.state_dict()
    for key, value in trainer.potential.state_dict().items():
        if 'weight' in key:
            assert not torch.equal(value, before[key]), key


@pytest.mark.parametrize('changes', [{}, {'freeze': 1}, {'refit': True}])
def test_resumed_run_ends_where_an_uninterrupted_one_does(
        tuning, pretrained, sulfide_file, changes):
    tuning = replace(tuning, data=sulfide_file, **changes)
    Trainer(tuning).fit()

    class Kill(lightning.Callback):
        def on_train_batch_start(self, trainer, module, *args):
            if module.step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    interrupted = Trainer(replace(tuning, out=tuning.out + '-2'))
    with pytest.raises(KeyboardInterrupt):
        interrupted.fit([Kill()])
    shutil.rmtree(tuning.init)  # the run has all that it needs
    resumed = Trainer(replace(interrupted.config, resume=True))
    resumed.fit()
    for name in (BEST, LAST):
        tensors, description = load_checkpoint(
            os.path.join(resumed.config.out, name))
        expected, other = load_checkpoint(os.path.join(tuning.out, name))
        for key, value in expected.items():
            assert torch.equal(tensors[key], value), key
        for key in ('model', 'energy_scale', 'elements', 'old_elements'):
            assert description[key] == other[key], key


def test_folder_repeats_the_run(tuning, pretrained):
    import yaml
    Trainer(replace(tuning, freeze=2)).fit()
    with open(os.path.join(tuning.out, 'config.yaml')) as file:
        settings = yaml.safe_load(file)
    assert settings['hidden_channels'] == 8 and settings['num_rbf'] == 8
    repeated = Trainer(TrainConfig(**dict(settings, out=tuning.out + '-2')))
    assert asdict(repeated.config) == dict(settings, out=tuning.out + '-2')
    repeated.fit()
    expected, _ = load_checkpoint(tuning.out)
    for key, value in load_checkpoint(repeated.config.out)[0].items():
        assert torch.equal(value, expected[key]), key


def test_published_model_with_repulsion(config, tmp_path):
    config = replace(config, model='SAKE', cutoff=4.0, heads=2, zbl=True,
                     num_steps=4)
    Trainer(config).fit()
    tuning = TrainConfig(config.data, num_train=16, num_val=4, num_steps=4,
                         init=os.path.join(config.out, LAST),
                         out=str(tmp_path / 'tuned'), freeze=0)
    trainer = Trainer(tuning)
    assert trainer.config.model == 'SAKE' and trainer.config.cutoff == 4.0
    assert trainer.config.zbl and trainer.config.heads == 2
    before = load_potential(tuning.init)
    assert_same(outputs_of(trainer.potential, trainer.data.frames),
                outputs_of(before, trainer.data.frames))
    trainer.fit()
    assert load_potential(tuning.out).prior is not None


def test_contradictions(tuning, pretrained):
    for changes, match in (
        ({'hidden_channels': 16}, "'hidden_channels' must be .*, 8 .got 16"),
        ({'num_layers': 1}, "'num_layers' must be"),
        ({'cutoff': 4.5}, "'cutoff' must be .*, 5.0 .got 4.5"),
        ({'cutoff': None}, "'cutoff' must be .*, 5.0 .got None"),
        ({'model': 'SAKE'}, "'model' must be .*'VectorSAKE'"),
        ({'zbl': False}, "'zbl' must be .*, True"),
        ({'freeze': 3}, "'freeze' must be at most .*, 2 .got 3"),
        ({'init': 'nowhere'}, "no checkpoint 'nowhere'"),
    ):
        with pytest.raises(ValueError, match=match):
            Trainer(replace(tuning, **changes))


def test_defaults_of_the_model_may_be_given(tuning, pretrained):
    Trainer(replace(tuning, hidden_channels=8, update_pos=False))


def test_units_must_agree(tuning, pretrained, tmp_path):
    import numpy
    generator = numpy.random.default_rng(0)
    numpy.savez(tmp_path / 'md17_ethanol.npz', z=[8, 1, 1],
                R=generator.normal(size=(30, 3, 3)),
                E=generator.normal(size=30),
                F=generator.normal(size=(30, 3, 3)))
    with pytest.raises(ValueError, match="units .*'eV'.*'kcal/mol'"):
        Trainer(replace(tuning, data='md17:ethanol', root=str(tmp_path)))


def test_what_cannot_be_fine_tuned(config, tuning, pretrained):
    for changes in ({'freeze': 0}, {'refit': True}):
        with pytest.raises(ValueError, match="need 'init'"):
            replace(config, **changes)
    with pytest.raises(ValueError, match="'freeze' must not be negative"):
        replace(tuning, freeze=-1)
    with pytest.raises(ValueError, match="'init' must not be given for a"):
        Trainer(tuning, torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="for a model of your own, 'mine:A'"):
        replace(tuning, model='mine:A')
    Trainer(replace(tuning, num_steps=4)).fit()
    with pytest.raises(ValueError, match="'init' must be"):
        Trainer(replace(tuning, num_steps=4, init=None, resume=True))


def test_shift_of_no_elements(tuning, pretrained):
    data = Trainer(tuning).data
    before = pretrained.atomic_energies.clone()
    shift_atomic_energies(pretrained, data, [])
    assert torch.equal(pretrained.atomic_energies, before)
