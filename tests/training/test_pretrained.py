"""Runs that start from a potential that comes with the package."""

import shutil
import warnings
from dataclasses import replace

import pytest
import torch

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.cli import main
from torch_sake.training import TrainConfig, Trainer
from torch_sake.utils.inputs import find_checkpoint
from torch_sake.utils.released import read_card

ase_io = pytest.importorskip('ase.io')
lightning = pytest.importorskip('pytorch_lightning')

MODEL = {'hidden_channels': None, 'num_layers': None, 'num_rbf': None}
# Of isolated atoms, which make the energy of water, -2000 eV, one of bonds:
ATOMS = {'H': -500.0, 'O': -990.0}
OTHER = {'H': -13.6, 'O': -2041.8}
BONDS = -14.0  # of water, by the other method


def file_of(path, water_file, atoms, bonds):
    """Water with other energies of its atoms and bonds, and the atoms."""
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    frames = ase_io.read(water_file, ':')
    shift = 2 * atoms['H'] + atoms['O'] + bonds + 2000.0
    for frame in frames:
        calc = frame.calc
        calc.results['energy'] += shift
        frame.calc = calc
    for symbol, energy in atoms.items():
        frame = Atoms(symbol)
        frame.calc = SinglePointCalculator(frame, energy=energy,
                                           forces=[[0.0, 0.0, 0.0]])
        frames.append(frame)
    ase_io.write(path, frames, format='extxyz')
    return str(path)


@pytest.fixture
def first(config, water_file, tmp_path):
    """The settings of a run that is released."""
    return replace(config, atomic_energies='isolated', data=file_of(
        tmp_path / 'first.extxyz', water_file, ATOMS, -10.0))


@pytest.fixture
def tuning(first, release, water_file, tmp_path):
    """Those of a run that starts from it, on data of another method."""
    Trainer(first).fit()
    return replace(first, **MODEL, init=release('one', first.out, version='2'),
                   out=str(tmp_path / 'tuned'), seed=1, data=file_of(
                       tmp_path / 'other.extxyz', water_file, OTHER, BONDS))


def energies(potential, config):
    frames = [frame for frame in ase_io.read(config.data, ':')
              if len(frame) > 1]
    with torch.no_grad():
        said = [potential.energy(torch.tensor(frame.numbers),
                                 torch.tensor(frame.positions).float())
                for frame in frames]
    return torch.cat(said), torch.tensor(
        [frame.get_potential_energy() for frame in frames])


def test_isolated_atoms_take_the_place_of_others(tuning):
    with warnings.catch_warnings():
        warnings.simplefilter('error', UserWarning)
        trainer = Trainer(tuning)
    potential = trainer.potential
    for symbol, number in (('H', 1), ('O', 8)):
        alone = potential.energy(torch.tensor([number]),
                                 torch.zeros(1, 3)).detach()
        assert float(alone) == pytest.approx(OTHER[symbol], abs=1e-5)
    # Bonds, too: the mean error is that of a fit, not the 4 eV between both.
    said, expected = energies(potential, tuning)
    assert abs(float((said - expected).mean())) < 0.05
    # What it learned stays: energies differ by those of atoms and bonds.
    before, _ = energies(load_potential(tuning.init), tuning)
    assert (said - before).std() < 0.01 * abs(float((said - before).mean()))


def test_other_zeros_are_shifted(tuning, capsys):
    config = replace(tuning, atomic_energies='fit')
    with pytest.warns(UserWarning, match='energies of isolated atoms of H'):
        trainer = Trainer(config)
    assert "'refit' is taken as true" in capsys.readouterr().out
    said, expected = energies(trainer.potential, config)
    assert abs(float((said - expected).mean())) < 0.05


def test_copies_are_known(tuning, tmp_path, capsys):
    # As the loops of 'learn' have them.
    path = tmp_path / 'copy.safetensors'
    shutil.copyfile(find_checkpoint(tuning.init), path)
    Trainer(replace(tuning, init=str(path), atomic_energies='fit')).fit()
    assert "'refit' is taken as true" in capsys.readouterr().out
    assert load_checkpoint(tuning.out)[1]['init'] == {
        'name': 'one', 'version': '2', 'sha256': read_card('one')['sha256']}


def test_the_same_zero_is_not_shifted(tuning, first, capsys):
    config = replace(tuning, data=first.data, atomic_energies='fit')
    potential = Trainer(config).potential
    assert 'refit' not in capsys.readouterr().out
    before = load_potential(config.init)
    assert torch.equal(potential.atomic_energies, before.atomic_energies)


@pytest.mark.slow
def test_a_run_notes_where_it_began(tuning, release, tmp_path):
    card = read_card('one')
    origin = {'name': 'one', 'version': '2', 'sha256': card['sha256']}
    Trainer(tuning).fit()
    _, description = load_checkpoint(tuning.out)
    assert description['init'] == origin
    assert description['config']['init'] == 'pretrained:one'
    # It is not looked for again, and what follows knows it, too.
    release('one', tuning.out, version='3')
    Trainer(replace(tuning, resume=True, num_steps=16)).fit()
    assert load_checkpoint(tuning.out)[1]['init'] == origin
    Trainer(replace(tuning, init=tuning.out,
                    out=str(tmp_path / 'third'))).fit()
    assert load_checkpoint(tmp_path / 'third')[1]['init'] == origin


def test_notes_are_checked(tuning, tmp_path):
    from torch_sake.checkpoint import save_checkpoint
    tensors, description = load_checkpoint(tuning.init)
    save_checkpoint(tmp_path / 'a.safetensors', tensors, {
        **description, 'init': {'name': 'one', 'version': 1}})
    with pytest.raises(ValueError, match="'init.version' must be of type str"):
        load_potential(tmp_path / 'a.safetensors')


@pytest.mark.slow
def test_commands(tuning, first, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['evaluate', '--checkpoint', tuning.init, '--data', first.data,
                 '--part', 'all']) == 0
    assert (tmp_path / 'runs' / 'one' / 'evaluation').exists()
    assert main(['train', '--data', tuning.data, '--init', tuning.init,
                 '--num_train', '16', '--num_val', '4', '--num_steps', '2',
                 '--out', 'tuned']) == 0
    assert main(['train', '--data', tuning.data, '--init',
                 'pretrained:another', '--out', 'other']) != 0
    assert 'there is pretrained:one' in capsys.readouterr().err
    assert not (tmp_path / 'other').exists()


def test_settings_take_the_name():
    assert TrainConfig(init='pretrained:one').init == 'pretrained:one'
