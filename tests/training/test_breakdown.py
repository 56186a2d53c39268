"""Errors by target, element and size, and their confidence intervals."""

import json
import math
import os
from dataclasses import replace

import numpy
import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake import Potential, VectorSAKE
from torch_sake.datasets import Frames, read_frames
from torch_sake.evaluation import bootstrap, report
from torch_sake.evaluation.bootstrap import error_intervals, resampled_sums
from torch_sake.evaluation.breakdown import (
    errors_by_element,
    errors_by_size,
    summarize,
)
from torch_sake.evaluation.metrics import (
    error_metrics,
    predict,
    sum_errors,
)
from torch_sake.evaluation.predictions import Predicted, Predictions
from torch_sake.evaluation.shown import format_table, shown_properties

UNITS = {'length': 'Angstrom', 'energy': 'eV'}
PROPERTIES = ['energy', 'energy_per_atom', 'force', 'stress']


@pytest.fixture
def outputs():
    """Six frames of three sizes, the fourth of which has no forces and only
    two of which have a stress."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    z = torch.tensor([1, 8, 1, 8, 1, 1, 1, 9, 9, 9, 9, 9, 6, 8, 6, 1, 1])
    return Predictions(torch.tensor([2, 3, 2, 5, 3, 2]), z, {
        'energy': Predicted(draw(6), draw(6), torch.arange(6)),
        'force': Predicted(draw(12, 3), draw(12, 3),
                           (z != 9).nonzero().flatten()),
        'stress': Predicted(draw(2, 3, 3), draw(2, 3, 3),
                            torch.tensor([1, 5]))})


def frames_of(outputs, name):
    """Returns the frame of each row, by a plain loop."""
    frames = list(range(6))
    if name == 'force':
        frames = sum(([frame] * int(number) for frame, number in
                      enumerate(outputs.num_atoms)), [])
    return [frames[index] for index in outputs[name].index]


def test_sums_of_frames_by_a_plain_loop(outputs):
    sums = outputs.frame_sums()
    for index in range(6):
        energy = float(outputs['energy'].value[index]
                       - outputs['energy'].label[index])
        errors = {'energy': [energy],
                  'energy_per_atom': [energy / int(
                      outputs.num_atoms[index])],
                  'force': [], 'stress': []}
        for name in ('force', 'stress'):
            for row, frame in enumerate(frames_of(outputs, name)):
                if frame == index:
                    errors[name] += (outputs[name].value[row] - outputs[
                        name].label[row]).flatten().tolist()
        for name in PROPERTIES:
            assert sums[name][index].tolist() == pytest.approx([
                len(errors[name]), sum(map(abs, errors[name])),
                sum(value**2 for value in errors[name])]), (index, name)
    assert list(sums) == PROPERTIES
    for name, total in zip(sums, sum_errors(outputs, PROPERTIES)):
        assert torch.allclose(sums[name].sum(dim=0), total)


def test_rows_are_those_of_their_frames(copper_file):
    """In batches of any size, with frames that have no stress."""
    frames = read_frames(copper_file)
    potential = Potential(VectorSAKE(hidden_channels=4, num_layers=1))
    small, whole = (predict(potential, DataLoader(frames, batch_size=size),
                            'cpu') for size in (5, 24))
    known = ~frames._data.stress.isnan().flatten(1).any(dim=1)
    for outputs in (small, whole):
        assert torch.equal(outputs['stress'].index, known.nonzero().flatten())
        assert torch.equal(outputs.frame_of_atom[outputs['force'].index]
                           .bincount(), outputs.num_atoms)
        assert outputs.z.eq(29).all()
        for name in ('energy', 'force', 'stress'):
            for value in outputs[name][:2]:
                assert value.dtype == torch.double
                assert not value.requires_grad
    sums = whole.frame_sums()
    assert set(sums) == set(PROPERTIES)
    for name, rows in small.frame_sums().items():
        assert torch.allclose(rows, sums[name], rtol=1e-4), name


def test_forces_of_which_a_part_is_known(copper_file):
    frames = read_frames(copper_file)
    frames._data.force[[1, 6]] = math.nan
    potential = Potential(VectorSAKE(hidden_channels=4, num_layers=1))
    outputs = predict(potential, DataLoader(frames, batch_size=5),
                      'cpu')
    known = ~frames._data.force.isnan().any(dim=1)
    assert torch.equal(outputs['force'].index, known.nonzero().flatten())
    assert torch.equal(outputs['force'].label,
                       frames._data.force[known].double())
    frame = torch.arange(24).repeat_interleave(outputs.num_atoms)
    assert torch.equal(outputs.frame_of_atom, frame)


def test_errors_of_elements_by_a_plain_loop(outputs):
    errors = outputs['force'].error.tolist()
    frames = frames_of(outputs, 'force')
    numbers = outputs.z[outputs['force'].index]
    elements = errors_by_element(outputs)
    assert list(elements) == [1, 6, 8]
    for element, group in elements.items():
        rows = [row for row, z in enumerate(numbers)
                if z == element]
        values = [value for row in rows for value in errors[row]]
        assert group['force_mae'] == pytest.approx(
            sum(map(abs, values)) / len(values))
        assert group['force_rmse'] == pytest.approx(
            math.sqrt(sum(value**2 for value in values) / len(values)))
        assert group['num_frames'] == len(
            {frames[row] for row in rows})


def test_errors_of_elements_without_forces():
    """Those of the frames with atoms of each element."""
    generator = numpy.random.default_rng(0)
    z = [generator.choice([1, 6, 8], 3) for _ in range(12)]
    frames = Frames(z, [generator.normal(size=(3, 3)) for _ in z],
                    generator.normal(size=len(z)), name='any', units=UNITS,
                    source='any')
    potential = Potential(VectorSAKE(hidden_channels=4, num_layers=1))
    outputs = predict(potential, DataLoader(frames, batch_size=5), 'cpu')
    error = outputs['energy'].error.tolist()
    elements = errors_by_element(outputs)
    assert list(elements) == [1, 6, 8]
    assert any(group['num_frames'] < 12 for group in elements.values())
    for element, group in elements.items():
        values = [value for value, data in zip(error, frames)
                  if element in data.z]
        assert group['num_frames'] == len(values)
        assert group['energy_mae'] == pytest.approx(
            sum(map(abs, values)) / len(values))
        assert group.keys() == {
            'num_frames', 'intervals', 'energy_mae', 'energy_rmse',
            'energy_per_atom_mae', 'energy_per_atom_rmse'}


def test_errors_of_sizes_are_those_of_their_frames(outputs):
    sizes = errors_by_size(outputs)
    assert list(sizes) == [2, 3, 5]
    for size, group in sizes.items():
        frames = [index for index in range(6)
                  if outputs.num_atoms[index] == size]
        part = {}
        for name in ('energy', 'force', 'stress'):
            rows = [row for row, frame in enumerate(frames_of(outputs, name))
                    if frame in frames]
            if rows:
                part[name] = Predicted(*(values[rows] for values in
                                         outputs[name]))
        intervals = group.pop('intervals')
        assert group.pop('num_frames') == len(frames)
        assert group == pytest.approx(error_metrics(
            replace(outputs, properties=part)))
        assert set(intervals) == set(group)
    # One frame alone, and a stress of one frame of two:
    assert sizes[5].keys() == {'energy_mae', 'energy_rmse',
                               'energy_per_atom_mae', 'energy_per_atom_rmse'}


def test_one_frame_has_no_interval(outputs):
    sizes = errors_by_size(outputs)
    assert set(sizes[5]['intervals'].values()) == {None}
    assert sizes[3]['intervals']['stress_mae'] is None
    low, high = sizes[3]['intervals']['force_mae']
    assert low < sizes[3]['force_mae'] < high


def test_frames_are_drawn_as_a_plain_loop_does(outputs, monkeypatch):
    sums = torch.stack(list(outputs.frame_sums().values()), dim=1)
    generator = numpy.random.default_rng(3)
    expected = []
    for _ in range(50):
        drawn = generator.integers(6, size=6)
        expected.append(sum(sums[frame] for frame in drawn.tolist()))
    expected = torch.stack(expected)
    for number in (1, 40, 1 << 22):  # drawn at once
        monkeypatch.setattr(bootstrap, 'NUM_DRAWN', number)
        assert torch.allclose(resampled_sums(sums, 50, seed=3), expected,
                              rtol=1e-12, atol=1e-12)
    assert not torch.allclose(resampled_sums(sums, 50, seed=4), expected)


def test_intervals_hold_the_error_as_often_as_they_say():
    """Normal errors that the atoms of a frame share."""
    generator = torch.Generator().manual_seed(0)
    num_repeats, num_frames, num_atoms = 300, 100, 20
    exact = {'force_mae': math.sqrt(2 / math.pi), 'force_rmse': 1.0}
    held, lengths = dict.fromkeys(exact, 0), []
    for seed in range(num_repeats):
        error = torch.randn(num_frames, generator=generator).double()
        sums = num_atoms * torch.stack(
            [torch.ones_like(error), error.abs(), error.square()], dim=1)
        intervals = error_intervals(sums.unsqueeze(1), ['force'], seed)
        for key, (low, high) in intervals.items():
            held[key] += low < exact[key] < high
        lengths.append(intervals['force_mae'][1] - intervals['force_mae'][0])
    for number in held.values():
        assert 0.91 < number / num_repeats < 0.98
    # The absolute value of a normal number has the variance 1 - 2 / pi.
    expected = 2 * 1.96 * math.sqrt((1 - 2 / math.pi) / num_frames)
    assert numpy.mean(lengths) == pytest.approx(expected, rel=0.03)


def test_draws_of_many_frames_take_little_memory():
    sums = torch.ones(100_000, 4, 3)
    assert (resampled_sums(sums, 60) == 100_000).all()
    # Memory of the draws and of their weights:
    assert 16 * max(bootstrap.NUM_DRAWN, len(sums)) < 100e6


@pytest.mark.parametrize('energy, unit, first, second', [
    ('eV', 'meV', ['500', '1000', '-', '-'],
     ['12345678', '2000', '0.01', '0.02']),
    ('kcal/mol', 'kcal/mol', ['0.5', '1', '-', '-'],
     ['12346', '2', '1e-05', '2e-05'])])
def test_table_with_gaps(energy, unit, first, second):
    table = format_table('Errors', [
        ('a', {'energy_mae': 0.5, 'energy_rmse': 1.0}),
        ('b', {'energy_mae': 12345.678, 'energy_rmse': 2.0,
               'stress_mae': 1e-5, 'stress_rmse': 2e-5})],
        shown_properties({**UNITS, 'energy': energy}, PROPERTIES, False))
    assert f'stress [{unit}/Angstrom^3]' in table
    for line, name, expected in zip(table.splitlines()[-2:], 'ab',
                                    (first, second)):
        assert line.split() == [name, *expected]


def test_summary_of_everything(outputs):
    summary = summarize(outputs.frame_sums())
    assert {key: value for key, value in summary.items()
            if key not in ('intervals', 'num_frames')
            } == pytest.approx(error_metrics(outputs))
    assert summary['num_frames'] == 6
    for name, (low, high) in summary['intervals'].items():
        assert low <= summary[name] <= high


def test_report(outputs, tmp_path, capsys, monkeypatch):
    pytest.importorskip('ase')
    pytest.importorskip('matplotlib')
    reports = []
    for folder, seed in (('a', 0), ('b', 0), ('c', 1)):
        reports.append(report.report_errors(
            outputs, outputs['energy'].label + 1.0, UNITS,
            str(tmp_path / folder), 'evaluation', 'Errors', seed))
        for picture in ('plot_parity', 'plot_error_distribution'):  # once
            monkeypatch.setattr(report, picture, lambda *args: None)
    read = json.load(open(tmp_path / 'a' / 'evaluation.json'))
    assert read['bootstrap'] == {'num_samples': 1000, 'confidence': 0.95,
                                 'seed': 0}
    assert list(read['elements']) == ['H', 'C', 'O']
    assert list(read['sizes']) == ['2', '3', '5']
    assert read['trivial']['energy_mae'] == pytest.approx(1.0)
    assert reports[0] == reports[1]
    assert reports[0]['model'] == reports[2]['model']
    assert reports[0]['intervals'] != reports[2]['intervals']
    assert sorted(os.listdir(tmp_path / 'a')) == [
        'error_distribution.png', 'errors.csv', 'evaluation.json',
        'frames.csv', 'parity.png']
    printed = capsys.readouterr().out
    assert 'By element' in printed and 'C (1)' in printed
    assert 'By size' in printed and '5 atoms (1)' in printed
    assert '95% interval, from' in printed
