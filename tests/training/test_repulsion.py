"""Potentials that are trained anew keep atoms apart."""

import os
import warnings
from dataclasses import replace

import numpy
import pytest
import torch
from torch_geometric.nn.models import SchNet

from torch_sake import ZBLRepulsion, load_potential
from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.datasets import Frames
from torch_sake.testing import (
    assert_bonds_hold,
    assert_dissociates,
    assert_repulsive,
)

pytest.importorskip('pytorch_lightning')
from torch_sake.training import TrainConfig, Trainer
from torch_sake.utils.inputs import LAST

Z = numpy.array([8, 1, 1])
WATER = numpy.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
BONDS = ((1, 0), (2, 0))
STIFFNESS = 50.0  # eV per square Angstrom
UNITS = {'length': 'Angstrom', 'energy': 'eV'}


@pytest.fixture
def frames():
    return water(UNITS)


def water(units):
    """Water with springs in the place of bonds."""
    rng = numpy.random.default_rng(0)
    positions, energies, forces = [], [], []
    for _ in range(24):
        pos = WATER + 0.03 * rng.normal(size=(3, 3))
        force, energy = numpy.zeros((3, 3)), -10.0
        for atom, other in BONDS:
            vec = pos[atom] - pos[other]
            length = numpy.linalg.norm(vec)
            energy += STIFFNESS / 2 * (length - 0.96)**2
            pull = STIFFNESS * (length - 0.96) * vec / length
            force[atom] -= pull
            force[other] += pull
        positions.append(pos)
        energies.append(energy)
        forces.append(force)
    return Frames([Z] * 24, positions, energies,
                  forces if 'energy' in units else None, name='some',
                  source='some', units=units)


@pytest.fixture
def config(tmp_path):
    return TrainConfig('some', num_train=16, num_val=4, num_steps=2,
                       batch_size=4, val_interval=2, hidden_channels=8,
                       num_layers=1, num_rbf=8, out=str(tmp_path / 'run'))


def test_new_potentials_have_it(config, frames):
    trainer = Trainer(config, frames=frames)
    prior = trainer.potential.prior
    assert isinstance(prior, ZBLRepulsion) and trainer.config.zbl is True
    assert prior.scale == 0.7 and prior.cutoff == 5.0
    trainer.fit()
    # The settings say what the run has, and so does its checkpoint:
    with open(os.path.join(config.out, 'config.yaml')) as file:
        assert 'zbl: true' in file.read()
    _, description = load_checkpoint(config.out)
    assert description['prior'] == {'cutoff': 5.0, 'scale': 0.7, **UNITS}
    assert load_potential(config.out).prior.scale == 0.7
    bare = Trainer(replace(config, zbl=False, out=config.out + '-2'),
                   frames=frames)
    assert bare.potential.prior is None and bare.config.zbl is False


def test_it_adds_nothing_to_the_data(config, frames):
    with_prior, bare = (Trainer(replace(config, zbl=zbl), frames=frames)
                        for zbl in (None, False))
    for trainer in (with_prior, bare):
        trainer.config.out += str(trainer.config.zbl)
        trainer.fit()
    for value, other in zip(with_prior.potential.parameters(),
                            bare.potential.parameters()):
        assert torch.equal(value, other)


def test_who_has_none(config, frames):
    # A model of one's own, whose cutoff is not that of the settings:
    trainer = Trainer(config, SchNet(8, 8, 1, 8, cutoff=2.0), frames)
    assert trainer.potential.prior is None and not trainer.config.zbl
    # Labels that are no energies:
    moments = water({'length': 'Angstrom', 'mu': 'D'})
    trainer = Trainer(config, frames=moments)
    assert trainer.potential.prior is None and not trainer.config.zbl
    with pytest.raises(ValueError, match="'zbl' must not be set for data"):
        Trainer(replace(config, zbl=True), frames=moments)


def test_units_that_are_not_known(config):
    frames = water({'length': 'sigma', 'energy': 'epsilon'})
    with pytest.warns(UserWarning, match="'zbl'.*'sigma', 'epsilon'"):
        trainer = Trainer(config, frames=frames)
    assert trainer.potential.prior is None and trainer.config.zbl is False
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        Trainer(replace(config, zbl=False), frames=frames)
    with pytest.raises(ValueError, match="'length' must be one of"):
        Trainer(replace(config, zbl=True), frames=frames)


@pytest.mark.parametrize('zbl', [True, False])
def test_resumed_runs_keep_what_they_had(config, frames, zbl):
    Trainer(replace(config, zbl=zbl), frames=frames).fit()
    if zbl:  # as versions before this one wrote it
        path = os.path.join(config.out, LAST)
        tensors, description = load_checkpoint(path)
        del description['prior']['scale']
        save_checkpoint(path, tensors, description)
    longer = replace(config, resume=True, num_steps=4)
    trainer = Trainer(longer, frames=frames)
    assert trainer.config.zbl is zbl
    if zbl:
        assert trainer.potential.prior.scale == 1.0
    else:
        assert trainer.potential.prior is None
    trainer.fit()
    assert trainer.step == 4
    with pytest.raises(ValueError, match=f"'zbl' must be {zbl}"):
        Trainer(replace(longer, zbl=not zbl), frames=frames)


@pytest.mark.parametrize('zbl', [True, False])
def test_init_keeps_what_there_is(config, frames, zbl):
    Trainer(replace(config, zbl=zbl), frames=frames).fit()
    tuning = replace(config, init=config.out, out=config.out + '-2',
                     hidden_channels=None, num_layers=None, num_rbf=None)
    trainer = Trainer(tuning, frames=frames)
    assert trainer.config.zbl is zbl
    assert (trainer.potential.prior is not None) == zbl
    trainer.fit()
    assert Trainer(replace(tuning, resume=True),
                   frames=frames).config.zbl is zbl
    with pytest.raises(ValueError, match=f"'zbl' must be .*, {zbl} .got "
                                         f"{not zbl}"):
        Trainer(replace(tuning, zbl=not zbl, out=config.out + '-3'),
                frames=frames)


def test_pressed_atoms_are_pushed_apart(config, frames):
    trainer = Trainer(replace(config, num_steps=40, val_interval=40),
                      frames=frames)
    trainer.fit()
    potential = load_potential(config.out).double()
    lengths = torch.arange(0.3, 0.7 * (0.31 + 0.66), 0.005,
                           dtype=torch.double)
    pos = torch.from_numpy(WATER).repeat(lengths.numel(), 1, 1)
    pos[:, 1, 0] = lengths
    batch = torch.arange(lengths.numel()).repeat_interleave(3)
    inputs = (torch.from_numpy(Z).repeat(lengths.numel()), pos.view(-1, 3),
              batch)
    with torch.no_grad():
        energy, forces, _ = potential(*inputs)
        assert bool((energy.diff() < 0).all())
        assert bool((forces.view(-1, 3, 3)[:, 1, 0] > 0).all())
        assert float(energy[0] - energy[-1]) > 50  # eV
        potential.prior = None  # what is learned has no such walls
        energy = potential.energy(*inputs)
    assert float(energy[0] - energy[-1]) < 10


def test_right_at_both_ends(config, frames):
    atoms = {'H': -1.0, 'O': -2.0}
    trainer = Trainer(replace(config, num_steps=40, val_interval=40,
                              atomic_energies=atoms), frames=frames)
    trainer.fit()
    potential = load_potential(config.out).double()
    water = torch.from_numpy(Z), torch.from_numpy(WATER)
    assert_repulsive(potential, water)
    assert_bonds_hold(potential, water, tol=0.05)
    assert_dissociates(potential, water, atoms, tol=1e-6)
    potential.isolated_atoms = None  # what the model says of atoms alone
    with pytest.raises(AssertionError, match='an isolated atom of the atomic'):
        assert_dissociates(potential, water, atoms, tol=1e-6)
