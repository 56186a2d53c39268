import pytest
import torch

from torch_sake import neighbor_list
from torch_sake.models import EGNN
from torch_sake.nn import EGNNConv
from torch_sake.testing import assert_equivariant


def reference(conv, x, pos, edge_index, vel, edge_attr):
    """The equations of the paper, node by node."""
    new_x, new_pos, new_vel = [], [], []
    for i in range(x.size(0)):
        message = torch.zeros(conv.channels).double()
        step, count = torch.zeros(pos.size(1)).double(), 0
        for edge in range(edge_index.size(1)):
            j, target = edge_index[:, edge].tolist()
            if target != i:
                continue
            vec = pos[i] - pos[j]
            inputs = [x[i], x[j], vec.dot(vec).view(1)]
            if edge_attr is not None:
                inputs.append(edge_attr[edge])
            m = conv.mlp_edge(torch.cat(inputs))
            message, count = message + m, count + 1
            step = step + vec * conv.mlp_pos(m)
        v = step / max(count, 1)
        if vel is not None:
            v = v + conv.mlp_vel(x[i]) * vel[i]
        new_vel.append(v)
        new_pos.append(pos[i] + v)
        new_x.append(x[i] + conv.mlp_node(torch.cat([x[i], message])))
    return torch.stack(new_x), torch.stack(new_pos), torch.stack(new_vel)


def inputs(num_dimensions=3):
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(6)).t()
    pairs = pairs[:, (pairs[0] != pairs[1]) & (torch.rand(36) < 0.6)]
    pairs = pairs[:, pairs[1] != 4]  # an isolated target
    return (torch.randn(6, 5).double(), torch.randn(6, num_dimensions).double(
    ), pairs, torch.randn(6, num_dimensions).double(),
        torch.randn(pairs.size(1), 2).double())


@pytest.mark.parametrize('has_vel', [True, False])
@pytest.mark.parametrize('edge_dim', [2, None])
def test_equations(has_vel, edge_dim):
    conv = EGNNConv(5, edge_dim).double()
    with torch.no_grad():
        conv.mlp_pos[-1].weight *= 1000  # it starts from almost nothing
    x, pos, edge_index, vel, edge_attr = inputs()
    arguments = (x, pos, edge_index, vel if has_vel else None,
                 edge_attr if edge_dim else None)
    for value, expected in zip(conv(*arguments), reference(conv, *arguments)):
        assert torch.allclose(value, expected, atol=1e-12)


@pytest.mark.parametrize('num_dimensions', [1, 2, 3, 5])
def test_equivariance(num_dimensions):
    net = EGNN(5, 8, 1, num_layers=3, edge_dim=2).double()
    with torch.no_grad():
        for conv in net.convs:
            conv.mlp_pos[-1].weight *= 300
    x, pos, edge_index, vel, edge_attr = inputs(num_dimensions)

    def function(pos, vel):
        with torch.no_grad():
            return net(x, pos, edge_index, vel, edge_attr)

    assert_equivariant(function, pos, vel, atol=1e-9)


def test_network():
    net = EGNN(5, 8, 2, num_layers=2)
    x, pos, _, vel, _ = (value.float() if value.is_floating_point() else value
                         for value in inputs())
    batch = torch.tensor([0, 0, 0, 1, 1, 1])
    out, new_pos, new_vel = net(x, pos, vel=vel, batch=batch)
    assert out.shape == (6, 2) and new_pos.shape == new_vel.shape == (6, 3)
    single = net(x[:3], pos[:3], vel=vel[:3])
    for value, expected in zip((out, new_pos, new_vel), single):
        assert torch.allclose(value[:3], expected, atol=1e-6)
    # Every layer is given the first velocities:
    conv = net.convs[1]
    with torch.no_grad():
        hidden, moved, _ = net.convs[0](net.lin_in(x[:3]), pos[:3],
                                        edges := torch.tensor(
            [[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]]), vel[:3])
        assert torch.allclose(conv(hidden, moved, edges, vel[:3])[2],
                              single[2], atol=1e-6)
    before = net.lin_in.weight.clone()
    net.reset_parameters()
    assert not torch.equal(net.lin_in.weight, before)


def test_bad_input():
    x, pos, edge_index, vel, edge_attr = inputs()
    conv = EGNNConv(5).double()
    with pytest.raises(ValueError, match="'edge_attr' must be given exactly"):
        conv(x, pos, edge_index, vel, edge_attr)
    with pytest.raises(ValueError, match="'vel' must have shape"):
        conv(x, pos, edge_index, vel[:, :2])
    with pytest.raises(ValueError, match="'x' must have shape"):
        conv(x[:, :4], pos, edge_index)
    with pytest.raises(TypeError, match="'pos' must be of type"):
        conv(x, pos.float(), edge_index)
    with pytest.raises(ValueError, match="'edge_index' must be smaller"):
        conv(x, pos, edge_index + 1)
    with pytest.raises(ValueError, match="'edge_attr' must have shape"):
        EGNNConv(5, 2).double()(x, pos, edge_index, vel, edge_attr[:1])
    with pytest.raises(ValueError, match="'cutoff' must be positive"):
        EGNN(5, 8, 1, cutoff=0.0)
    with pytest.raises(ValueError, match="'num_layers' must be at least 1"):
        EGNN(5, 8, 1, num_layers=0)
    with pytest.raises(ValueError, match="'edge_attr' needs 'edge_index'"):
        EGNN(5, 8, 1, edge_dim=2).double()(x, pos, edge_attr=edge_attr)


def test_cutoff():
    net = EGNN(5, 8, 2, cutoff=1.5).double()
    x, pos, _, vel, _ = inputs()
    edge_index, _ = neighbor_list(pos, 1.5)
    assert 0 < edge_index.size(1) < 30
    for value, expected in zip(net(x, pos, vel=vel),
                               net(x, pos, edge_index, vel)):
        assert torch.equal(value, expected)


def test_flow():
    conv = EGNNConv(5, 2).double()
    other = EGNNConv(5, 2, flow='target_to_source').double()
    other.load_state_dict(conv.state_dict())
    with torch.no_grad():
        for net in (conv, other):
            net.mlp_pos[-1].weight *= 1000
    x, pos, edge_index, vel, edge_attr = inputs()
    shift = torch.randn(edge_index.size(1), 3).double()
    for value, expected in zip(
            other(x, pos, edge_index.flip(0), vel, edge_attr, shift),
            conv(x, pos, edge_index, vel, edge_attr, shift)):
        assert torch.allclose(value, expected, atol=1e-12)


def test_edge_shift():
    conv = EGNNConv(5).double()
    with torch.no_grad():
        conv.mlp_pos[-1].weight *= 1000
    x, pos, edge_index, vel, _ = inputs()
    moves = torch.randn(6, 3).double()
    shift = moves[edge_index[1]] - moves[edge_index[0]]
    new_x, new_pos, new_vel = conv(x, pos + moves, edge_index, vel,
                                   edge_shift=shift)
    expected = conv(x, pos, edge_index, vel)
    assert torch.allclose(new_x, expected[0], atol=1e-12)
    assert torch.allclose(new_pos, expected[1] + moves, atol=1e-12)
    assert torch.allclose(new_vel, expected[2], atol=1e-12)


def test_nodes_hardly_move_at_first():
    conv = EGNNConv(5).double()
    x, pos, edge_index, _, _ = inputs()
    assert 0 < float(conv(x, pos, edge_index)[2].abs().max()) < 1e-3
