"""Readouts as parts of models: their tensors and what is printed of them."""

import copy

import pytest
import torch
from torch_geometric.nn.aggr import SoftmaxAggregation

from torch_sake import SAKE, Potential

Z, POS = torch.tensor([8, 1, 1]), torch.randn(3, 3)


def build(readout):
    return SAKE(8, num_layers=1, readout=readout)


@pytest.mark.parametrize('readout', ['extent', 'dipole'])
def test_masses_are_one_tensor(readout):
    pytest.importorskip('ase')
    model = build(readout)
    expected = model(Z, POS)
    with torch.device('meta'):
        other = build(readout)
    other.to('meta').to_empty(device='cpu')
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(Z, POS), expected)
    for other in (copy.deepcopy(model), model.half().float()):
        assert other.atomic_mass is other.readout.atomic_mass
        assert [*other.state_dict()].count('atomic_mass') == 1


def test_parameters_of_aggregations_of_older_models():
    model = build(SoftmaxAggregation(t=2.0, learn=True))
    old = {name.replace('readout.aggr.', 'readout.'): value
           for name, value in model.state_dict().items()}
    assert 'readout.t' in old
    other = build(SoftmaxAggregation(learn=True))
    for state in (old, model.state_dict()):
        other.load_state_dict(state)
        assert torch.equal(other(Z, POS), model(Z, POS))
    with pytest.raises(RuntimeError, match='Missing'):
        other.load_state_dict({name: value for name, value in old.items()
                               if name != 'readout.t'})


@pytest.mark.parametrize('readout', ['mean', 'max'])
def test_errors_are_one_line(readout):
    with pytest.raises(ValueError, match='must sum over atoms') as error:
        Potential(build(readout)).site_energies(Z, POS)
    assert '\n' not in str(error.value)
