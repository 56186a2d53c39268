"""What is refused before anything runs."""

import os

import numpy
import pytest
import torch

from torch_sake.learning.beginning import draw_split

ase = pytest.importorskip('ase')
ase_io = pytest.importorskip('ase.io')


def changed(begun, tmp_path, **info):
    """The structure with something else said of it."""
    atoms = ase_io.read(begun['structures'])
    atoms.info.update(info)
    path = str(tmp_path / 'changed.extxyz')
    ase_io.write(path, [ase_io.read(begun['structures']), atoms])
    return path


def refused(learner, tmp_path, message, error=ValueError, **settings):
    with pytest.raises(error, match=message):
        learner(**settings)
    assert 'loop' not in os.listdir(tmp_path)  # nothing has begun


def test_unknown_elements(begun, learner, tmp_path):
    atoms = ase_io.read(begun['structures'])
    atoms.numbers[0] = 79
    path = str(tmp_path / 'gold.extxyz')
    ase_io.write(path, [ase_io.read(begun['structures']), atoms])
    refused(learner, tmp_path, r"structure 1 has Au, atomic numbers \[79\], "
            r"which 'data' and 'init' do not have \(only Cu\)",
            structures=path)
    refused(learner, tmp_path, "which 'data' do not", structures=path,
            init=None)
    learner(structures=f'{path}@0')  # the other one alone


def test_elements_of_the_labels(begun, learner, tmp_path, monkeypatch):
    monkeypatch.setattr('torch_sake.sampling.calculator.XTB_ELEMENTS', 28)
    pytest.importorskip('tblite')
    refused(learner, tmp_path, "no parameters of Cu", label='xtb')


def test_no_calculator(learner, tmp_path):
    refused(learner, tmp_path, "'label' must be a calculator",
            label='ase.calculators.emt:DFT')


def test_atoms_on_each_other(begun, learner, tmp_path):
    atoms = ase_io.read(begun['structures'])
    atoms.positions[1] = atoms.positions[0]
    path = str(tmp_path / 'wrong.extxyz')
    ase_io.write(path, atoms)
    refused(learner, tmp_path, 'structure 0.*do not lie on each other',
            structures=path)


def test_charges(begun, learner, tmp_path):
    path = changed(begun, tmp_path, charge=1)
    refused(learner, tmp_path, 'structure 1 must have a charge and a spin of '
            "'data'", structures=path, label='files')
    refused(learner, tmp_path, 'told nothing', structures=path,
            init=None, embed_charge=True)
    path = changed(begun, tmp_path, charge=0.5)
    refused(learner, tmp_path, "'charge' must be an integer",
            structures=path)


def test_no_uncertainty(begun, learner, tmp_path):
    from torch_sake.checkpoint import load_checkpoint, save_checkpoint
    tensors, description = load_checkpoint(begun['init'][0])
    del description['uncertainty']
    names = description['potential']['names']
    description['potential']['names'] = [
        name for name in names if not name.startswith('rigidity')]
    path = str(tmp_path / 'old.safetensors')
    save_checkpoint(path, {
        name: tensor for name, tensor in tensors.items()
        if 'rigidity' not in name}, description)
    refused(learner, tmp_path, "'init' must have uncertainties of forces, or "
            "be several", init=path)
    data = str(tmp_path / 'energies.extxyz')
    frames = ase_io.read(begun['data'], ':')
    for atoms in frames:
        del atoms.calc.results['forces']
    ase_io.write(data, frames)
    refused(learner, tmp_path, "'data' must have forces", init=None,
            data=data)


def test_structures_are_at_rest(begun, learner, tmp_path):
    """All of several files, or one of a file."""
    atoms = ase_io.read(begun['structures'])
    atoms.set_momenta(numpy.ones((6, 3)))
    path = str(tmp_path / 'moving.extxyz')
    ase_io.write(path, [atoms, atoms], columns=[
        'symbols', 'positions', 'momenta'])
    one = learner(structures=[path, begun['structures']])
    starts = one.beginning.starts
    assert len(starts) == 3
    assert not any(atoms.has('momenta') for atoms in starts)
    assert len(learner(structures=f'{path}@1').beginning.starts) == 1


def test_split_of_the_run(begun, learner, tmp_path):
    """Test frames of the run are learned by nobody."""
    split = learner().beginning.split
    assert [len(part) for part in vars(split).values()] == [18, 4, 2]
    assert not learner().beginning.learns
    assert learner(init=None).beginning.learns


@pytest.fixture
def other_run(begun, tmp_path):
    """The second potential, as if it had been trained on another split."""
    from torch_sake.checkpoint import load_checkpoint, save_checkpoint

    def make(**parts):
        tensors, description = load_checkpoint(begun['init'][1])
        for name, part in parts.items():
            tensors[f'split.{name}'] = torch.tensor(part)
        path = str(tmp_path / 'other.safetensors')
        save_checkpoint(path, tensors, description)
        return [begun['init'][0], path]
    return make


def test_members_of_other_splits(learner, other_run):
    """What one has learned validates none, what one tests on stays out."""
    first = learner().beginning.split
    val, test = first.val.tolist(), first.test.tolist()
    train = first.train.tolist()
    one = learner(init=other_run(
        train=[*train[2:], *val[3:], test[0]], val=[*val[:3], train[0]],
        test=[train[1], test[1]])).beginning
    assert not one.learns
    assert one.split.val.tolist() == val[:3]
    assert {*one.split.test.tolist()} == {train[1], *test}
    assert sorted([*one.split.train.tolist(), *val[:3], train[1], *test]) == [
        *range(24)]


def test_members_without_common_validation_frames(learner, other_run):
    first = learner().beginning.split
    val, test = first.val.tolist(), first.test.tolist()
    train = first.train.tolist()
    init = other_run(train=[*train[5:], *val], val=train[1:5],
                     test=[train[0], *test])
    with pytest.warns(UserWarning, match='no validation frames in common'):
        one = learner(init=init).beginning
    assert one.learns and len(one.split.val) > 0
    drawn = [*one.split.train.tolist(), *one.split.val.tolist()]
    assert sorted([*drawn, train[0], *test]) == [*range(24)]


def test_other_data_than_those_of_the_run(begun, learner, tmp_path, capsys):
    learner()
    assert 'too small' not in capsys.readouterr().out
    data = str(tmp_path / 'more.extxyz')
    frames = ase_io.read(begun['data'], ':')
    ase_io.write(data, [*frames, frames[0]])
    assert learner(data=data).beginning.learns
    assert 'if it has learned some of them, errors on validation frames' in (
        capsys.readouterr().out)


def test_drawn_split(begun, learner):
    frames = learner().beginning.frames
    config = learner().config
    split = draw_split(config, frames)
    assert len(split.val) == 2 and len(split.test) == 0
    assert sorted([*split.train.tolist(), *split.val.tolist()]) == [
        *range(24)]
    config.num_val = 23
    assert len(draw_split(config, frames).train) == 1
    config.num_val = 24
    with pytest.raises(ValueError, match="'num_val' must leave frames"):
        draw_split(config, frames)
