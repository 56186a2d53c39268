"""Errors beside what was said of them."""

import json
import os

import numpy
import pytest
import torch

from torch_sake import Ensemble, Potential, VectorSAKE, load_potential
from torch_sake.cli import main
from torch_sake.datasets import read_frames
from torch_sake.evaluation.calibration import (
    calibration,
    format_calibration,
    plot_calibration,
    rank_correlation,
)
from torch_sake.evaluation.metrics import (
    predict,
    predict_batch,
    predict_batch_with_std,
)
from torch_sake.evaluation.predictions import Predicted, Predictions

UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def synthetic(number=4000, factor=1.0):
    generator = torch.Generator().manual_seed(0)
    std = torch.rand(number, generator=generator).double() + 0.1
    error = factor * std * torch.randn(number, generator=generator).double()
    force_std = std.unsqueeze(1).repeat(1, 3)
    force = force_std * torch.randn(number, 3, generator=generator).double()
    zero, index = torch.zeros_like(force), torch.arange(number)
    return Predictions(
        torch.ones(number, dtype=torch.long), torch.ones(number).long(),
        {'energy': Predicted(error, torch.zeros_like(error), index),
         'force': Predicted(force, zero, index)},
        {'energy': std, 'force': force_std})


def test_normal_errors():
    found = calibration(synthetic())
    for values in found.values():
        assert values['within_one_std'] == pytest.approx(0.683, abs=0.02)
        assert values['rms_ratio'] == pytest.approx(1.0, abs=0.03)
    wide = calibration(synthetic(factor=2.0))['energy']
    assert wide['rms_ratio'] == pytest.approx(2.0, abs=0.06)
    assert wide['within_one_std'] == pytest.approx(0.383, abs=0.02)
    text = format_calibration(found)
    assert 'energies: 67.' in text and 'forces: 68.' in text


def test_rank_correlation():
    """Against that of scipy, with equal values."""
    stats = pytest.importorskip('scipy.stats')
    rng = numpy.random.default_rng(0)
    one, other = rng.integers(9, size=50) * 1.0, rng.integers(9, size=50)
    assert rank_correlation(one, other) == pytest.approx(
        float(stats.spearmanr(one, other)[0]), rel=1e-9)
    assert rank_correlation(one, one**3) == pytest.approx(1.0)
    assert rank_correlation(one, numpy.ones(50)) is None
    assert rank_correlation(one[:1], one[:1]) is None


def test_zero_and_infinite_deviations(tmp_path):
    outputs = synthetic(50)
    outputs.stds['energy'][:3] = torch.tensor([0.0, torch.inf, torch.inf])
    values = calibration(outputs)['energy']
    assert numpy.isfinite(values['rms_ratio'])
    json.dumps(values, allow_nan=False)
    plot_calibration(outputs, UNITS, str(tmp_path))
    outputs.stds['force'][:] = 0.0
    assert calibration(outputs)['force']['rms_ratio'] is None
    assert 'ratio -' in format_calibration(calibration(outputs))
    plot_calibration(outputs, UNITS, str(tmp_path))
    assert os.path.getsize(tmp_path / 'calibration.png') > 1000


@pytest.fixture
def run(water_file, tmp_path, small):
    out = str(tmp_path / 'run')
    assert main(['train', '--data', water_file, '--out', out, *small]) == 0
    return out


@pytest.fixture
def small():
    return ['--num_train', '16', '--num_val', '4', '--num_steps', '6',
            '--batch_size', '4', '--val_interval', '3', '--hidden_channels',
            '8', '--num_layers', '1', '--num_rbf', '4']


def test_evaluate(run, water_file, tmp_path, capsys):
    """Numbers, columns and the file of predictions say the same."""
    ase_io = pytest.importorskip('ase.io')
    path = str(tmp_path / 'out.extxyz')
    capsys.readouterr()
    assert main(['evaluate', '--checkpoint', run, '--data', water_file,
                 '--part', 'all', '--predictions', path]) == 0
    assert 'within one standard deviation' in capsys.readouterr().out
    folder = os.path.join(run, 'evaluation')
    assert os.path.exists(os.path.join(folder, 'calibration.png'))
    with open(os.path.join(folder, 'evaluation.json')) as file:
        found = json.load(file)['calibration']
    potential = load_potential(run)
    images, frames = ase_io.read(path, ':'), read_frames(water_file)
    assert len(images) == len(frames)
    ratios, inside = [], []
    for image, data in zip(images, frames):
        out = potential.statistics(data.z, data.pos.float())
        std = image.arrays['SAKE_forces_std']
        assert numpy.allclose(std, out.forces_std, rtol=1e-3)
        assert image.info['SAKE_energy_std'] == pytest.approx(
            float(out.energy_std), rel=1e-3)
        error = image.arrays['SAKE_forces'] - data.force.numpy()
        ratios.append((error / std).ravel())
        inside.append((abs(error) <= std).ravel())
    assert found['force']['rms_ratio'] == pytest.approx(
        float(numpy.sqrt(numpy.square(numpy.concatenate(ratios)).mean())),
        rel=1e-3)
    assert found['force']['within_one_std'] == pytest.approx(
        float(numpy.concatenate(inside).mean()), abs=0.01)
    with open(os.path.join(folder, 'frames.csv')) as file:
        assert 'energy_std' in file.readline()


def test_what_has_none(water_file):
    from torch_geometric.loader import DataLoader
    plain = Potential(VectorSAKE(8, num_layers=1))
    frames = read_frames(water_file)[:4]
    loader = DataLoader(frames, batch_size=3)
    outputs = predict(plain, loader, torch.device('cpu'))
    assert outputs.stds == {} and calibration(outputs) == {}
    data = next(iter(loader))
    for key, value in predict_batch(plain, data).items():
        assert torch.equal(predict_batch_with_std(plain, data)[key], value)
    ensemble = Ensemble([plain, Potential(VectorSAKE(8, num_layers=1))])
    outputs = predict(ensemble, loader, torch.device('cpu'))
    assert {name: std.shape[0] for name, std in outputs.stds.items()} == {
        'energy': 4, 'force': 12}
    del data.force
    out = predict_batch_with_std(ensemble, data)
    assert out.keys() == {'energy', 'energy_std'}
    expected = ensemble.statistics(data.z, data.pos.float(), data.batch)
    assert torch.allclose(out['energy_std'], expected.energy_std, rtol=1e-3)
