"""What is printed and drawn of errors."""

import os

import pytest
import torch

from torch_sake.evaluation.breakdown import errors_by_group
from torch_sake.evaluation.frame_errors import formulas, frame_rows, worst
from torch_sake.evaluation.frame_texts import FrameTexts
from torch_sake.evaluation.parity import plot_parity
from torch_sake.evaluation.plots import (
    plot_error_distribution,
    plot_learning_curve,
)
from torch_sake.evaluation.predictions import Predicted, Predictions
from torch_sake.evaluation.report import report_errors
from torch_sake.evaluation.shown import (
    in_digits,
    shown_properties,
    shown_unit,
)

UNITS = {'length': 'Angstrom', 'energy': 'eV'}


def draw(sizes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor(sizes)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.double)

    number, atoms = len(sizes), int(sizes.sum())
    return Predictions(sizes, torch.tensor([6, 1, 8]).repeat(atoms)[:atoms], {
        'energy': Predicted(normal(number), normal(number),
                            torch.arange(number)),
        'force': Predicted(normal(atoms, 3), normal(atoms, 3),
                           torch.arange(atoms))})


@pytest.mark.parametrize('unit, shown', [
    ('eV', ('meV', 1000)), ('eV/Angstrom', ('meV/Angstrom', 1000)),
    ('eV/Angstrom^3', ('meV/Angstrom^3', 1000)), ('meV', ('meV', 1)),
    ('kcal/mol', ('kcal/mol', 1)), ('Hartree/Bohr', ('Hartree/Bohr', 1)),
    ('eVolt', ('eVolt', 1))])
def test_units(unit, shown):
    assert shown_unit(unit) == shown


def test_digits():
    assert [in_digits(value) for value in (
        0.0, 1.23456e-7, -12.3456, 9999.4, 12345.6, -2e7, 3e9)] == [
        '0', '1.235e-07', '-12.35', '9999', '12346', '-20000000', '3e+09']


def test_energies_per_atom_where_sizes_differ():
    present = ['energy', 'energy_per_atom', 'force']
    assert list(shown_properties(UNITS, present, True)) == [
        'energy_per_atom', 'force']
    assert list(shown_properties(UNITS, present, False)) == present


@pytest.mark.parametrize('sizes, texts', [
    ([2, 3, 2, 1], None),
    (300 * [3], None),  # so many that their density is drawn
    ([1], FrameTexts([7], {'config_type': ['one']}, 'config_type')),
    (12 * [2], FrameTexts(range(12), {'a': [f'_${n}_' for n in range(12)]},
                          'a')),
    (300 * [3], FrameTexts(range(300), {'a': 300 * ['only']}, 'a')),
])
def test_reports_of_all_kinds(sizes, texts, tmp_path, capsys):
    pytest.importorskip('ase')
    pytest.importorskip('matplotlib')
    outputs = draw(sizes)
    trivial = torch.zeros(len(sizes), dtype=torch.double)
    report_errors(outputs, trivial, UNITS, str(tmp_path), 'evaluation',
                  'Errors', texts=texts)
    printed = capsys.readouterr().out
    assert ('  energy [meV]' in printed) == (len(set(sizes)) == 1)
    assert ('1 atom (1)' in printed) == (1 in sizes and len(sizes) > 1)
    assert ('The worst frames' in printed) == (len(sizes) > 1)
    assert os.path.getsize(tmp_path / 'parity.png') > 1000


def test_labels_of_forces_alone(tmp_path, capsys):
    """And none of the first frame."""
    pytest.importorskip('ase')
    pytest.importorskip('matplotlib')
    outputs = draw([2, 3, 3])
    none = torch.arange(0)
    outputs.properties['energy'] = Predicted(*2 * [none.double()], none)
    value, label, index = outputs['force']
    outputs.properties['force'] = Predicted(value[2:], label[2:], index[2:])
    errors = report_errors(outputs, torch.zeros(3), UNITS, str(tmp_path),
                           'evaluation', 'Errors')
    assert set(errors['model']) == {'force_mae', 'force_rmse'}
    assert list(errors['worst']) == ['force_rmse']
    assert errors['sizes'][2] == {'num_frames': 1, 'intervals': {}}
    assert [row['frame'] for row in errors['worst']['force_rmse']] in (
        [1, 2], [2, 1])
    assert 'Frames with labels: force 2\n' in capsys.readouterr().out


def test_groups_are_in_the_order_of_their_numbers():
    groups = ['300', '-', '50.5', '300', '1000', 'a']
    found = errors_by_group(draw(6 * [2]), groups)
    assert list(found) == ['50.5', '300', '1000', '-', 'a']
    assert [group['num_frames'] for group in found.values()] == [1, 2, 1, 1, 1]


def test_the_worst_frames():
    pytest.importorskip('ase')
    outputs = draw([3, 3, 3, 3])
    value, label, index = outputs['energy']
    value = label + torch.tensor([0.3, -3.0, 0.0, 1.2], dtype=torch.double)
    outputs.properties['energy'] = Predicted(value, label, index)
    rows = frame_rows(outputs, 'energy', FrameTexts([4, 2, 9, 6]))
    found = worst(rows, 'energy_per_atom_error', 2)
    assert [row['frame'] for row in found] == [2, 6]
    assert [row['energy_per_atom_error'] for row in found] == pytest.approx(
        [-1.0, 0.4])
    assert formulas(outputs) == 4 * ['CHO']


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('size', [3, 3000])
def test_numbers_that_are_all_the_same(size, tmp_path):
    """Such as forces of zero in perfect crystals."""
    pytest.importorskip('matplotlib')
    zeros = torch.zeros(size, 3, dtype=torch.double)
    outputs = Predictions(torch.ones(size, dtype=torch.long),
                          torch.full((size, ), 29), {
        'force': Predicted(zeros, zeros, torch.arange(size))})
    plot_parity(outputs, UNITS, str(tmp_path))
    plot_error_distribution(outputs, UNITS, str(tmp_path))


@pytest.mark.filterwarnings('error')
def test_errors_that_are_zero_have_no_logarithm(tmp_path):
    pytest.importorskip('matplotlib')
    history = [{'step': step, 'energy_mae': 0.1, 'energy_rmse': 0.2,
                'force_mae': 0.0, 'force_rmse': 0.0} for step in (1, 2)]
    plot_learning_curve(history, UNITS, str(tmp_path))
    assert os.path.getsize(tmp_path / 'learning_curve.png') > 1000
