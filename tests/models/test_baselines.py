import pytest
import torch

from torch_sake import neighbor_list
from torch_sake.models import GNN, LinearDynamics, RadialField
from torch_sake.testing import assert_equivariant


def build(name, edge_dim=None, num_dimensions=3):
    if name == 'linear':
        net = LinearDynamics()
        torch.nn.init.constant_(net.time, 2.5)
    elif name == 'radial':
        net = RadialField(8, num_layers=3, edge_dim=edge_dim)
        with torch.no_grad():  # it starts from almost nothing
            for field in net.fields:
                field[2].weight *= 1000
    else:
        net = GNN(5, 8, 2, num_layers=3, edge_dim=edge_dim,
                  num_dimensions=num_dimensions)
    return net.double()


def inputs(num_dimensions=3):
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(6)).t()
    pairs = pairs[:, (pairs[0] != pairs[1]) & (torch.rand(36) < 0.6)]
    return dict(x=torch.randn(6, 5).double(),
                pos=torch.randn(6, num_dimensions).double(),
                vel=torch.randn(6, num_dimensions).double(), edge_index=pairs,
                edge_attr=torch.randn(pairs.size(1), 2).double())


@pytest.mark.parametrize('num_dimensions', [1, 2, 3, 5])
@pytest.mark.parametrize('name', ['linear', 'radial', 'gnn'])
def test_equivariance(name, num_dimensions):
    net = build(name, 2, num_dimensions)
    arguments = inputs(num_dimensions)

    def function(pos, vel):
        with torch.no_grad():
            return net(**dict(arguments, pos=pos, vel=vel))

    if name == 'gnn':
        with pytest.raises(AssertionError, match='under a'):
            assert_equivariant(function, arguments['pos'], arguments['vel'])
    else:
        assert_equivariant(function, arguments['pos'], arguments['vel'],
                           atol=1e-9)


def test_linear():
    arguments = inputs()
    x, pos, vel = build('linear')(**arguments)
    assert torch.equal(x, arguments['x']) and torch.equal(vel,
                                                          arguments['vel'])
    assert torch.equal(pos, arguments['pos'] + 2.5 * vel)


def test_radial_field_equations():
    net = build('radial', 2)
    arguments = inputs()
    pos, vel = arguments['pos'], arguments['vel']
    for field, gate in zip(net.fields, net.gates):
        new = []
        for i in range(6):
            step = gate(vel[i].norm().view(1)) * vel[i]
            for e, (j, target) in enumerate(
                    arguments['edge_index'].t().tolist()):
                if target == i:
                    vec = pos[i] - pos[j]
                    step = step + vec * field(torch.cat([
                        vec.dot(vec).view(1), arguments['edge_attr'][e]]))
            new.append(step)
        pos = pos + torch.stack(new)
    _, out, new_vel = net(**arguments)
    assert torch.allclose(out, pos, atol=1e-12)
    assert torch.allclose(new_vel, torch.stack(new), atol=1e-12)


def test_gnn_follows_permutations_and_sees_its_edges():
    net, arguments = build('gnn', 2), inputs()
    order = torch.randperm(6)
    position = order.argsort()
    moved = dict(arguments, edge_index=position[arguments['edge_index']],
                 **{key: arguments[key][order] for key in ('x', 'pos', 'vel')})
    for value, expected in zip(net(**moved), net(**arguments)):
        assert torch.allclose(value, expected[order], atol=1e-12)
    changed = dict(arguments, edge_attr=arguments['edge_attr'] + 1)
    assert not torch.allclose(net(**changed)[1], net(**arguments)[1])


def test_fields_are_weak_at_first():
    net, arguments = RadialField(8).double(), inputs()
    arguments['vel'].zero_()
    _, _, vel = net(**dict(arguments, edge_attr=None))
    assert 0 < float(vel.abs().max()) < 0.1


@pytest.mark.parametrize('name', ['radial', 'gnn'])
def test_all_pairs_and_reset(name):
    net, arguments = build(name), inputs()
    batch = torch.tensor([0, 0, 0, 1, 1, 1])
    arguments = {key: arguments[key] for key in ('x', 'pos', 'vel')}
    edge_index, _ = neighbor_list(arguments['pos'], None, batch)
    for value, expected in zip(net(**arguments, batch=batch),
                               net(**arguments, edge_index=edge_index)):
        assert torch.equal(value, expected)
    before = net(**arguments)[1]
    net.reset_parameters()
    assert not torch.allclose(net(**arguments)[1], before)


@pytest.mark.parametrize('change, error, match', [
    (dict(vel=None), TypeError, "'vel' must be a tensor"),
    (dict(vel=torch.zeros(6, 2).double()), ValueError, "'vel' must have"),
    (dict(x=torch.zeros(5, 5).double()), ValueError, "'pos' must have shape"),
    (dict(edge_index=None), ValueError, "'edge_attr' needs 'edge_index'"),
    (dict(edge_attr=torch.zeros(3, 2).double()), ValueError, "'edge_attr'"),
    (dict(batch=torch.zeros(4).long()), ValueError, "'batch' must have"),
    (dict(edge_index=torch.tensor([[0], [6]]), edge_attr=None), ValueError,
     "smaller than 6"),
], ids=lambda value: str(value)[:40].replace('\n', ' '))
def test_bad_input(change, error, match):
    with pytest.raises(error, match=match):
        build('linear')(**dict(inputs(), **change))
    with pytest.raises(ValueError, match="'num_layers' must be at least 1"):
        RadialField(8, num_layers=0)
    with pytest.raises(ValueError, match="'out_channels' must be at least 1"):
        GNN(3, 8, 0)
