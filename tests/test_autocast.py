"""Within torch.autocast, everything computes in its own precision."""

import contextlib
import copy

import pytest
import torch
from torch_geometric.nn.models import SchNet

from torch_sake import (
    SAKE,
    Potential,
    Property,
    RadiusInteractionGraph,
    SAKEConv,
    SAKENet,
    VectorSAKE,
    VectorSAKEConv,
    neighbor_list,
)
from torch_sake.models.egnn import EGNN
from torch_sake.neighbors import SkinNeighborList
from torch_sake.nn import EGNNConv
from torch_sake.ops.autocast import without_autocast

Z = torch.randint(1, 9, (12, ))
EDGES = torch.cartesian_prod(torch.arange(12), torch.arange(12)).t()
EDGES = EDGES[:, EDGES[0] != EDGES[1]]


def autocast():
    return torch.autocast('cpu', torch.bfloat16)


@pytest.mark.parametrize('build', [SAKE, VectorSAKE])
def test_potentials(build):
    model, pos = build(16, num_layers=2), 3 * torch.rand(12, 3)
    potential = Potential(model)
    cell = 6 * torch.eye(3)
    expected = potential(Z, pos, cell=cell, compute_stress=True)
    energy = model(Z, pos)
    with autocast():
        outputs = potential(z=Z, pos=pos, cell=cell, compute_stress=True)
        assert torch.equal(model(Z, pos), energy)
        assert torch.equal(potential.energy(Z, pos, cell=cell), expected[0])
    for value, other in zip(outputs, expected):
        assert torch.equal(value, other)


def test_models_of_others():
    model = SchNet(8, 8, 2, 5, interaction_graph=RadiusInteractionGraph(2.5))
    potential, scaled = Potential(model), Property(model)
    pos = 3 * torch.rand(12, 3)
    for call in (potential.energy, potential.site_energies, scaled):
        expected = call(Z, pos)
        with autocast():
            assert torch.equal(call(Z, pos), expected)


@pytest.mark.parametrize('model', [
    SAKEConv(8, 8), VectorSAKEConv(8, 8), EGNNConv(8), SAKENet(8, 8, 8),
    SAKENet(8, 8, 8, conv='vector'), EGNN(8, 8, 8)
], ids=lambda model: type(model).__name__)
def test_after_layers_in_half_precision(model):
    before, pos, vel = torch.nn.Linear(4, 8), *torch.randn(2, 12, 3)
    inputs = torch.randn(12, 4)
    with autocast():
        x = before(inputs)
        outputs = model(x, pos, EDGES, vel)
    assert x.dtype == torch.bfloat16
    for value, other in zip(outputs, model(x.float(), pos, EDGES, vel)):
        assert torch.equal(value, other)
    outputs[0].sum().backward()
    assert before.weight.grad.abs().sum() > 0


@pytest.mark.parametrize('build', [SAKE, VectorSAKE])
def test_models_of_any_type(build):
    pos = 3 * torch.rand(12, 3)
    model = build(16, num_layers=2, cutoff=None)
    half = copy.deepcopy(model).bfloat16()
    double = copy.deepcopy(model).double()
    outputs = half(Z, pos.bfloat16()), double(Z, pos.double())
    with autocast():
        assert torch.equal(half(Z, pos.bfloat16()), outputs[0])
        assert torch.equal(double(Z, pos.double()), outputs[1])
    meta = model.to('meta')(Z.to('meta'), pos.to('meta'), EDGES.new_zeros(
        12).to('meta'), 1, EDGES.to('meta'))
    assert meta.shape == (1, 1)


@pytest.mark.parametrize('build', [SAKE, VectorSAKE])
@pytest.mark.compile
@pytest.mark.slow
def test_compiled_within(build, fresh_compiler):
    model, pos = build(16, num_layers=2), 3 * torch.rand(12, 3)
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    inputs = Z, pos, torch.zeros_like(Z), 1, EDGES
    for context in (contextlib.nullcontext, autocast):
        with context():
            assert torch.allclose(compiled(*inputs), model(*inputs))


@pytest.mark.parametrize('find', [
    neighbor_list, lambda pos, cutoff, batch, cell: SkinNeighborList(
        cutoff, 1.0)(pos, batch, cell)], ids=['at once', 'with a skin'])
def test_neighbor_lists(find):
    inputs = 9 * torch.rand(12, 3), 4.0, None, 3 * torch.rand(3, 3)
    inputs[3].diagonal().add_(6)
    with autocast():
        outputs = find(*inputs)
    for value, other in zip(outputs, find(*inputs)):
        assert torch.equal(value, other)


def test_type_of_parameters_not_of_other_attributes():
    class Scaled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.tensor(1.0)
            self.lin = torch.nn.Linear(2, 2).double()

        @without_autocast
        def forward(self, x):
            return self.lin(x)

    with torch.autocast('cpu'):
        assert Scaled()(torch.ones(1, 2).bfloat16()).dtype == torch.double
