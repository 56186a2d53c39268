import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torch_sake.neighbors.pairs as pairs_module
import torch_sake.neighbors.search as module
from torch_sake import RadiusInteractionGraph, neighbor_list
from torch_sake.neighbors.radius_graph import (
    find_radius_graph,
    radius_graph_pairs,
)

BACKENDS = ['pairs', 'vesin']
for name in ('torch_cluster', 'pyg_lib'):
    try:
        find_radius_graph(name)
        BACKENDS.append(name)
    except ImportError:
        pass


def brute_force(pos, cutoff, batch):
    """All pairs of nodes, one after the other."""
    edges = []
    for target in range(pos.size(0)):
        for source in range(pos.size(0)):
            if source == target or batch[source] != batch[target]:
                continue
            vec = pos[source] - pos[target]
            if cutoff is None or float(vec.dot(vec)) < cutoff**2:
                edges.append((source, target))
    return torch.tensor(edges, dtype=torch.long).view(-1, 2).t()


@given(num_nodes=st.integers(0, 12), num_graphs=st.integers(1, 4),
       num_dimensions=st.integers(1, 5), seed=st.integers(0, 10**6),
       is_sorted=st.booleans(), cutoff=st.sampled_from([None, 0.5, 1.5, 100]),
       backend=st.sampled_from(['auto'] + BACKENDS))
def test_all_backends_return_all_edges(num_nodes, num_graphs, num_dimensions,
                                       seed, is_sorted, cutoff, backend):
    if num_dimensions > 3 and backend != 'pairs':
        backend = 'auto'
    torch.manual_seed(seed)
    pos = torch.randn(num_nodes, num_dimensions)
    batch = torch.randint(num_graphs, (num_nodes, ))  # graphs may be empty
    if is_sorted:
        batch = batch.sort()[0]
    edge_index, edge_shift = neighbor_list(pos, cutoff, batch,
                                           backend=backend)
    assert torch.equal(edge_index, brute_force(pos, cutoff, batch))
    assert torch.equal(edge_shift, torch.zeros(edge_index.size(1),
                                               num_dimensions))


@pytest.mark.parametrize('backend', BACKENDS)
def test_many_neighbors_are_not_truncated(backend):
    pos = torch.rand(150, 3)
    edge_index, _ = neighbor_list(pos, 10.0, backend=backend)
    assert edge_index.size(1) == 150 * 149


@pytest.mark.parametrize('backend', BACKENDS[1:])
@pytest.mark.parametrize('dtype', [torch.float, torch.double])
def test_large_graphs(backend, dtype):
    pos = 30 * torch.rand(3000, 3, dtype=dtype)
    batch = torch.arange(3).repeat_interleave(1000)
    expected, _ = neighbor_list(pos, 4.0, batch, backend='pairs')
    assert expected.size(1) > 10_000
    edge_index, _ = neighbor_list(pos, 4.0, batch, backend=backend)
    assert torch.equal(edge_index, expected)


def test_edges_at_the_cutoff_are_left_out_by_all():
    pos = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 2.999995, 0]])
    for backend in BACKENDS:
        edge_index, _ = neighbor_list(pos, 3.0, backend=backend)
        assert edge_index.tolist() == [[2, 0], [0, 2]]


def test_blocks_of_pairs_give_what_one_block_gives(monkeypatch):
    pos, batch = torch.randn(40, 3), torch.randint(3, (40, )).sort()[0]
    expected = pairs_module.close_pairs(pos, 1.0, batch)
    for size in (1, 7, 100, 10**6):
        monkeypatch.setattr(pairs_module, 'MAX_PAIRS', size)
        assert torch.equal(pairs_module.close_pairs(pos, 1.0, batch),
                           expected)


def test_limits_of_radius_graph_are_raised():
    """With a stand-in that truncates as torch-cluster does."""
    calls = []

    def radius_graph(pos, r, batch, loop, max_num_neighbors):
        calls.append(max_num_neighbors)
        edge_index, _ = neighbor_list(pos, r, batch)
        rank = torch.cat([torch.arange(int(n)) for n in torch.bincount(
            edge_index[1])])
        return edge_index[:, rank < max_num_neighbors]

    pos, batch = torch.rand(100, 3), torch.zeros(100, dtype=torch.long)
    edge_index = radius_graph_pairs(radius_graph, pos, 10.0, batch)
    assert edge_index.size(1) == 100 * 99
    assert calls == [32, 64, 128]


def test_limits_of_radius_graph_may_count_the_node_itself():
    def radius_graph(pos, r, batch, loop, max_num_neighbors):
        assert r > 10.0  # rounding must not lose an edge
        edge_index, _ = neighbor_list(pos, r, batch)
        rank = torch.arange(pos.size(0) - 1).repeat(pos.size(0))
        return edge_index[:, rank < max_num_neighbors - 1]

    pos, batch = torch.rand(33, 3), torch.zeros(33, dtype=torch.long)
    edge_index = radius_graph_pairs(radius_graph, pos, 10.0, batch)
    assert edge_index.size(1) == 33 * 32


def test_auto_takes_the_backend_of_the_size(monkeypatch):
    taken = []
    for name in ('close_pairs', 'vesin_pairs'):
        function = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *args, name=name, function=function:
            (taken.append(name), function(*args))[1])
    for size in (10, 500):
        neighbor_list(20 * torch.rand(size, 3), 3.0)
    assert taken == ['close_pairs', 'vesin_pairs']


def test_interaction_graph_of_pyg_models():
    from torch_geometric.nn.models import SchNet
    graph = RadiusInteractionGraph(3.0)
    assert str(graph) == 'RadiusInteractionGraph(cutoff=3.0)'
    assert RadiusInteractionGraph().cutoff == 10.0
    with pytest.raises(ValueError, match="'cutoff' must be positive"):
        RadiusInteractionGraph(0.0)
    pos = torch.randn(6, 3, requires_grad=True)
    edge_index, edge_weight = graph(pos)
    assert torch.allclose(edge_weight, (pos[edge_index[0]] -
                                        pos[edge_index[1]]).norm(dim=1))
    assert edge_weight.requires_grad
    model = SchNet(16, 16, 1, 8, cutoff=3.0, interaction_graph=graph)
    assert model(torch.tensor([6, 1, 1, 1, 1, 8]), pos).shape == (1, 1)


@pytest.mark.parametrize('arguments, error, match', [
    (dict(cutoff=-1.0), ValueError, "'cutoff' must be positive"),
    (dict(cutoff=float('inf')), ValueError, "'cutoff' must be positive"),
    (dict(backend='best'), ValueError, "'backend' must be one of"),
    (dict(pos=torch.zeros(3)), ValueError, r"'pos' must have shape \[N, D\]"),
    (dict(pos=torch.zeros(3, 3).long()), TypeError, "'pos' must be of float"),
    (dict(pos=torch.full((3, 3), torch.inf)), ValueError, "must be finite"),
    (dict(pos=torch.full((3, 3), torch.nan), cutoff=None), ValueError,
     "must be finite"),
    (dict(batch=torch.zeros(4).long()), ValueError, r"'batch' must have"),
    (dict(batch=torch.zeros(3)), TypeError, "'batch' must be of integer"),
    (dict(batch=torch.tensor([0, -1, 0])), ValueError, "must not be negative"),
    (dict(pos=torch.zeros(3, 4), backend='vesin'), ValueError, "dimensions"),
], ids=lambda value: str(value)[:40].replace('\n', ' '))
def test_wrong_arguments(arguments, error, match):
    with pytest.raises(error, match=match):
        neighbor_list(**{'pos': torch.zeros(3, 3), 'cutoff': 1.0,
                         **arguments})


def test_a_backend_that_is_not_installed():
    for backend in {'torch_cluster', 'pyg_lib'} - set(BACKENDS):
        with pytest.raises(ImportError):
            neighbor_list(torch.zeros(3, 3), 1.0, backend=backend)
