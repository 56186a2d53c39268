"""What is said of the parts of a split before a run."""

import warnings
from dataclasses import replace

import numpy
import pytest
import torch

from torch_sake.datasets import (
    Frames,
    FramesOnDisk,
    JoinedFrames,
    Split,
    write_frames,
)
from torch_sake.training import Trainer, checks
from torch_sake.training.checks import check_labels, warn_of_shared_frames

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('pytorch_lightning')
UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def build(pos, energy=None, force=None, source='a.xyz'):
    number = len(pos)
    return Frames([[1, 8]] * number, list(pos), energy or [0.0] * number,
                  force, name='a', units=UNITS, source=source)


def split(*parts):
    return Split(*(torch.tensor(part, dtype=torch.long) for part in parts))


@pytest.fixture
def pos():
    return numpy.random.default_rng(0).normal(0, 2, (12, 2, 3))


def said(frames, parts):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        warn_of_shared_frames(frames, parts)
    return [str(warning.message) for warning in caught]


def test_shared_frames_are_named(pos):
    other = pos[:8].copy()
    other[3] = pos[9].round(6)
    other[5] = pos[2] + 4e-7
    other[6] = pos[2] + 1e-5  # another one
    other[:3] += 1.0
    other[7] = pos[4]
    frames = JoinedFrames([build(pos), build(other[3:], source='b.xyz')])
    parts = split([9, 2, 1], [0, 4, 16], [12, 13, 14, 15, 3])
    assert said(frames, parts) == [
        "Of the frames to validate and test on, 2 of 'test' are training "
        "frames, too: 'b.xyz', frame 0 is 'a.xyz', frame 9"]
    parts = split([9, 2, 4], [16, 0], [3, 12])
    assert said(frames, parts) == [
        "Of the frames to validate and test on, 1 of 'val' and 1 of 'test' "
        "are training frames, too: 'b.xyz', frame 4 is 'a.xyz', frame 4"]
    assert said(frames, split([9, 2, 1], [0], [])) == []
    # What is twice in one part is not shared:
    assert said(frames, split([9, 12, 2, 14], [0, 1], [3])) == []


def test_some_of_many_frames_are_compared(pos, tmp_path, monkeypatch):
    frames = build(numpy.concatenate([pos, pos]))
    write_frames([frames], tmp_path / 'a.frames')
    parts = split(list(range(12)), list(range(12, 18)), list(range(18, 24)))
    on_disk = FramesOnDisk(tmp_path / 'a.frames')
    for some in (frames, on_disk):
        assert "6 of 'val' and 6 of 'test'" in said(some, parts)[0]
    monkeypatch.setattr(checks, 'MAX_READ', 6)
    assert "at least 3 of 'val' and at least 3 of 'test'" in said(on_disk,
                                                                  parts)[0]
    monkeypatch.setattr(checks, 'MAX_ATOMS', 10)
    assert "at least 3 of 'val' and at least 3 of 'test'" in said(frames,
                                                                  parts)[0]
    monkeypatch.setattr(checks, 'MAX_ATOMS', 10**6)
    monkeypatch.setattr(checks, 'MAX_PAIRS', 4)
    assert "at least 4 of 'val'" in said(frames, parts)[0]


def test_labels_of_parts(pos):
    force = numpy.zeros((2, 3))
    frames = build(pos, [None, None, 1.0, 2.0, *8 * [None]],
                   [None, None, None, None, *6 * [force], None, None])
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert check_labels(frames, split([2, 4], [5], [0])) == ['energy',
                                                                 'force']
        assert check_labels(frames, split([2, 0], [3], [5])) == ['energy']
        assert check_labels(frames, split([4], [5, 2], [])) == ['force']
    with pytest.warns(UserWarning, match='validation frames have no forces'):
        check_labels(frames, split([2, 4], [3], [5]))
    with pytest.raises(ValueError, match=r'training frames must have labels '
                       r'\(there are none in a.xyz: see'):
        check_labels(frames, split([0, 1, 10], [2], [3]))
    with pytest.raises(ValueError, match=r"validation frames must have labels "
                       r"that .*\['energy', 'force'\] \(got 2 frames with "
                       r"none\)"):
        check_labels(frames, split([2, 4], [0, 1], [3]))
    with pytest.raises(ValueError, match=r"of \['energy'\] \(got 1 frames "
                       r"with \['force'\]"):
        check_labels(frames, split([2], [4], [3]))


def strip(path, out, labels):
    """Writes the frames with those labels that their index is to have."""
    frames = ase_io.read(path, ':')
    for index, atoms in enumerate(frames):
        atoms.calc.results = {name: atoms.calc.results[name]
                              for name in labels(index)}
    ase_io.write(out, frames, format='extxyz')
    return str(out)


@pytest.mark.parametrize('labels,weights', [
    (lambda i: ['energy', 'forces'] if i % 2 else ['energy'],
     {'force', 'energy'}),
    (lambda i: ['forces'] if i % 3 else ['energy'], {'force', 'energy'}),
    (lambda i: ['forces'], {'force', 'energy'}),
    (lambda i: ['energy'] if i % 2 else [], {'energy'}),
    # Forces of test frames alone teach nothing:
    (lambda i: ['energy', 'forces'] if i > 25 else ['energy'], {'energy'}),
], ids=['some forces', 'one of both', 'forces', 'some energies', 'test'])
def test_runs_on_what_there_is(config, tmp_path, labels, weights):
    path = strip(config.data, tmp_path / 'some.xyz', labels)
    numpy.savez(tmp_path / 'split.npz', train=numpy.arange(20),
                val=numpy.arange(20, 25), test=numpy.arange(25, 30))
    trainer = Trainer(replace(config, data=path, num_train=None, num_val=None,
                              split=str(tmp_path / 'split.npz')))
    trainer.fit()
    assert set(trainer.module.loss.weights) == weights
    for row in trainer.history:
        assert numpy.isfinite(list(row.values())).all()
    assert trainer.history[0]['loss'] > 0 and trainer.best > 0


def test_runs_whose_validation_frames_have_no_forces(config, tmp_path):
    path = strip(config.data, tmp_path / 'some.xyz', lambda i: [
        'energy', 'forces'] if i < 20 else ['energy'])
    numpy.savez(tmp_path / 'split.npz', train=numpy.arange(20),
                val=numpy.arange(20, 25), test=numpy.arange(25, 30))
    with pytest.warns(UserWarning, match='validation frames have no forces'):
        trainer = Trainer(replace(
            config, data=path, num_train=None, num_val=None,
            split=str(tmp_path / 'split.npz')))
    trainer.fit()
    row = trainer.history[-1]
    assert 'force_mae' not in row
    assert trainer.module.scores[-1] == pytest.approx(
        config.energy_weight * row['energy_mae'] / trainer.data.scale)


def test_half_of_the_labels_teach_what_half_of_the_frames_do(config, tmp_path):
    """Frames without a label beside those with all of them change nothing of
    what is learned from these."""
    halved = strip(config.data, tmp_path / 'half.xyz', lambda i: [
        'energy', 'forces'] if i % 2 else [])
    frames = ase_io.read(config.data, ':')
    for part, name in ((frames[1::2], 'labeled.xyz'), (frames, 'all.xyz')):
        ase_io.write(tmp_path / name, part, format='extxyz')
    numpy.savez(tmp_path / 'half.npz', train=numpy.arange(20),
                val=numpy.arange(20, 26), test=numpy.arange(26, 30))
    numpy.savez(tmp_path / 'labeled.npz', train=numpy.arange(10),
                val=numpy.arange(10, 13), test=numpy.arange(13, 15))
    runs = []
    for data, name, size in ((halved, 'half', 20),
                             (str(tmp_path / 'labeled.xyz'), 'labeled', 10)):
        # Batches of all frames have the same rows with labels.
        runs.append(Trainer(replace(
            config, data=data, split=str(tmp_path / f'{name}.npz'),
            num_train=None, num_val=None, batch_size=size, num_steps=8,
            precision='float64', out=f'{config.out}-{name}')))
        runs[-1].fit()
    half, labeled = runs
    assert half.data.scale == pytest.approx(labeled.data.scale)
    for one, other in zip(half.history, labeled.history):
        for key in ('loss', 'energy_mae', 'force_mae'):
            assert one[key] == pytest.approx(other[key], rel=1e-6)


@pytest.mark.slow
@pytest.mark.compile
@pytest.mark.parametrize('compiled', [False, True])
def test_batches_without_a_label(config, tmp_path, compiled, fresh_compiler):
    """A step of frames without forces, and one without any label, change no
    weight to NaN."""
    path = strip(config.data, tmp_path / 'some.xyz', lambda i: (
        ['energy', 'forces'], ['energy'], [])[i % 3])
    trainer = Trainer(replace(config, data=path, num_train=12, num_val=9,
                              batch_size=1, compile=compiled))
    trainer.fit()
    for row in trainer.history:
        assert numpy.isfinite(list(row.values())).all()
    for value in trainer.potential.state_dict().values():
        assert value.isfinite().all()
    known = trainer.data.frames[trainer.data.split.train].known('force')
    assert known.any() and not known.all()
