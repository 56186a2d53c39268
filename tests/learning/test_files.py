"""Structures that the user labels."""

import os.path as osp
import re

import numpy
import pytest
import torch

from torch_sake.datasets import read_frames
from torch_sake.evaluation.predictions import Predicted, Predictions
from torch_sake.learning.rounds import OVER, WAITS
from torch_sake.learning.training import warn_of_another_zero
from torch_sake.potentials.load import load_potential

ase = pytest.importorskip('ase')
ase_io = pytest.importorskip('ase.io')
SinglePointCalculator = pytest.importorskip(
    'ase.calculators.singlepoint').SinglePointCalculator
ROUND = 'round_1'


@pytest.fixture
def waiting(begun, learner, emt_labels, tmp_path):
    """A loop of one potential that waits for labels, and right ones."""
    def make():
        return learner(label='files', num_rounds=1, init=begun['init'][0],
                       max_force_std=1.0)
    one = make()
    assert one.run() == WAITS
    folder = osp.join(one.config.out, ROUND)
    asked = ase_io.read(osp.join(folder, 'to_label.extxyz'), ':')
    assert len(asked) == 4
    return make, folder, [emt_labels(atoms.copy()) for atoms in asked]


def write(folder, frames, name='labeled.extxyz'):
    ase_io.write(osp.join(folder, name), frames)


def test_it_waits(waiting):
    make, folder, _ = waiting
    with open(osp.join(folder, 'to_label.extxyz')) as file:
        before = file.read()
    assert 'energy' not in before and 'forces' not in before
    one = make()
    assert one.run() == WAITS
    with open(osp.join(folder, 'to_label.extxyz')) as file:
        assert file.read() == before
    line = one.describe_end(WAITS)
    assert 'has 4 structures to label' in line and '\n' not in line
    assert osp.join(folder, 'labeled.extxyz') in line
    # The potential is there in the meantime:
    assert osp.exists(one.checkpoints[0])


@pytest.mark.slow
def test_labels_in_another_order(waiting, capsys):
    """Of frames and of atoms, in another place and orientation. The last one
    has no labels."""
    make, folder, frames = waiting
    axis = numpy.array([1.0, 2.0, 3.0]) / 14**0.5
    for index, atoms in enumerate(frames):
        order = numpy.random.default_rng(index).permutation(6)
        energy, forces = atoms.calc.results.values()
        turned = ase.Atoms(atoms.numbers, forces)  # as positions are
        for rows in (atoms, turned):
            rows.rotate(40 * index + 10, axis)
        frames[index] = ase.Atoms(atoms.numbers[order],
                                  atoms.positions[order] + 5.0)
        frames[index].calc = SinglePointCalculator(
            frames[index], energy=energy, forces=turned.positions[order])
    energies = [atoms.calc.results['energy'] for atoms in frames]
    frames[3].calc = None
    write(folder, frames[::-1])
    one = make()
    assert one.run() == OVER
    assert '1 of 4 structures lack energy or forces' in capsys.readouterr().out
    found = read_frames(osp.join(folder, 'learned.extxyz'))
    assert [float(data.energy) for data in found] == pytest.approx(
        energies[:3], abs=1e-6)
    assert [found.info(index)['config_type'] for index in range(3)] == (
        3 * ['learn_1'])
    assert one.rows[0]['labels'] == 3


def stretch(frames):
    frames[2].positions *= 1.01


def other_elements(frames):
    frames[1].numbers[0] = 47


def missing(frames):
    del frames[1]


def twice(frames):
    frames.append(frames[0])


def none(frames):
    for atoms in frames:
        atoms.calc = None


def exchanged(frames):
    """The labels alone, of the two structures that differ the most."""
    sizes = [numpy.linalg.norm(atoms.calc.results['forces'])
             for atoms in frames]
    one, two = int(numpy.argmin(sizes)), int(numpy.argmax(sizes))
    frames[one].calc.results, frames[two].calc.results = (
        frames[two].calc.results, frames[one].calc.results)


def charged(frames):
    frames[2].info['charge'] = 1


@pytest.mark.parametrize('change, message', [
    (stretch, "frame 2: The structure must be one of 'to_label.extxyz' (its "
              "interatomic distances differ by up to 0.0"),
    (other_elements, "frame 1: The structure must be one of "
                     "'to_label.extxyz' (there is none with its atoms)"),
    (missing, "must have all 4 structures of 'to_label.extxyz', without "
              "labels where there are none (there is no number 1)"),
    (twice, "frame 4: The structure must be there once (it is number 0 of "
            "'to_label.extxyz', as is frame 0)"),
    (none, 'must have structures with energies and forces'),
    (exchanged, 'seem to be exchanged'),
    (charged, "frame 2: 'charge' must be that of the structure in "
              "'to_label.extxyz', 0 (got 1)"),
])
def test_wrong_labels(waiting, change, message):
    make, folder, frames = waiting
    change(frames)
    write(folder, frames)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        make().run()
    assert 'labeled.extxyz' in str(error.value)
    assert '\n' not in str(error.value)
    assert not osp.exists(osp.join(folder, 'learned.extxyz'))


def test_another_zero_of_energy(waiting):
    """Such as that of another method: the same forces, other energies."""
    make, folder, frames = waiting
    for atoms in frames:
        atoms.calc.results['energy'] += 6 * 30.0
    write(folder, frames)
    with pytest.warns(UserWarning, match=r"labeled.extxyz': The energies are "
                      r"(29|30)[.\d]* eV per atom away"):
        make().run()


def test_the_zero_of_the_potential(begun, recwarn):
    """Less than the scale of the potential is an error of its own."""
    scale = load_potential(begun['init'][0]).energy_scale
    label = torch.tensor([5.0, 7.0]).double()
    for shift, number in ((0.9, 0), (1.1, 1)):
        value = label - shift * scale * torch.tensor([2, 4])
        warn_of_another_zero('here', Predictions(
            torch.tensor([2, 4]), torch.full((6, ), 29),
            {'energy': Predicted(value, label, torch.arange(2))}),
            begun['init'][0], {'length': 'Angstrom', 'energy': 'eV'})
        assert len(recwarn) == number
    assert f'The energies are {1.1 * scale:.4g} eV' in str(recwarn[0].message)


def test_two_files(waiting):
    make, folder, frames = waiting
    write(folder, frames)
    write(folder, frames, 'labeled.traj')
    with pytest.raises(ValueError, match=r"one file 'labeled\.\*'"):
        make().run()


@pytest.mark.slow
def test_keys_and_units_are_those_of_training(waiting, learner, begun):
    """A file with labels of other names, in another unit."""
    make, folder, frames = waiting
    for atoms in frames:
        results = atoms.calc.results
        atoms.calc = None
        atoms.info['dft'] = 23.0605478 * results['energy']
        atoms.arrays['dft_forces'] = 23.0605478 * results['forces']
    write(folder, frames)
    with pytest.raises(ValueError, match="'forces_key' must be given"):
        make().run()
    one = learner('other', label='files', num_rounds=1,
                  init=begun['init'][0], max_force_std=1.0, data=None,
                  energy_key='dft', forces_key='dft_forces',
                  units='kcal/mol')
    assert one.run() == WAITS
    write(osp.join(one.config.out, ROUND), frames)
    assert one.run() == OVER
    found = read_frames(osp.join(one.config.out, ROUND, 'learned.extxyz'))
    assert [23.0605478 * float(data.energy) for data in found] == (
        pytest.approx([atoms.info['dft'] for atoms in frames], abs=1e-4))
