import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from torch_sake import SAKE, SAKENet, VectorSAKE, neighbor_list
from torch_sake.models import EGNN, GNN, LinearDynamics, RadialField
from torch_sake.nn import vector_sake_conv
from torch_sake.testing import assert_equivariant


def build(num_dimensions=3, seed=0, **options):
    torch.manual_seed(seed)
    net = SAKENet(3, 8, 2, num_layers=2, **options).double()
    x = torch.randn(7, 3).double()
    pos = torch.randn(7, num_dimensions).double()
    vel = torch.randn(7, num_dimensions).double()
    batch = torch.tensor([0, 0, 0, 0, 1, 1, 1])
    return net, x, pos, vel, batch


@given(num_dimensions=st.integers(1, 7), seed=st.integers(0, 10**6),
       cutoff=st.sampled_from([None, 1.5]),
       conv=st.sampled_from(['sake', 'vector']))
def test_equivariance(num_dimensions, seed, cutoff, conv):
    net, x, pos, vel, batch = build(num_dimensions, seed, cutoff=cutoff,
                                    conv=conv)

    def function(pos, vel):
        with torch.no_grad():
            return net(x, pos, vel=vel, batch=batch)

    assert_equivariant(function, pos, vel, atol=1e-10, seed=seed)


@given(num_dimensions=st.integers(1, 7), seed=st.integers(0, 10**6),
       cutoff=st.sampled_from([None, 1.5]),
       conv=st.sampled_from(['sake', 'vector']))
def test_batching_and_permutation(num_dimensions, seed, cutoff, conv):
    net, x, pos, vel, batch = build(num_dimensions, seed, cutoff=cutoff,
                                    conv=conv)
    order = torch.randperm(7)
    with torch.no_grad():
        outputs = net(x[order], pos[order], vel=vel[order],
                      batch=batch[order])
        parts = [net(x[part], pos[part], vel=vel[part])
                 for part in (slice(0, 4), slice(4, 7))]
    for value, *expected in zip(outputs, *parts):
        assert torch.allclose(value, torch.cat(expected)[order], atol=1e-10,
                              rtol=0)


def test_without_edges_all_pairs_see_each_other():
    net, x, pos, vel, batch = build()
    edge_index, edge_shift = neighbor_list(pos, None, batch)
    expected = net(x, pos, edge_index, vel)
    for value, other in zip(net(x, pos, vel=vel, batch=batch), expected):
        assert torch.allclose(value, other)
    shifted = net(x, pos, edge_index, vel, edge_shift=edge_shift + 1.0)
    assert not torch.allclose(shifted[0], expected[0])


def test_edge_features():
    net, x, pos, vel, batch = build(edge_dim=2)
    edge_index, _ = neighbor_list(pos, None, batch)
    edge_attr = torch.randn(edge_index.size(1), 2).double()
    out = net(x, pos, edge_index, vel, edge_attr)[0]
    other = net(x, pos, edge_index, vel, edge_attr + 1)[0]
    assert not torch.allclose(out, other)
    with pytest.raises(ValueError, match="'edge_attr' needs 'edge_index'"):
        net(x, pos, edge_attr=edge_attr)


@pytest.mark.parametrize('conv', ['sake', 'vector'])
def test_positions_that_move_keep_their_edges(conv):
    """The output is continuous as a pair crosses the cutoff, though the
    first layer moves it."""
    net, x, _, _, _ = build(cutoff=1.5, conv=conv)
    x = x[:2]

    def scan(distance):
        pos = torch.tensor([[0.0, 0, 0], [distance, 0, 0]]).double()
        return net(x, pos)[0].detach()

    assert net.stack.convs[0](net.lin_in(x), torch.eye(2, 3).double(),
                              torch.tensor([[0, 1], [1, 0]]))[2].any()
    outside = scan(1.6)
    assert float((scan(1.5 - 1e-5) - outside).abs().max()) < 1e-10
    assert float((scan(1.3) - outside).abs().max()) > 1e-6


def test_update_pos_for_each_layer():
    net, x, pos, _, _ = build(update_pos=[False, True])
    assert [conv.update_pos for conv in net.stack.convs] == [False, True]
    still = build(update_pos=False)[0]
    assert still(x, pos)[1:] == (pos, None)
    with pytest.raises(ValueError, match="each of the 2 layers"):
        build(update_pos=[True])
    with pytest.raises(TypeError, match="'update_pos' must be"):
        build(update_pos='yes')


def test_vectors_are_handed_on():
    net, x, pos, vel, batch = build(conv='vector')
    assert [conv.vec_input for conv in net.stack.convs] == [False, True]
    assert [conv.vec_output for conv in net.stack.convs] == [True, False]
    out = net(x, pos, batch=batch)[0]
    torch.nn.init.zeros_(net.stack.convs[0].lin_gate.weight)
    assert not torch.allclose(net(x, pos, batch=batch)[0], out)
    with pytest.raises(ValueError, match="'conv' must be one of"):
        build(conv='tensor')


@given(num_dimensions=st.sampled_from([2, 3, 5]), seed=st.integers(0, 10**6),
       num_layers=st.integers(4, 6), speed=st.sampled_from([1.0, 1e2, 1e4]))
def test_long_velocities(num_dimensions, seed, num_layers, speed):
    torch.manual_seed(seed)
    net = SAKENet(3, 16, 2, num_layers=num_layers, conv='vector')
    x = torch.randn(60, 3)
    pos, vel = torch.randn(2, 60, num_dimensions)
    vel = speed * vel / vel.norm(dim=1, keepdim=True)
    outputs = net(x, pos, vel=vel)
    gradients = torch.autograd.grad(sum(output.sum() for output in outputs),
                                    list(net.parameters()))
    for value in (*outputs, *gradients):
        assert value.isfinite().all()
    net, x, pos, vel = (value.double() for value in (net, x, pos, vel))

    def function(pos, vel):
        with torch.no_grad():
            return net(x[:7], pos[:7], vel=vel[:7])

    assert_equivariant(function, pos, vel, atol=1e-9, seed=seed)


def test_vectors_without_velocities_are_not_bounded(monkeypatch):
    net, x, pos, vel, batch = build(conv='vector', update_pos=False)
    expected = net(x, pos, batch=batch)[0]
    alone = build(conv='vector', vel_input=False)[0]
    unbounded = alone(x, pos, batch=batch)[0]
    moving = build(conv='vector')[0]
    bounded = moving(x, pos, vel=vel, batch=batch)[0]
    monkeypatch.setattr(vector_sake_conv, 'LARGEST_VECTOR', 1e-2)
    assert torch.equal(net(x, pos, batch=batch)[0], expected)
    assert torch.equal(alone(x, pos, batch=batch)[0], unbounded)
    assert not torch.allclose(moving(x, pos, vel=vel, batch=batch)[0],
                              bounded)


def test_vel_input():
    net, x, pos, vel, _ = build(vel_input=False)
    assert net(x, pos)[2] is not None
    with pytest.raises(ValueError, match="'vel' was given"):
        net(x, pos, vel=vel)


def test_pyg_batches_and_copies():
    net, x, pos, vel, batch = build()
    data = [Data(x=x[:4], pos=pos[:4]), Data(x=x[4:], pos=pos[4:])]
    data = Batch.from_data_list(data)
    out = net(data.x, data.pos, batch=data.batch)[0]
    assert str(net) == 'SAKENet(3, 8, 2, num_layers=2, cutoff=None)'
    assert torch.equal(copy.deepcopy(net)(x, pos, batch=batch)[0], out)
    other = SAKENet(3, 8, 2, num_layers=2).double()
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x, pos, batch=batch)[0], out)
    other.reset_parameters()
    assert not torch.allclose(other(x, pos, batch=batch)[0], out)


@pytest.mark.parametrize('net', [
    SAKENet(3, 8, 2, cutoff=2.0), SAKENet(3, 8, 2, conv='vector'),
    SAKE(8, num_layers=2, atomref=torch.ones(100)), VectorSAKE(8),
    EGNN(3, 8, 2), LinearDynamics(), RadialField(8), GNN(3, 8, 2),
], ids=lambda net: type(net).__name__)
def test_reset_parameters_are_new_ones(net):
    torch.manual_seed(1)
    net.reset_parameters()
    expected = copy.deepcopy(net.state_dict())
    for parameter in net.parameters():
        torch.nn.init.constant_(parameter, 7.0)
    torch.manual_seed(1)
    net.reset_parameters()
    for key, value in net.state_dict().items():
        assert torch.equal(value, expected[key])


@pytest.mark.compile
@pytest.mark.slow
def test_compile():
    net, x, pos, vel, batch = build(cutoff=1.5)
    edge_index, _ = neighbor_list(pos, 1.5, batch)
    compiled = torch.compile(net, fullgraph=True, backend='aot_eager')
    for value, expected in zip(compiled(x, pos, edge_index, vel),
                               net(x, pos, edge_index, vel)):
        assert torch.allclose(value, expected)


@pytest.mark.parametrize('change, error, match', [
    (dict(x=torch.zeros(7, 4)), ValueError, "'x' must have shape"),
    (dict(pos=torch.zeros(6, 3).double()), ValueError, "'pos' must have"),
    (dict(pos=torch.zeros(7, 3)), TypeError, "'pos' must be of type"),
    (dict(vel=torch.zeros(7, 2).double()), ValueError, "'vel' must have"),
    (dict(batch=torch.zeros(6).long()), ValueError, "'batch' must have"),
    (dict(edge_index=torch.tensor([[0], [7]])), ValueError, "smaller than 7"),
    (dict(edge_index=torch.tensor([[0], [1]]), edge_shift=[0.0]), TypeError,
     "'edge_shift' must be a tensor"),
], ids=lambda value: str(value)[:40].replace('\n', ' '))
def test_wrong_inputs(change, error, match):
    net, x, pos, vel, batch = build()
    inputs = dict(dict(x=x, pos=pos, vel=vel, batch=batch), **change)
    inputs['x'] = inputs['x'].double()
    with pytest.raises(error, match=match):
        net(**inputs)
    with pytest.raises(TypeError, match="'x' must be of type"):
        net(x.float(), pos)


def test_settings_of_the_stack_are_not_for_the_user():
    with pytest.raises(TypeError, match="'vel_input' must be a bool"):
        SAKENet(3, 8, 2, vel_input=1)
    with pytest.raises(TypeError, match=r"\['vel_gate'\] must not be given"):
        SAKENet(3, 8, 2, vel_gate=False)
    with pytest.raises(TypeError, match='bound_vec'):
        SAKENet(3, 8, 2, conv='vector', bound_vec=False)
