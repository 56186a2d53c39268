"""Frames that weigh more or less than others."""

import math
import warnings
from dataclasses import replace

import numpy
import pytest
import torch
from torch_geometric.data import Batch

from torch_sake.datasets import (
    Frames,
    FramesOnDisk,
    JoinedFrames,
    write_frames,
)
from torch_sake.training import Trainer
from torch_sake.training.weights import weigh_frames

ase_io = pytest.importorskip('ase.io')
pytest.importorskip('pytorch_lightning')
UNITS = {'length': 'Angstrom', 'energy': 'eV'}
INFOS = [{'config_weight': 2.0, 'config_type': 'gas'},
         {'config_type': 'gas'}, {'config_weight': 1}, {},
         {'config_weight': 0.0, 'config_type': 'liquid'}]
TRAIN = torch.tensor([4, 1, 0, 2])


def build(infos=INFOS, source='some.xyz'):
    number = len(infos)
    pos = numpy.arange(3.0 * number).reshape(number, 1, 3)
    return Frames([[1]] * number, list(pos), numpy.zeros(number), name='some',
                  units=UNITS, source=source, infos=infos)


def weights(frames, name='weight'):
    return [float(data[name]) for data in frames]


def test_weights_of_frames():
    frames = weigh_frames(build(), TRAIN, None)
    # 0, 1, 2 and 1 have the mean 1; others than training frames have 1.
    assert weights(frames) == [2.0, 1.0, 1.0, 1.0, 0.0]
    frames = weigh_frames(build(), TRAIN[:3], {'gas': 3.0, 'Default': 5.0})
    assert weights(frames) == pytest.approx([2.0, 1.0, 1.0, 1.0, 0.0])
    frames = weigh_frames(build(), torch.arange(5), {'gas': 0.5,
                                                     'Default': 4})
    expected = numpy.array([1.0, 0.5, 4.0, 4.0, 0.0])
    assert weights(frames) == pytest.approx(expected / expected.mean())


def test_weights_of_one_cost_nothing():
    for infos in ([{}] * 5, [{'config_weight': 1.0}] * 5,
                  [{'config_weight': 7}] * 5):
        frames = build(infos)
        assert weigh_frames(frames, TRAIN, None) is frames
    frames = build([{'config_type': 'gas'}] * 5)
    assert weigh_frames(frames, TRAIN, {'gas': 3.0}) is frames


def test_weights_of_single_labels():
    infos = [{'config_energy_weight': 0.0, 'config_weight': 3.0},
             {'config_forces_weight': 2.0}, {}, {'config_stress_weight': 0.5}]
    frames = weigh_frames(build(infos), torch.arange(4), None)
    assert weights(frames) == [2.0, 2 / 3, 2 / 3, 2 / 3]
    assert weights(frames, 'energy_weight') == [0.0, 1.0, 1.0, 1.0]
    assert weights(frames, 'force_weight') == [1.0, 2.0, 1.0, 1.0]
    assert weights(frames, 'stress_weight') == [1.0, 1.0, 1.0, 0.5]


def test_weights_of_joined_frames_and_on_disk(tmp_path):
    write_frames([build()], tmp_path / 'some.frames')
    expected = weights(weigh_frames(build(), TRAIN, {'gas': 0.3}))
    on_disk = FramesOnDisk(tmp_path / 'some.frames')
    assert weights(weigh_frames(on_disk, TRAIN, {'gas': 0.3})) == expected
    joined = JoinedFrames([build([{}, {}]), on_disk])
    assert weights(weigh_frames(joined, TRAIN + 2, {'gas': 0.3})) == [
        1.0, 1.0, *expected]
    own = build([{}] * 5).with_entries(weight=torch.arange(5.0))
    assert weights(weigh_frames(own, torch.arange(5), None)) == [
        0.0, 0.5, 1.0, 1.5, 2.0]
    joined = JoinedFrames([own, own[[1, 0]]])
    assert weights(joined) == [0.0, 1.0, 2.0, 3.0, 4.0, 1.0, 0.0]


@pytest.mark.parametrize('value', [-1.0, math.inf, math.nan, 'heavy', True])
def test_what_is_no_weight(value):
    infos = [{}] * 3 + [{'config_weight': value}, {}]
    with pytest.raises(ValueError, match=r"'some.xyz', frame 3: "
                       r"'config_weight' must be a number that is finite and "
                       r"not negative \(got"):
        weigh_frames(build(infos), torch.tensor([0, 3]), None)
    # No training frame:
    weigh_frames(build(infos), torch.tensor([0, 1]), None)


def test_weights_that_cannot_be():
    with pytest.raises(ValueError, match='must have weights above 0'):
        weigh_frames(build(), TRAIN[:1], None)
    with pytest.warns(UserWarning, match=r"types \['solid'\] of which there "
                      r"are no training frames: .* {'gas': 2, 'liquid': 1, "):
        weigh_frames(build(), TRAIN, {'solid': 2.0, 'Default': 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        weigh_frames(build(), TRAIN[:3], {'Default': 2.0})


@pytest.fixture
def weighed(config, tmp_path):
    """A run on frames of which three training frames have an energy and
    forces that are far off and a weight of zero, and one on the others."""
    frames = ase_io.read(config.data, ':')
    for index in (2, 3, 5):
        frames[index].calc.results['forces'] *= 3.0
        frames[index].info['config_weight'] = 0.0
    split = {'train': numpy.arange(20), 'val': numpy.arange(20, 25),
             'test': numpy.arange(25, 30)}
    numpy.savez(tmp_path / 'split.npz', **split)
    path = str(tmp_path / 'weighed.xyz')
    ase_io.write(path, frames, format='extxyz')
    return replace(config, data=path, num_train=None, num_val=None,
                   split=str(tmp_path / 'split.npz'), batch_size=20)


def test_frames_of_no_weight_teach_nothing(weighed):
    """Whole batches: the loss is that of the seventeen others, by the mean."""
    trainer = Trainer(weighed)
    batch = next(iter(trainer.data.batches('train')))
    loss = trainer.module.loss_of(batch)
    others = torch.tensor([i for i in range(20) if i not in (2, 3, 5)])
    frames = trainer.data.frames[others]
    plain = Batch.from_data_list(list(frames))
    del plain.weight
    expected = trainer.module.loss_of(plain)
    assert float(loss.detach()) == pytest.approx(float(expected.detach()),
                                                 rel=1e-5)


def test_weights_are_those_of_the_run(weighed):
    """A run of equal weights is that without; another one is not, and does
    not go on with others."""
    plain = Trainer(replace(weighed, out=weighed.out + '-0', num_steps=4,
                            config_type_weights={'Default': 1.0}))
    plain.fit()
    again = Trainer(replace(weighed, out=weighed.out + '-1', num_steps=4,
                            config_type_weights={'Default': 3.0}))
    again.fit()
    for key, value in again.potential.state_dict().items():
        assert value.equal(plain.potential.state_dict()[key]), key
    with pytest.raises(ValueError, match="'config_type_weights'"):
        Trainer(replace(weighed, out=weighed.out + '-1', num_steps=4,
                        resume=True))
