import math

import pytest
import torch
from torch_geometric.loader import DataLoader

from torch_sake import Potential, VectorSAKE
from torch_sake.datasets import read_frames
from torch_sake.evaluation.metrics import predict_batch
from torch_sake.training.losses import WeightedLoss

NUM_ATOMS = torch.tensor([2, 3, 1])


def by_hand(penalty, errors):
    r"""The mean penalty of rows of errors, number by number."""
    rows = []
    for row in errors:
        components = {
            'norm': [math.sqrt(sum(e**2 for e in row))],
            'l1': [abs(e) for e in row],
            'l2': [e**2 for e in row],
            'huber': [
                0.5 * e**2 if abs(e) < 0.1 else 0.1 * (abs(e) - 0.05)
                for e in row
            ],
        }[penalty]
        rows.append(sum(components) / len(components))
    return sum(rows) / len(rows)


def build_case(seed=0):
    generator = torch.Generator().manual_seed(seed)

    def rand(*size):
        return torch.randn(size, generator=generator, dtype=torch.double)

    outputs = {'energy': 0.1 * rand(3), 'force': rand(6, 3),
               'stress': rand(3, 3, 3)}
    labels = {'energy': 0.1 * rand(3), 'force': rand(6, 3),
              'stress': rand(3, 3, 3)}
    labels['stress'][1] = math.nan
    labels['force'][4] = math.nan
    return outputs, labels


@pytest.mark.parametrize('penalty', ['norm', 'l1', 'l2', 'huber'])
@pytest.mark.parametrize('energy_per_atom', [False, True])
def test_loss_is_the_formula(penalty, energy_per_atom):
    outputs, labels = build_case()
    weights = {'force': 1.0, 'energy': 0.3, 'stress': 0.2}
    units = {'force': 2.0, 'energy': 3.0, 'stress': 0.5}
    divisor = NUM_ATOMS if energy_per_atom else torch.ones(3)
    energy = (outputs['energy'] - labels['energy']) / divisor / 3.0
    force = (outputs['force'] - labels['force'])[[0, 1, 2, 3, 5]] / 2.0
    stress = (outputs['stress'] - labels['stress'])[[0, 2]].flatten(1) / 0.5
    expected = (by_hand(penalty, force.tolist()) +
                0.3 * by_hand(penalty, [[e] for e in energy.tolist()]) +
                0.2 * by_hand(penalty, stress.tolist()))
    loss = WeightedLoss(penalty, weights, units, energy_per_atom)
    assert float(loss(outputs, labels, NUM_ATOMS)) == pytest.approx(expected)
    # What is not predicted does not count.
    del outputs['stress'], outputs['energy']
    assert float(loss(outputs, labels, NUM_ATOMS)) == pytest.approx(
        by_hand(penalty, force.tolist()))


@pytest.mark.parametrize('penalty', ['norm', 'l1', 'l2', 'huber'])
def test_gradients_are_finite_without_errors_and_labels(penalty):
    outputs, labels = build_case()
    outputs['force'][0] = labels['force'][0]
    force = outputs['force'].requires_grad_()
    loss = WeightedLoss(penalty, {'force': 1.0}, {'force': 1.0})
    gradient, = torch.autograd.grad(loss({'force': force}, labels, NUM_ATOMS),
                                    force)
    assert gradient.isfinite().all()
    assert not gradient[[0, 4]].any() and gradient[[1, 2, 3, 5]].any()


def test_single_precision_stays():
    outputs, labels = build_case()
    force = outputs['force'].float().requires_grad_()
    loss = WeightedLoss('norm', {'force': 1.0, 'energy': 1.0},
                        {'force': 1.0, 'energy': 1.0})
    loss({'energy': outputs['energy'], 'force': force}, labels,
         NUM_ATOMS).backward()
    assert force.grad.dtype == torch.float


def test_score_is_per_atom_as_the_loss_is():
    weights, units = {'force': 1.0, 'energy': 0.5}, {'force': 2.0,
                                                     'energy': 4.0}
    metrics = {'force_mae': 6.0, 'energy_mae': 80.0,
               'energy_per_atom_mae': 8.0}
    for energy_per_atom, expected in ((False, 13.0), (True, 4.0)):
        loss = WeightedLoss('l1', weights, units, energy_per_atom)
        assert loss.score(metrics) == pytest.approx(expected)


def test_no_row_is_known():
    outputs, labels = build_case()
    labels['stress'][:, 0, 0] = math.nan
    loss = WeightedLoss('norm', {'stress': 1.0}, {'stress': 1.0})
    assert float(loss(outputs, labels, NUM_ATOMS)) == 0.0


def test_stress_of_which_a_part_is_known(copper_file):
    data = next(iter(DataLoader(read_frames(copper_file), 2)))
    potential = Potential(VectorSAKE(8, num_layers=1, num_rbf=5)).double()
    assert 'stress' in predict_batch(potential, data)
    data.stress[:, 0, 1] = math.nan  # no row is whole: nothing to compute
    assert 'stress' not in predict_batch(potential, data)


@pytest.mark.parametrize('penalty', ['norm', 'l1', 'l2', 'huber'])
def test_frames_weigh(penalty):
    outputs, labels = build_case()
    weights = {'force': 1.0, 'energy': 0.3, 'stress': 0.2}
    units = {'force': 2.0, 'energy': 3.0, 'stress': 0.5}
    loss = WeightedLoss(penalty, weights, units)
    weight = torch.tensor([2.0, 0.0, 0.7], dtype=torch.double)
    energy = (outputs['energy'] - labels['energy']) / 3.0
    force = (outputs['force'] - labels['force']) / 2.0
    stress = (outputs['stress'] - labels['stress']).flatten(1) / 0.5

    def mean(errors, weights, number):
        return sum(weight * by_hand(penalty, [error.tolist()])
                   for error, weight in zip(errors, weights)) / number

    # The last of the five atoms with forces is the frame of one atom.
    expected = {
        'force': mean(force[[0, 1, 5]], (2.0, 2.0, 0.7), 5),
        'energy': 0.3 * mean(energy[[0, 2], None], (2.0, 0.7), 3),
        'stress': 0.2 * mean(stress[[0, 2]], (2.0, 0.7), 2)}
    total = loss(outputs, {**labels, 'weight': weight}, NUM_ATOMS)
    assert float(total) == pytest.approx(sum(expected.values()))
    total = loss(outputs, {**labels, 'weight': weight, 'force_weight':
                           torch.tensor([3.0, 1.0, 3.0])}, NUM_ATOMS)
    assert float(total) == pytest.approx(
        sum(expected.values()) + 2 * expected['force'])
    # A weight of one is none:
    assert loss(outputs, {**labels, 'weight': torch.ones(3)},
                NUM_ATOMS).equal(loss(outputs, labels, NUM_ATOMS))


def test_a_frame_of_no_weight_adds_no_gradient():
    outputs, labels = build_case()
    force = outputs['force'].requires_grad_()
    loss = WeightedLoss('norm', {'force': 1.0}, {'force': 1.0})
    total = loss({'force': force}, {**labels, 'weight': torch.tensor(
        [1.0, 0.0, 1.0])}, NUM_ATOMS)
    gradient, = torch.autograd.grad(total, force)
    assert gradient.any(dim=1).tolist() == [True, True, False, False, False,
                                            True]


@pytest.mark.parametrize('penalty', ['norm', 'l1', 'l2', 'huber'])
def test_a_batch_without_a_label_is_no_loss(penalty):
    outputs, labels = build_case()
    labels['force'] = torch.full_like(labels['force'], math.nan)
    labels['energy'] = torch.full_like(labels['energy'], math.nan)
    names = ('force', 'energy', 'stress')
    tensors = [outputs[name].requires_grad_() for name in names]
    loss = WeightedLoss(penalty, dict.fromkeys(names, 1.0),
                        dict.fromkeys(names, 1.0))
    total = loss(outputs, labels, NUM_ATOMS)
    errors = (outputs['stress'] - labels['stress'])[[0, 2]].flatten(1)
    assert float(total.detach()) == pytest.approx(
        by_hand(penalty, errors.tolist()))
    for name, gradient in zip(names, torch.autograd.grad(total, tensors)):
        assert gradient.isfinite().all()
        assert bool(gradient.any()) == (name == 'stress')
