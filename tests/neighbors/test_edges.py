"""The door that edges come in by, the same for all models."""

import pytest
import torch

from torch_sake import (
    SAKE,
    Potential,
    RadiusInteractionGraph,
    SAKENet,
    VectorSAKE,
    neighbor_list,
)
from torch_sake.models import EGNN, GNN
from torch_sake.neighbors import Edges, SkinNeighborList
from torch_sake.neighbors.edges import given_or_found_edges, is_periodic

Z, POS = torch.tensor([8, 1, 1]), torch.eye(3)
INDEX, SHIFT = torch.tensor([[0, 1], [1, 2]]), torch.zeros(2, 3)


def molecule(model):
    return lambda **edges: model(Z, POS, **edges)


def network(net):
    x, vel = torch.randn(3, 2), torch.randn(3, 3)
    return lambda **edges: net(x, POS, vel=vel, **edges)


DOORS = {
    'SAKE': lambda: molecule(SAKE(4, num_layers=1)),
    'VectorSAKE': lambda: molecule(VectorSAKE(4, num_layers=1)),
    'Potential': lambda: molecule(Potential(SAKE(4, num_layers=1))),
    'energy': lambda: molecule(Potential(SAKE(4, num_layers=1)).energy),
    'site_energies': lambda: molecule(
        Potential(SAKE(4, num_layers=1)).site_energies),
    'SAKENet': lambda: network(SAKENet(2, 4, 2, num_layers=1)),
    'EGNN': lambda: network(EGNN(2, 4, 2, num_layers=1)),
    'GNN': lambda: network(GNN(2, 4, 2, num_layers=1)),
}


def test_lists_are_edges():
    cell = 2 * torch.eye(3)
    expected = neighbor_list(POS, 1.5, None, cell)
    found = SkinNeighborList(1.5, 0.5)(POS, None, cell)
    assert isinstance(found, Edges)
    assert torch.equal(found.index, expected[0])
    assert torch.equal(found.shift, expected[1])
    assert neighbor_list(POS, 1.5)[1].shape == (6, 3)  # also without a cell
    for model in (SAKE(4, num_layers=1, cutoff=1.5), SAKE(
            4, num_layers=1, interaction_graph=RadiusInteractionGraph(1.5))):
        assert model.find_edges(POS).shift is None
        assert torch.equal(model.find_edges(POS, None, cell).shift,
                           neighbor_list(POS, 1.5, None, cell)[1])


@pytest.mark.parametrize('door', DOORS)
@pytest.mark.parametrize('index, error, match', [
    (INDEX.t().tolist(), TypeError, "'edge_index' must be a tensor"),
    (INDEX.float(), TypeError, "'edge_index' must be of type torch.int64"),
    (INDEX[0], ValueError, r"'edge_index' must have shape \[2, E\]"),
    (INDEX + 1, ValueError, "'edge_index' must be smaller than 3"),
    (INDEX - 1, ValueError, "'edge_index' must not be negative"),
    (INDEX.to('meta'), ValueError, "'edge_index' must be on cpu"),
], ids=str)
def test_wrong_edges(door, index, error, match):
    with pytest.raises(error, match=match):
        DOORS[door]()(edge_index=index)


@pytest.mark.parametrize('door', [name for name in DOORS
                                  if name not in ('EGNN', 'GNN')])
def test_wrong_shifts(door):
    call = DOORS[door]()
    with pytest.raises(ValueError, match="'edge_shift' needs 'edge_index'"):
        call(edge_shift=SHIFT)
    for shift, error, match in (
            (SHIFT[:1], ValueError, r"'edge_shift' must have shape \[2, 3\]"),
            (SHIFT.double(), TypeError, "'edge_shift' must be of type"),
            (SHIFT.tolist(), TypeError, "'edge_shift' must be a tensor"),
            (SHIFT.to('meta'), ValueError, "'edge_shift' must be on cpu")):
        with pytest.raises(error, match=match):
            call(edge_index=INDEX, edge_shift=shift)


@pytest.mark.parametrize('door', ['SAKE', 'Potential', 'site_energies'])
def test_shifts_of_periodic_cells(door):
    call, cell = DOORS[door](), 9 * torch.eye(3)
    for pbc in (None, torch.tensor([False, True, False])):
        with pytest.raises(ValueError, match="'edge_index' needs 'edge_shift'"
                           " in a periodic cell"):
            call(edge_index=INDEX, cell=cell, pbc=pbc)
        call(edge_index=INDEX, edge_shift=SHIFT, cell=cell, pbc=pbc)
    call(edge_index=INDEX, cell=cell, pbc=torch.zeros(3).bool())


def test_found_only_where_none_are_given():
    given = given_or_found_edges(POS, INDEX, SHIFT, None)
    assert given.index is INDEX and given.shift is SHIFT
    found = Edges(INDEX)
    assert given_or_found_edges(POS, None, None, lambda: found) is found
    with pytest.raises(ValueError, match="'edge_attr' needs 'edge_index'"):
        given_or_found_edges(POS, None, None, None, edge_attr=SHIFT)
    assert not is_periodic(None, None) and is_periodic(POS, None)
    assert not is_periodic(POS, torch.zeros(3).bool())
    assert is_periodic(POS, [False, True, False]) and is_periodic(POS, True)
