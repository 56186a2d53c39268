"""Energies of isolated atoms as references: from frames, given, or fitted."""

import os
import signal
import warnings
from dataclasses import asdict, replace

import pytest
import torch

from torch_sake import VectorSAKE, load_potential
from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.cli import main
from torch_sake.datasets import Frames, FramesOnDisk, Split
from torch_sake.datasets.frames.convert import write_frames
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.data import TrainingData
from torch_sake.training.isolated import find_isolated, is_mark
from torch_sake.training.report import describe_references
from torch_sake.utils.inputs import LAST

ase_io = pytest.importorskip('ase.io')
lightning = pytest.importorskip('pytorch_lightning')

REFERENCES = {1: -13.6, 6: -1029.5, 8: -2041.8}
GIVEN = {'H': -13.6, 'C': -1029.5, 'O': -2041.8}
WATER, METHANE, CO = [8, 1, 1], [6, 1, 1, 1, 1], [6, 8]
PLACES = torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.1, 0.0], [-0.3, 0.9, 0.1],
                       [-0.4, -0.6, 0.8], [-0.2, -0.4, -0.9]]).double()
UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def make_frames(molecules, **options):
    """Frames of molecules, with some energy of bonds, and of single atoms."""
    generator = torch.Generator().manual_seed(1)
    pos, energy, force = [], [], []
    for z in molecules:
        noise = 0.1 * torch.randn(len(z), 3, generator=generator)
        pos.append(1.1 * PLACES[:len(z)] + noise)
        dist = torch.cdist(pos[-1], pos[-1])
        energy.append(sum(REFERENCES[number] for number in z)
                      - float(torch.exp(-dist.square()).triu(1).sum()))
        force.append(torch.zeros(len(z), 3) if len(z) == 1 else
                     0.5 * torch.randn(len(z), 3, generator=generator))
    options = {'name': 'some', 'units': UNITS, 'source': 'some', **options}
    return Frames([torch.tensor(z) for z in molecules], pos, energy, force,
                  **options)


MOLECULES = 10 * [WATER, METHANE, CO]
SINGLE = [[1], [6], [8]]
ALONE = [0, 7, 32]  # where the single atoms stand


def mixed(**options):
    molecules = list(MOLECULES)
    for index, atom in zip(ALONE, SINGLE):
        molecules.insert(index, atom)
    return make_frames(molecules, **options)


@pytest.fixture
def config(tmp_path):
    return TrainConfig(data='some', num_train=16, num_val=4,
                       out=str(tmp_path / 'run'), num_steps=12, batch_size=4,
                       val_interval=4, hidden_channels=8, num_layers=2,
                       num_rbf=8, cutoff=3.0, atomic_energies='isolated')


def assert_exact(potential, references=REFERENCES, atol=1e-4):
    dtype = next(potential.parameters()).dtype
    for number, energy in references.items():
        pos = torch.randn(1, 3).to(dtype)
        outputs = potential(torch.tensor([number]), pos)
        assert abs(float(outputs[0]) - energy) <= atol
        assert not outputs[1].any()
    z = torch.tensor(list(references))
    pos = 1.01 * potential.cutoff * torch.arange(len(z))[:, None] * (
        torch.tensor([[0.6, 0.0, 0.8]])).to(dtype)
    outputs = potential(z, pos)
    assert abs(float(outputs[0]) - sum(references.values())) <= atol
    assert not outputs[1].any()


@pytest.mark.parametrize('atomic_energies', ['isolated', GIVEN], ids=str)
def test_training(config, atomic_energies):
    """What is trained has these energies exactly, as has what is loaded."""
    config = replace(config, atomic_energies=atomic_energies)
    trainer = Trainer(config, frames=mixed())
    used = torch.cat(list(vars(trainer.data.split).values())).tolist()
    assert sorted(used) == sorted(set(range(33)) - set(ALONE))
    before = trainer.potential.energy(torch.tensor(WATER),
                                      PLACES[:3].float())
    trainer.fit()
    assert trainer.data.isolated_atoms == [1, 6, 8]
    loaded = load_potential(config.out)
    assert loaded.isolated_atoms == [1, 6, 8]
    for potential in (trainer.potential, trainer.average.module, loaded):
        assert_exact(potential)
        after = potential.energy(torch.tensor(WATER), PLACES[:3].float())
        assert abs(float(after - before)) > 1e-3
    tensors, description = load_checkpoint(config.out)
    assert description['isolated_atoms'] == [1, 6, 8]
    assert description['config']['atomic_energies'] == (
        config.atomic_energies)
    # Where simulations start, which is no atom alone:
    assert tensors['structure.z'].numel() > 1
    line = describe_references(trainer)
    assert line == ('Isolated atoms have the energies H -13.6, C -1029.5, '
                    'O -2041.8 [eV]')


def test_fit_is_as_before(config):
    """By default single atoms are frames as others are."""
    config = replace(config, atomic_energies='fit')
    data = TrainingData.from_config(config, mixed())
    used = torch.cat(list(vars(data.split).values()))
    assert used.numel() == 33 and data.isolated_atoms is None
    trainer = Trainer(config, frames=mixed())
    assert trainer.potential.isolated_atoms is None
    assert 'isolated_atoms' not in trainer.module.description
    assert describe_references(trainer) is None


@pytest.mark.parametrize('model', ['SAKE', 'VectorSAKE', 'schnet'])
def test_models(config, model):
    options = {}
    if model == 'schnet':
        from torch_geometric.nn.models import SchNet

        from torch_sake import RadiusInteractionGraph
        options = {'model': SchNet(8, 8, 2, 5, interaction_graph=(
            RadiusInteractionGraph(3.0)))}
    else:
        config = replace(config, model=model)
    trainer = Trainer(config, frames=mixed(), **options)
    trainer.fit()
    assert_exact(trainer.potential)


def test_models_that_do_not_sum(config):
    model = VectorSAKE(8, num_layers=2, cutoff=3.0, readout='mean')
    with pytest.raises(ValueError, match='needs a model that sums over atoms'):
        Trainer(config, frames=mixed(), model=model)


class Kill(lightning.Callback):
    def on_train_batch_start(self, trainer, module, *args):
        if module.step == 7:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize('atomic_energies', ['isolated', GIVEN], ids=str)
def test_going_on(config, atomic_energies):
    config = replace(config, atomic_energies=atomic_energies)
    whole = replace(config, out=config.out + 'whole')
    Trainer(whole, frames=mixed()).fit()
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, frames=mixed()).fit([Kill()])
    trainer = Trainer(replace(config, resume=True), frames=mixed())
    assert trainer.step == 8
    trainer.fit()
    assert trainer.step == 12
    assert_exact(trainer.potential)
    for value, expected in zip(
            load_potential(config.out).state_dict().values(),
            load_potential(whole.out).state_dict().values()):
        assert torch.equal(value, expected)
    with pytest.raises(ValueError, match="'atomic_energies' must be"):
        Trainer(replace(config, resume=True, atomic_energies='fit'),
                frames=mixed())


def test_older_runs_go_on(config):
    """They did not know the setting, and fitted."""
    config = replace(config, atomic_energies='fit')
    with pytest.raises(KeyboardInterrupt):
        Trainer(config, frames=mixed()).fit([Kill()])
    path = os.path.join(config.out, LAST)
    tensors, description = load_checkpoint(path)
    del description['config']['atomic_energies']
    save_checkpoint(path, tensors, description)
    trainer = Trainer(replace(config, resume=True), frames=mixed())
    assert trainer.step == 8 and trainer.potential.isolated_atoms is None
    trainer.fit()
    assert trainer.step == 12


def test_which_frames(tmp_path):
    cell = torch.zeros(6, 3, 3).double()
    cell[1:5] = 4.0 * torch.eye(3)
    pbc = torch.zeros(6, 3).bool()
    pbc[1:3], pbc[3, 0] = True, True
    frames = Frames([torch.tensor([29])] * 5 + [torch.tensor([29, 29])],
                    [torch.zeros(1, 3)] * 5 + [torch.randn(2, 3)], [1.0] * 6,
                    cell=cell, pbc=pbc, name='some', units=UNITS,
                    source='some', infos=[{}, {}, {
                        'config_type': 'IsolatedAtom'}, {}, {}, {}])
    expected = [True, False, True, False, True, False]
    assert find_isolated(frames).tolist() == expected
    path = tmp_path / 'some.frames'
    write_frames([frames], path)
    assert find_isolated(FramesOnDisk(path)).tolist() == expected
    assert find_isolated(FramesOnDisk(path)[1:4]).tolist() == expected[1:4]
    frames = make_frames([WATER, [1]], infos=[
        {'config_type': 'isolated_atom'}, {}])
    with pytest.raises(ValueError, match="^'some', frame 0: .* must be one"):
        find_isolated(frames)
    for name in ('IsolatedAtom', 'isolated_atom', 'ISOLATED_ATOM',
                 'isolatedatom', 'isolated atom', 'Isolated-Atom'):
        assert is_mark(name)
    for name in (None, '', 'atom', 'isolated', 'isolated_atoms', 3):
        assert not is_mark(name)


def test_atoms_in_boxes(config):
    """Plane waves have a cell for them, too."""
    frames = mixed(cell=30 * torch.eye(3).expand(33, 3, 3), infos=[
        {'config_type': 'IsolatedAtom'} if index in ALONE else {}
        for index in range(33)])
    data = TrainingData.from_config(config, frames)
    assert data.isolated_atoms == [1, 6, 8]
    assert not set(ALONE) & set(torch.cat(list(
        vars(data.split).values())).tolist())
    with pytest.raises(ValueError, match='got none of H, C, O in some'):
        TrainingData.from_config(config, mixed(
            cell=30 * torch.eye(3).expand(33, 3, 3)))


def test_splits_of_a_user(config, tmp_path):
    import numpy
    path = str(tmp_path / 'split.npz')
    numpy.savez(path, train=range(0, 20), val=range(20, 25),
                test=range(25, 33))
    data = TrainingData.from_config(replace(config, split=path), mixed())
    assert data.split.train.tolist() == [*range(1, 7), *range(8, 20)]
    assert data.split.test.tolist() == list(range(25, 32))
    frames = mixed()
    frames.splits = {'1': Split(*(torch.tensor(part).long() for part in (
        [0, 1, 2, 3], [], [7, 8, 32])))}
    config = replace(config, split='1', num_val=1)
    split = TrainingData.from_config(config, frames).split
    assert sorted([*split.train.tolist(), *split.val.tolist()]) == [1, 2, 3]
    assert split.test.tolist() == [8]


def test_test_sets_that_are_given(config):
    frames = mixed(test_start=25)
    split = TrainingData.from_config(config, frames).split
    assert split.test.tolist() == list(range(25, 32))
    drawn = {*split.train.tolist(), *split.val.tolist()}
    assert max(drawn) < 25 and not drawn & set(ALONE) and len(drawn) == 20
    with pytest.raises(ValueError, match='must be at most 23, the number of'):
        TrainingData.from_config(replace(config, num_train=20), frames)


def test_same_frames_as_without_isolated_atoms(config):
    """Those that are left are drawn as if there were no others."""
    split = TrainingData.from_config(config, mixed()).split
    kept = torch.tensor(sorted(set(range(33)) - set(ALONE)))
    other = TrainingData.from_config(
        replace(config, atomic_energies='fit'), mixed()[kept]).split
    for name, part in vars(other).items():
        assert kept[part].tolist() == getattr(split, name).tolist()


def test_elements_that_are_missing(config):
    frames = make_frames([*MOLECULES, [1], [6]])
    with pytest.raises(ValueError, match=(
            "'atomic_energies: isolated' needs an isolated atom of each "
            "element.*IsolatedAtom.*got none of O in some")):
        TrainingData.from_config(config, frames)
    with pytest.raises(ValueError, match="'atomic_energies' must have all el"
                                         ".*got none of C, O"):
        TrainingData.from_config(replace(config, atomic_energies={'H': 1.0}),
                                 frames)
    # Others are not needed.
    data = TrainingData.from_config(
        replace(config, atomic_energies={**GIVEN, 'N': 3.0}), frames)
    assert data.isolated_atoms == [1, 6, 8] and data.atomic_energies[7] == 0
    # Those without an energy are no references.
    frames = make_frames([*MOLECULES, *SINGLE])
    frames._data.energy[-1] = torch.nan
    with pytest.raises(ValueError, match='got none of O in some'):
        TrainingData.from_config(config, frames)


def test_atoms_that_contradict_each_other(config):
    frames = make_frames([*MOLECULES, *SINGLE, [8]])
    data = TrainingData.from_config(config, frames)
    assert data.atomic_energies[8] == -2041.8
    frames._data.energy[-1] += 1e-3
    with pytest.raises(ValueError, match=(
            r'some: The isolated atoms of O must have one energy \(got '
            r"-2041.8 in 'some', frame 32 and -2041.79\d* in 'some', frame "
            '33')):
        TrainingData.from_config(config, frames)
    with pytest.warns(UserWarning, match=(
            r"other energies than .*: -2041.79\d* of O in 'some', frame "
            '33$')) as found:
        data = TrainingData.from_config(
            replace(config, atomic_energies=GIVEN), frames)
    assert len(found) == 1 and data.atomic_energies[8] == -2041.8


def test_properties(config):
    frames = Frames([torch.tensor(WATER)] * 30, [PLACES[:3]] * 30,
                    [1.0] * 30, name='some', source='some',
                    units={'length': 'Angstrom', 'gap': 'eV'})
    with pytest.raises(ValueError, match="'atomic_energies' must be 'fit' for "
                                         "data of 'gap'"):
        TrainingData.from_config(config, frames)


def test_energies_of_another_method(config):
    given = {'H': -13.6, 'C': -37.8, 'O': -75.0}
    with pytest.warns(UserWarning, match='per atom away from .*of one meth'):
        Trainer(replace(config, atomic_energies=given), frames=mixed())


def test_an_isolated_atom_of_the_wrong_sign(config):
    wrong = {**GIVEN, 'H': 13.6}
    with pytest.warns(UserWarning) as found:
        Trainer(replace(config, atomic_energies=wrong), frames=mixed())
    texts = [str(one.message) for one in found]
    assert any('positive for H 13.6 and negative' in text for text in texts)
    # Less than 20 eV, and still more than bonds are:
    assert any('per atom away from' in text for text in texts)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Trainer(replace(config, atomic_energies=GIVEN,
                        out=config.out + '2'), frames=mixed())


def test_compositions_that_leave_a_choice(config):
    config = replace(config, atomic_energies='fit')
    with pytest.warns(UserWarning, match=(
            'do not determine the energies of H, C, O: frames of other '
            "compositions need 'atomic_energies'$")) as found:
        Trainer(config, frames=make_frames(15 * [WATER, METHANE]))
    assert len(found) == 1
    # Carbon follows from the difference of two of them, oxygen does not.
    with pytest.warns(UserWarning, match='the energies of H, O:'):
        Trainer(replace(config, out=config.out + '2'), frames=make_frames(
            15 * [[6, 8, 1, 1], [6, 6, 8, 1, 1]]))


def test_one_molecule(config):
    """Which is what most data are: said in one line that is no warning."""
    config = replace(config, atomic_energies='fit')
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        trainer = Trainer(config, frames=make_frames(30 * [WATER]))
    assert 'All training frames are H2O, which' in describe_references(trainer)
    # One element is no choice:
    trainer = Trainer(replace(config, out=config.out + '2'),
                      frames=make_frames(30 * [[1, 1]]))
    assert describe_references(trainer) is None


def test_runs_from_another_potential(config):
    config = replace(config, zbl=False)  # atoms are pressed together here
    Trainer(config, frames=mixed()).fit()
    model = {'hidden_channels': None, 'num_layers': None, 'num_rbf': None,
             'cutoff': 5.0}
    tuned = replace(config, **model, init=config.out, out=config.out + '2')
    before = load_potential(config.out)
    # The same level of theory, fitted by none: all is as it was.
    trainer = Trainer(replace(tuned, atomic_energies='fit'), frames=mixed())
    assert trainer.potential.isolated_atoms == [1, 6, 8]
    assert torch.equal(trainer.potential.atomic_energies,
                       before.atomic_energies)
    trainer.fit()
    assert_exact(load_potential(tuned.out))
    # Another one:
    given = {'H': -10.0, 'C': -1000.0, 'O': -2000.0}
    frames = mixed()
    for index, frame in enumerate(frames):
        frames._data.energy[index] += sum(
            given[symbol] - GIVEN[symbol] for symbol in (
                {1: 'H', 6: 'C', 8: 'O'}[number] for number in
                frame.z.tolist()))
    for atomic_energies in ('isolated', given):
        tuned = replace(tuned, atomic_energies=atomic_energies,
                        out=tuned.out + '3')
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            trainer = Trainer(tuned, frames=frames)
        references = {1: -10.0, 6: -1000.0, 8: -2000.0}
        assert_exact(trainer.potential, references)
        z, pos = torch.tensor(WATER), PLACES[:3].float()
        change = trainer.potential.energy(z, pos) - before.energy(z, pos)
        assert abs(float(change) - (41.8 + 2 * 3.6)) < 1e-3
        trainer.fit()
        assert_exact(load_potential(tuned.out), references)
        trainer = Trainer(replace(tuned, resume=True), frames=frames)
        assert_exact(trainer.potential, references)
    # Fitted, with a word:
    with pytest.warns(UserWarning, match='isolated atoms of H, C, O are fit'):
        Trainer(replace(tuned, atomic_energies='fit', refit=True,
                        out=tuned.out + '4'), frames=frames)
    with pytest.raises(ValueError, match="'refit' must not be set beside"):
        replace(tuned, refit=True)


def test_new_elements(config):
    frames = make_frames(15 * [WATER, [1, 1]] + [[1], [8]])
    Trainer(config, frames=frames).fit()
    tuned = replace(config, hidden_channels=None, num_layers=None,
                    num_rbf=None, cutoff=5.0, init=config.out,
                    out=config.out + '2')
    Trainer(tuned, frames=mixed()).fit()
    assert_exact(load_potential(tuned.out))
    # Fitted ones are no energies of isolated atoms.
    tuned = replace(tuned, out=config.out + '3', atomic_energies='fit')
    trainer = Trainer(tuned, frames=mixed())
    assert trainer.potential.isolated_atoms == [1, 8]
    assert_exact(trainer.potential, {1: -13.6, 8: -2041.8})


def test_potentials_without_references(config):
    """Their energies of elements are a fit, which nothing is added to."""
    fitted = replace(config, atomic_energies='fit')
    Trainer(fitted, frames=mixed()).fit()
    tuned = replace(config, hidden_channels=None, num_layers=None,
                    num_rbf=None, cutoff=5.0, init=config.out,
                    out=config.out + '2')
    with pytest.raises(ValueError, match="'atomic_energies' must be 'fit' for "
                                         "the potential of 'init'"):
        Trainer(tuned, frames=mixed())


@pytest.mark.slow
def test_command_line(tmp_path, capsys):
    """From a file to a potential, and again from the settings of the run."""
    frames = mixed()
    atoms = []
    for frame in frames:
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator
        atoms.append(Atoms(frame.z.numpy(), frame.pos.numpy()))
        atoms[-1].calc = SinglePointCalculator(
            atoms[-1], energy=float(frame.energy), forces=frame.force.numpy())
    path = str(tmp_path / 'some.extxyz')
    ase_io.write(path, atoms)
    small = ['--num_train', '16', '--num_val', '4', '--num_steps', '4',
             '--batch_size', '4', '--hidden_channels', '8', '--num_layers',
             '1', '--cutoff', '3']
    given = '{O: -2041.8, 6: -1029.5, "H": -13.6}'
    for number, value in enumerate(('isolated', given)):
        out = str(tmp_path / f'run{number}')
        assert main(['train', '--data', path, '--atomic_energies', value,
                     '--out', out, *small]) == 0
        assert 'Isolated atoms have the energies H -13.6, C' in (
            capsys.readouterr().out)
        potential = load_potential(out)
        assert_exact(potential)
        again = str(tmp_path / f'again{number}')
        assert main(['train', '--config', f'{out}/config.yaml', '--out',
                     again]) == 0
        for name, tensor in load_potential(again).state_dict().items():
            assert torch.equal(tensor, potential.state_dict()[name])
        assert main(['train', '--config', f'{out}/config.yaml', '--resume'
                     ]) == 0
        assert main(['evaluate', '--checkpoint', out, '--data', path,
                     '--out', str(tmp_path / f'errors{number}')]) == 0
        capsys.readouterr()
    for value, message in (
            ('{H: -13.6}', "must have all elements of the training frames "
                           "(got none of C, O)"),
            ('{H: x}', "'atomic_energies' must be text or a mapping, each"),
            ('{Hx: 1}', "must have symbols of elements, such as 'H', or"),
            ('{H: .nan}', "'atomic_energies'"),
            ('{H: 1, 1: 2}', "'atomic_energies' must give 'H' once"),
            ('fitted', "'atomic_energies' must be 'fit', 'isolated' or"),
            ('{on: 1}', "must have symbols of elements, such as 'H', or at")):
        try:
            status = main(['train', '--data', path, '--out',
                           str(tmp_path / 'bad'), '--atomic_energies', value,
                           *small])
        except SystemExit as error:
            status = error.code
        assert status == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize('given, expected', [
    ('fit', 'fit'), ('isolated', 'isolated'),
    ({'O': 2, 'H': -1}, {'H': -1.0, 'O': 2.0}), ({1: -1.5}, {'H': -1.5}),
    ({'1': 3}, {'H': 3.0}), ({'N': 1, 'Y': 2, 'No': 3},
                             {'N': 1.0, 'Y': 2.0, 'No': 3.0})], ids=str)
def test_settings(given, expected):
    config = TrainConfig(atomic_energies=given)
    assert config.atomic_energies == expected
    assert TrainConfig(**asdict(config)) == config


@pytest.mark.parametrize('given, error', [
    ('x', ValueError), ({}, ValueError), ({'on': 1}, ValueError),
    ({'H': float('nan')}, ValueError), ({'H': float('inf')}, ValueError),
    ({'H': 10**400}, ValueError), ({'H': 1, 1: 2}, ValueError),
    ({'X': 1}, ValueError), ({0: 1}, ValueError), ({119: 1}, ValueError),
    ({'01': 1}, ValueError), ({'h': 1}, ValueError), ({'': 1}, ValueError),
    ({True: 1}, TypeError), ({'H': 'a'}, TypeError), ({'H': True}, TypeError),
    ([1], TypeError), (None, TypeError), (1.0, TypeError)], ids=str)
def test_wrong_settings(given, error):
    with pytest.raises(error, match="'atomic_energies.*got|must give 'H' onc"):
        TrainConfig(atomic_energies=given)


@pytest.mark.parametrize('change, message', [
    ({'isolated_atoms': [0]}, "'isolated_atoms' must be atomic numbers from"),
    ({'isolated_atoms': [100]}, "'isolated_atoms' must be atomic numbers"),
    ({'isolated_atoms': []}, "'isolated_atoms' must be atomic numbers from"),
    ({'isolated_atoms': ['H']}, "'isolated_atoms.0' must be of type int"),
    ({'isolated_atoms': 1}, "'isolated_atoms' must be of type list"),
    ({'isolated_atoms': None}, "'isolated_atoms' must be of type list"),
    ({'model': {'name': 'VectorSAKE', 'arguments': {'readout': 'mean'}}},
     "'isolated_atoms' needs a model that sums over atoms")], ids=str)
def test_wrong_checkpoints(config, tmp_path, change, message):
    trainer = Trainer(config, frames=mixed())
    path = str(tmp_path / 'some.safetensors')
    kept = trainer.module.kept()
    tensors = {f'potential.{key}': value
               for key, value in kept['potential'].items()
               if 'prior' not in key}
    about = {key: kept[key] for key in (
        'kind', 'model', 'prior', 'energy_scale', 'units', 'elements',
        'isolated_atoms', 'label', 'readout')}
    about['prior'] = None
    save_checkpoint(path, tensors, about)
    assert_exact(load_potential(path))
    if 'model' in change:
        arguments = {**about['model']['arguments'],
                     **change['model']['arguments']}
        change = {'model': {**change['model'], 'arguments': arguments}}
    save_checkpoint(path, tensors, {**about, **change})
    with pytest.raises(ValueError, match=message) as error:
        load_potential(path)
    assert str(error.value).startswith(f"'{path}'")
    # Without the entry, nothing is taken off.
    del about['isolated_atoms']
    save_checkpoint(path, tensors, about)
    old = load_potential(path)
    assert old.isolated_atoms is None
    z, pos = torch.tensor(WATER), PLACES[:3].float()
    expected = old.energy_scale * old.model(z, pos).squeeze(1)
    assert torch.equal(old.energy(z, pos),
                       expected.double() + old.atomic_energies[z].sum())


def test_units_that_are_unknown(tmp_path):
    frames = mixed()
    frames.units = {'length': 'Angstrom', 'energy': 'foo'}
    with pytest.raises(ValueError, match="foo"):
        Trainer(TrainConfig(out=str(tmp_path / 'run'), atomic_energies={
            'H': -13.6, 'O': -2041.8}), frames=frames)
