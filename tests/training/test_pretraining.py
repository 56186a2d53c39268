"""Runs that learn structures beyond their data first."""

import json
import os
import shutil
import signal
from dataclasses import asdict, replace

import numpy
import pytest
import torch

from torch_sake import BondEnergy, load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import Frames, FramesOnDisk, convert_frames
from torch_sake.evaluation.metrics import predict
from torch_sake.training import TrainConfig, Trainer, pretraining
from torch_sake.training.finetuning import Pretrained
from torch_sake.training.module import PotentialModule
from torch_sake.utils.inputs import BEST, LAST

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('pytorch_lightning')

CALCULATOR = 'ase.calculators.emt:EMT'
KCAL = 23.0605
UNSET = {'pretrain': None, 'pretrain_frames': None, 'pretrain_steps': None,
         'pretrain_learning_rate': None}


@pytest.fixture
def pretrained(config):
    return replace(config, pretrain=CALCULATOR, pretrain_frames=40,
                   pretrain_steps=8, learning_rate=None)


@pytest.fixture(scope='module')
def run_folder(tmp_path_factory):
    """Where the run of this file is."""
    return tmp_path_factory.mktemp('pretrained')


@pytest.fixture
def run(run_folder, pretrained):
    """A whole run on water, which is trained once and as it was for each
    test."""
    data, out, kept = (str(run_folder / name) for name in (
        'water.extxyz', 'run', 'kept'))
    config = replace(pretrained, data=data, out=out)
    if not os.path.exists(kept):
        shutil.copy(pretrained.data, data)
        Trainer(config).fit()
        shutil.copytree(out, kept)
    for name in os.listdir(run_folder):
        if name.startswith('run'):
            path = str(run_folder / name)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)
    shutil.copytree(kept, out)
    return config


def emt_energy(frame):
    from ase import Atoms
    from ase.calculators.emt import EMT
    atoms = Atoms(frame.z.numpy(), frame.pos.numpy(), calculator=EMT())
    return atoms.get_potential_energy()


def assert_same_potentials(one, other):
    one, other = (load_potential(out).state_dict() for out in (one, other))
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name])


def test_folder_of_a_run(run):
    frames = FramesOnDisk(f'{run.out}/pretrain/grown.frames')
    kinds = [frames.info(index)['config_type'] for index in range(len(frames))]
    assert {'IsolatedAtom', 'dynamics', 'stretched'} <= {*kinds}
    assert kinds.count('IsolatedAtom') == 2
    for index in (0, 5, len(frames) - 1):
        assert float(frames[index].energy) == pytest.approx(
            emt_energy(frames[index]), abs=1e-6)
    before = load_checkpoint(f'{run.out}/pretrain')[1]
    assert before['isolated_atoms'] == [1, 8]
    assert before['config']['data'] == f'{run.out}/pretrain/grown.frames'
    assert before['config']['pretrain'] is None
    assert before['config']['learning_rate'] == 3e-3
    assert before['config']['batch_size'] == 8 != run.batch_size
    assert not os.path.exists(f'{run.out}/pretrain/labels')
    after = load_checkpoint(run.out)[1]
    assert after['pretraining']['calculator'] == CALCULATOR
    assert after['pretraining']['num_frames'] == len(frames)
    assert after['pretraining']['fingerprint'] == before['fingerprint']
    assert after['pretraining']['versions'].keys() == {'torch_sake', 'ase'}
    assert after['config']['learning_rate'] == 3e-4
    assert after['config']['pretrain'] == CALCULATOR
    assert after['config']['init'] is None
    assert f'pretrain: \'{CALCULATOR}\'' in open(f'{run.out}/config.yaml'
                                                 ).read()


def test_data_are_learned_from_what_was_pretrained(run):
    """The forces of the pretraining, and the best energies of elements."""
    shutil.copy(f'{run.out}/{BEST}', f'{run.out}-{BEST}')
    os.remove(f'{run.out}/{LAST}')
    before = load_potential(f'{run.out}/pretrain')
    trainer = Trainer(replace(run, resume=True))  # all but the run is done
    frames = trainer.data.batches('train')
    outputs = predict(trainer.potential, frames, 'cpu')
    expected = predict(before, frames, 'cpu')
    assert torch.equal(outputs['force'].value, expected['force'].value)
    assert outputs['energy'].error.mean().abs() < 1e-9
    assert expected['energy'].error.mean().abs() > 1.0
    trainer.fit()
    assert_same_potentials(run.out, f'{run.out}-{BEST}')


@pytest.mark.parametrize('kind', ['file', 'files', 'on disk'])
def test_it_grows_from_training_frames_without_labels(
        kind, pretrained, water_file, tmp_path, monkeypatch):
    if kind == 'files':
        other = str(tmp_path / 'other.extxyz')
        shutil.copy(water_file, other)
        pretrained = replace(pretrained, data=[water_file, other])
    elif kind == 'on disk':
        out = str(tmp_path / 'water.frames')
        convert_frames(water_file, out)
        pretrained = replace(pretrained, data=out)
    seen = []

    def grow(frames, **options):
        seen.append((frames, options))
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, 'grow', grow)
    with pytest.raises(KeyboardInterrupt):
        Trainer(pretrained)
    data = Trainer(replace(pretrained, **UNSET, out=pretrained.out + '-2')
                   ).data
    frames, options = seen[0]
    assert options == {'num_frames': 40, 'seed': pretrained.seed}
    train = data.frames[data.split.train.sort().values]
    assert len(frames) == pretrained.num_train
    assert all(torch.equal(one.pos, other.pos)
               for one, other in zip(frames, train))


@pytest.mark.parametrize('place', ['labels', 'pretraining', 'first step',
                                   'training'])
def test_it_goes_on_wherever_it_was_interrupted(pretrained, run, place,
                                                monkeypatch):
    config = replace(pretrained, out=pretrained.out + '-2')
    with monkeypatch.context() as patch:
        if place == 'labels':
            def label(*args, folder, **kwargs):
                os.makedirs(folder)
                raise KeyboardInterrupt
            patch.setattr(pretraining, 'label', label)
        elif place == 'first step':
            def init(*args):
                raise KeyboardInterrupt
            patch.setattr(Pretrained, '__init__', init)
        else:
            loss_of, calls = PotentialModule.loss_of, []

            def stop(module, data):
                calls.append(module.step)
                if module.step == 5 and ('pretrain' in module.config.out) == (
                        place == 'pretraining') and module.training:
                    os.kill(os.getpid(), signal.SIGINT)
                return loss_of(module, data)
            patch.setattr(PotentialModule, 'loss_of', stop)
        with pytest.raises(KeyboardInterrupt):
            Trainer(config).fit()
    begun = os.path.exists(f'{config.out}/pretrain/{LAST}')
    assert begun == (place != 'labels')
    assert os.path.exists(f'{config.out}/{LAST}') == (place == 'training')
    with pytest.raises(ValueError, match="'out' must not hold a"):
        Trainer(config)
    trainer = Trainer(replace(config, resume=True))
    trainer.fit()
    assert_same_potentials(run.out, config.out)
    assert_same_potentials(f'{run.out}/pretrain', f'{config.out}/pretrain')
    assert (load_checkpoint(config.out)[1]['pretraining'] ==
            load_checkpoint(run.out)[1]['pretraining'])


def test_a_finished_run_goes_on(run):
    longer = replace(run, resume=True, num_steps=16)
    trainer = Trainer(longer)
    assert trainer.step == 12
    trainer.fit()
    assert trainer.step == 16
    for changes in ({'pretrain_frames': 30}, {'pretrain': 'xtb'}):
        with pytest.raises(ValueError, match="'pretrain.*' must be"):
            Trainer(replace(longer, **changes))


def test_a_finished_run_goes_on_with_a_time(run):
    """It has no steps of pretraining then, as one of a time has none."""
    trainer = Trainer(replace(run, resume=True, num_steps=None,
                              pretrain_steps=None, max_time='01:00:00'))
    assert trainer.step == 12 and not trainer.module.finished
    with pytest.raises(ValueError, match="'pretrain_steps' must be 8, as"):
        Trainer(replace(run, resume=True, pretrain_steps=9))


@pytest.mark.parametrize('length', [
    {'num_steps': 12, 'pretrain_steps': 8, 'max_time': None},
    {'num_steps': None, 'pretrain_steps': None, 'max_time': '00:20:00'}])
def test_length_of_a_run_that_was_interrupted_in_its_pretraining(
        run, length, monkeypatch):
    """It is that of the run, and not the usual one, if none is given."""
    os.remove(f'{run.out}/{LAST}')
    path = f'{run.out}/pretrain/grown.json'
    with open(path) as file:
        content = json.load(file)
    with open(path, 'w') as file:
        json.dump({**content, 'length': length}, file)
    none = dict.fromkeys(length)
    again = pretraining.begin_pretraining(replace(run, resume=True, **none))
    assert not again.resume
    assert {name: getattr(again, name) for name in length} == length
    given = pretraining.begin_pretraining(replace(run, resume=True,
                                                  num_steps=30))
    assert given.num_steps == 30

    def build(*args):
        raise KeyboardInterrupt

    # The last one that was given is kept:
    monkeypatch.setattr(pretraining, 'pretrain_config', build)
    with pytest.raises(KeyboardInterrupt):
        Trainer(replace(run, resume=True, num_steps=30, pretrain_steps=9))
    last = pretraining.begin_pretraining(replace(run, resume=True, **none))
    assert (last.num_steps, last.pretrain_steps) == (30, 9)
    with pytest.raises(ValueError, match="'pretrain_steps' must be 9"):
        pretraining.begin_pretraining(replace(
            run, resume=True, **{**none, 'pretrain_steps': 8}))


@pytest.mark.parametrize('content', [
    None, {}, {'length': {}}, {'length': {'num_steps': -1}},
    {'length': {'num_steps': 5, 'max_time': '00:01:00',
                'pretrain_steps': 5}},
    {'length': {'num_steps': None, 'max_time': None,
                'pretrain_steps': None}}])
def test_a_length_that_is_not_known(pretrained, content):
    path = f'{pretrained.out}/pretrain/grown.json'
    os.makedirs(os.path.dirname(path))
    if content is not None:
        with open(path, 'w') as file:
            json.dump(content, file)
    with pytest.raises(ValueError, match='num_steps|length') as error:
        Trainer(replace(pretrained, resume=True, num_steps=None,
                        pretrain_steps=None))
    assert path in str(error.value)


def test_grown_frames_of_unknown_origin(run):
    """They are not taken as grown with the settings of today."""
    os.remove(f'{run.out}/{LAST}')
    os.remove(f'{run.out}/pretrain/grown.json')
    with pytest.raises(ValueError, match="must have its 'grown.json'"):
        Trainer(replace(run, resume=True))


def test_an_isolated_atom_that_fails(pretrained, monkeypatch):
    label = pretraining.label

    def without_oxygen(structures, *args, **options):
        return label([one for one in structures if len(one.z) > 1
                      or one.z[0] != 8], *args, **options)

    monkeypatch.setattr(pretraining, 'label', without_oxygen)
    with pytest.raises(ValueError, match='EMT failed for O') as error:
        Trainer(pretrained)
    assert 'atomic_energies' not in str(error.value)
    assert not os.path.exists(f'{pretrained.out}/pretrain/grown.frames')


def test_nothing_can_be_labeled(pretrained, monkeypatch):
    def label(*args, **options):
        raise RuntimeError('EMT labeled none of the structures')

    monkeypatch.setattr(pretraining, 'label', label)
    with pytest.raises(ValueError, match="'pretrain' must label.*EMT labeled"):
        Trainer(pretrained)


def test_uncertainties_are_those_of_the_run(run):
    """Those of the pretraining would be thrown away."""
    assert load_potential(run.out).has_force_uncertainty
    assert not load_potential(f'{run.out}/pretrain').has_uncertainty


def test_other_settings_than_the_pretraining_began_with(run):
    os.remove(f'{run.out}/{LAST}')
    again = replace(run, resume=True)
    for changes, name in (({'pretrain_frames': 30}, 'pretrain_frames'),
                          ({'seed': 1}, 'seed'), ({'num_train': 15}, 'data')):
        with pytest.raises(ValueError, match=f"'{name}' was"):
            Trainer(replace(again, **changes))
    with pytest.raises(ValueError, match="learning_rate"):
        Trainer(replace(again, pretrain_learning_rate=1e-3))
    path = f'{run.out}/pretrain/grown.json'
    with open(path, 'w') as file:
        json.dump({'about': 3}, file)
    with pytest.raises(ValueError, match="grown.json"):
        Trainer(again)


def frames_of(file, **options):
    """The frames of a file in other units."""
    atoms = ase_io.read(file, ':')
    return Frames([one.numbers for one in atoms],
                  [one.positions for one in atoms],
                  [KCAL * one.get_potential_energy() for one in atoms],
                  [KCAL * one.get_forces() for one in atoms],
                  name='some', source='some', **options)


def test_labels_have_the_units_of_the_data(pretrained, water_file):
    frames = frames_of(water_file, units={'length': 'Angstrom',
                                          'energy': 'kcal/mol'})
    trainer = Trainer(pretrained, frames=frames)
    grown = FramesOnDisk(f'{pretrained.out}/pretrain/grown.frames')
    assert grown.units == trainer.data.frames.units == frames.units
    for index in (0, 5, len(grown) - 1):
        assert float(grown[index].energy) == pytest.approx(
            KCAL * emt_energy(grown[index]), abs=1e-2)


def test_isolated_atoms_are_those_of_the_data(pretrained, water_file):
    atomic = {'H': -100.0, 'O': -1700.0}
    trainer = Trainer(replace(pretrained, atomic_energies=atomic))
    assert trainer.data.isolated_atoms == [1, 8]
    for number, energy in ((1, -100.0), (8, -1700.0)):
        alone = trainer.potential.energy(torch.tensor([number]),
                                         torch.zeros(1, 3))
        assert alone.item() == pytest.approx(energy, abs=1e-4)
    # What binds them is of this level of theory, too.
    outputs = predict(trainer.potential, trainer.data.batches('train'), 'cpu')
    assert outputs['energy'].error.mean().abs() < 1.0
    # Bonds of one composition say little of what is whose.
    bonds = next(part for part in trainer.potential.modules()
                 if isinstance(part, BondEnergy))
    assert bonds.energies.abs().max() < 100.0


def test_charges_and_multiplicities(pretrained, water_file, tmp_path):
    """Grown frames have those of the data, and radicals of their own."""
    atoms = ase_io.read(water_file, ':')
    for one in atoms:
        one.info.update(charge=0, spin=1)
    path = str(tmp_path / 'states.extxyz')
    ase_io.write(path, atoms)
    with pytest.warns(UserWarning, match='can teach nothing'):
        trainer = Trainer(replace(pretrained, data=path, embed_charge=True))
    grown = FramesOnDisk(f'{pretrained.out}/pretrain/grown.frames')
    for index in range(len(grown)):
        info = grown.info(index)
        assert info['spin'] == 1 + int(grown[index].z.sum()) % 2
        assert info['charge'] == 0
    assert [0, 1] in trainer.data.states


def test_a_time_is_for_both(config):
    timed = replace(config, pretrain=CALCULATOR, num_steps=None,
                    max_time='00:10:00')
    assert timed.pretrain_steps is None and timed.seconds == 300.0
    assert replace(timed, **UNSET).seconds == 600.0
    with pytest.raises(ValueError, match="beside 'max_time', half of which"):
        replace(timed, pretrain_steps=5)


@pytest.mark.slow
def test_a_time_is_that_of_the_run_that_goes_on(run):
    timed = replace(run, num_steps=None, pretrain_steps=None,
                    max_time='00:00:02', out=run.out + '-2')
    Trainer(timed).fit()
    trainer = Trainer(replace(timed, resume=True, max_time=None))
    assert trainer.config.max_time == '00:00:02'


def test_settings_of_the_pretraining(run):
    """Those that make the model are shared."""
    frames = FramesOnDisk(f'{run.out}/pretrain/grown.frames')
    changed = replace(
        run, cutoff=4.0, hidden_channels=12, energy_weight=0.1, freeze=1,
        max_num_atoms=100, loss='l2', patience=3, seed=3, val=run.data,
        num_val=None, drop_outliers=True, config_type_weights={'a': 2.0})
    before = pretraining.pretrain_config(changed, frames)
    for name in ('cutoff', 'hidden_channels', 'energy_weight',
                 'max_num_atoms', 'loss', 'seed', 'val_interval', 'num_rbf'):
        assert getattr(before, name) == getattr(changed, name)
    defaults = TrainConfig()
    for name in ('freeze', 'patience', 'val', 'drop_outliers', 'pretrain',
                 'config_type_weights', 'stress_weight'):
        assert getattr(before, name) == getattr(defaults, name)
    alone = int((frames.num_atoms == 1).sum())  # pieces, too
    assert before.num_train + before.num_val == len(frames) - alone
    timed = replace(changed, num_steps=None, max_time='00:10:00',
                    pretrain_steps=None)
    assert pretraining.pretrain_config(timed, frames).max_time == '00:05:00'
    # None is forgotten:
    assert {*asdict(changed)} >= pretraining.OWN


def test_what_is_refused(config, water_file):
    own = TrainConfig(data=water_file, pretrain='xtb')
    assert (own.pretrain_frames, own.pretrain_steps, own.learning_rate,
            own.pretrain_learning_rate) == (4000, 6000, 3e-4, 3e-3)
    assert replace(own, learning_rate=2e-3).learning_rate == 2e-3
    for changes, message in (
            ({'pretrain': 'pm6'}, "'pretrain' must be 'xtb' or the import"),
            ({'pretrain_frames': 5}, "'pretrain_frames' needs 'pretrain'"),
            ({'pretrain_steps': 5}, "'pretrain_steps' needs 'pretrain'"),
            ({'pretrain': 'xtb', 'init': 'runs/a'}, "beside 'init'"),
            ({'pretrain': 'xtb', 'refit': True}, "need 'init'"),
            ({'pretrain': 'xtb', 'model': 'mine:A'}, "model of your own"),
            ({'pretrain': 'xtb', 'devices': 2}, "needs one device")):
        with pytest.raises(ValueError, match=message):
            replace(config, **changes)
    config = replace(config, pretrain='no_such_module:A')
    with pytest.raises(ValueError, match='no_such_module'):
        Trainer(config)
    with pytest.raises(ValueError, match="model of your own"):
        Trainer(config, torch.nn.Linear(1, 1))
    assert not os.path.exists(f'{config.out}/pretrain')


def test_elements_that_the_calculator_does_not_know(config, tmp_path):
    pytest.importorskip('tblite')
    generator = numpy.random.default_rng(0)
    frames = Frames([[92, 8]] * 20, generator.normal(size=(20, 2, 3)),
                    generator.normal(size=20), name='some', source='some',
                    units={'length': 'Angstrom', 'energy': 'eV'})
    config = replace(config, pretrain='xtb', num_train=None, num_val=None)
    with pytest.raises(ValueError, match="no parameters of U"):
        Trainer(config, frames=frames)
    with pytest.raises(ValueError, match="needs data with energies"):
        Trainer(config, frames=Frames(
            [[1, 8]] * 20, generator.normal(size=(20, 2, 3)),
            generator.normal(size=20), name='some', source='some',
            units={'length': 'Angstrom', 'gap': 'eV'}))
    assert not os.path.exists(f'{config.out}/pretrain')


@pytest.mark.slow
def test_command_line_with_xtb(tmp_path, capsys, water_file):
    pytest.importorskip('tblite')
    from torch_sake.cli import main
    out = str(tmp_path / 'run')
    command = ['train', '--data', water_file, '--pretrain', 'xtb',
               '--pretrain_frames', '100', '--pretrain_steps', '60',
               '--num_steps', '20', '--val_interval', '20',
               '--num_train', '20', '--num_val', '10', '--hidden_channels',
               '8', '--num_layers', '1', '--out', out]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert 'frames of GFN2-xTB' in printed
    assert "energies of the elements are those of 'pretrain'" in printed
    assert os.path.exists(f'{out}/pretrain/{BEST}')
    # Two molecules far apart, and a bond that is pulled apart, cost what
    # xTB says, about.
    potential = load_potential(out)
    z, pos = torch.tensor([8, 1, 1]), torch.tensor(
        [[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    apart = pos.clone()
    apart[1, 0] = 4.5
    cost = potential.energy(z, apart) - potential.energy(z, pos)
    assert 2.0 < float(cost) < 10.0


def test_import_paths_are_typed(tmp_path, capsys, water_file):
    from torch_sake.cli import main
    path = tmp_path / 'settings.yaml'
    path.write_text(f"data: '{water_file}'\npretrain: '{CALCULATOR}'\n")
    assert main(['train', '--config', str(path)]) == 2
    assert "'pretrain' of a file of settings is code" in (
        capsys.readouterr().err)


def test_the_data_are_looked_at_before(water_file, tmp_path, monkeypatch,
                                       capsys):
    from torch_sake.cli import main

    def grow(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(pretraining, 'grow', grow)
    out = tmp_path / 'run'
    atoms = ase_io.read(water_file, ':')
    atoms[3].calc.results['energy'] = 0.0
    path = str(tmp_path / 'wrong.extxyz')
    ase_io.write(path, atoms)
    assert main(['train', '--data', path, '--pretrain', CALCULATOR,
                 '--out', str(out)]) == 130
    printed = capsys.readouterr().out
    assert "frame 3" in printed and 'Stopped in the pretraining' in printed
    assert (out / 'data.png').exists()
