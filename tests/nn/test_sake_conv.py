import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import Sequential

from torch_sake import SAKEConv
from torch_sake.testing import assert_equivariant

OPTIONS = [
    dict(semantic_attention=semantic, spatial_attention=spatial,
         cutoff=cutoff, update_pos=update_pos)
    for semantic, spatial, cutoff, update_pos in itertools.product(
        (True, False), (True, False), (None, 2.5), (True, False))
] + [dict(edge_dim=2), dict(edge_dim=2, cutoff=2.5, envelope='cosine'),
     dict(out_channels=4)]


def build(num_dimensions=3, num_nodes=5, seed=0, **options):
    """Returns a small layer and inputs for it, in float64."""
    torch.manual_seed(seed)
    options = dict(dict(in_channels=3, out_channels=3, hidden_channels=4,
                        heads=2, num_rbf=5), **options)
    conv = SAKEConv(**options).double()
    x = torch.randn(num_nodes, 3).double()
    pos = torch.randn(num_nodes, num_dimensions).double()
    vel = torch.randn(num_nodes, num_dimensions).double()
    pairs = torch.cartesian_prod(torch.arange(num_nodes),
                                 torch.arange(num_nodes)).t()
    edge_index = pairs[:, pairs[0] != pairs[1]]
    keep = torch.rand(edge_index.size(1)) < 0.8
    edge_index = edge_index[:, keep]
    edge_attr = None
    if conv.edge_dim is not None:
        edge_attr = torch.randn(edge_index.size(1), conv.edge_dim).double()
    return conv, x, pos, edge_index, vel, edge_attr


def reference(conv: SAKEConv, x: Tensor, pos: Tensor, edge_index: Tensor,
              vel: Tensor, edge_attr: Tensor):
    """The equations of the layer, node by node and edge by edge."""
    embed = conv.edge_embedding
    num_rbf = embed.basis.num_rbf
    new_x, new_vel = [], []
    for i in range(x.size(0)):
        edges = [e for e in range(edge_index.size(1))
                 if int(edge_index[1, e]) == i]
        embeddings, weights, directions = [], [], []
        for e in edges:
            j = int(edge_index[0, e])
            r = pos[j] - pos[i]
            d = (r.dot(r) + 1e-5).sqrt()
            q = (embed.lin_source.weight @ x[j] +
                 embed.lin_target.weight @ x[i] + embed.lin_target.bias)
            if edge_attr is not None:
                q = q + embed.lin_edge.weight @ edge_attr[e]
            phi = torch.exp(-embed.basis.betas *
                            (torch.exp(-embed.basis.alpha * d) -
                             embed.basis.means)**2)
            radial = torch.cat([phi * q[:num_rbf], d.view(1)])
            hidden = torch.nn.functional.silu(
                q[num_rbf:] + embed.lin_radial.weight @ radial)
            embeddings.append(embed.lin_out(hidden))
            directions.append(r / (d + 1e-5))
            weight = 1.0
            if conv.cutoff is not None:
                t = min(float(d) / conv.cutoff, 1.0)
                weight = 1 - 28 * t**6 + 48 * t**7 - 21 * t**8
                if 'Cosine' in str(conv.envelope):
                    weight = 0.5 * (1 + torch.cos(torch.tensor(
                        torch.pi * t, dtype=torch.double)))
            weights.append(float(weight))
        logits = [
            torch.celu(conv.attention.lin(e), alpha=2.0)
            if conv.semantic_attention else torch.zeros(conv.heads).double()
            for e in embeddings
        ]
        total = sum((w * s.exp() for w, s in zip(weights, logits)),
                    torch.zeros(conv.heads).double())
        if conv.cutoff is not None:
            total = total + 1
        channels = conv.heads * conv.hidden_channels
        message = torch.zeros(channels).double()
        combinations = torch.zeros(channels, pos.size(1)).double()
        for e, w, s, u in zip(embeddings, weights, logits, directions):
            attention = w * s.exp() / total  # [H]
            m = torch.outer(attention, e).flatten()
            message = message + m
            if conv.spatial_attention:
                c = torch.tanh(conv.lin_coefficients.weight @ m)
                combinations = combinations + torch.outer(c, u)
        combinations = combinations / (1 + sum(weights))
        inputs = [x[i], message]
        if conv.spatial_attention:
            inputs.append(conv.mlp_norm(combinations.square().sum(dim=1)))
        skip = x[i] if conv.lin_skip is None else conv.lin_skip(x[i])
        new_x.append(skip + conv.mlp_node(torch.cat(inputs)))
        if conv.update_pos:
            dv = 2 * torch.sigmoid(conv.mlp_vel(new_x[-1])) * vel[i]
            if conv.spatial_attention:
                dv = dv + conv.lin_vel.weight[0] @ combinations
            new_vel.append(dv)
    if not conv.update_pos:
        return torch.stack(new_x), pos, vel
    new_vel = torch.stack(new_vel)
    return torch.stack(new_x), pos + new_vel, new_vel


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_equations(options):
    conv, *inputs = build(**options)
    for value, expected in zip(conv(*inputs), reference(conv, *inputs)):
        assert torch.allclose(value, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_first_and_second_gradients(options):
    conv, x, pos, edge_index, vel, edge_attr = build(num_dimensions=2,
                                                     num_nodes=4, **options)
    shift = 0.1 * torch.randn(edge_index.size(1), 2).double()
    differentiable = [x, pos, vel, shift]
    if edge_attr is not None:
        differentiable.append(edge_attr)

    def function(x, pos, vel, shift, edge_attr=None):
        return conv(x, pos, edge_index, vel, edge_attr, shift)

    inputs = [value.requires_grad_() for value in differentiable]
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@given(num_dimensions=st.integers(1, 7), seed=st.integers(0, 10**6),
       option=st.sampled_from(range(len(OPTIONS))))
def test_equivariance(num_dimensions, seed, option):
    conv, x, pos, edge_index, vel, edge_attr = build(
        num_dimensions, seed=seed, **OPTIONS[option])

    def function(pos, vel):
        with torch.no_grad():
            return conv(x, pos, edge_index, vel, edge_attr)

    assert_equivariant(function, pos, vel, atol=1e-10, seed=seed)


@given(num_dimensions=st.integers(1, 7), seed=st.integers(0, 10**6),
       option=st.sampled_from(range(len(OPTIONS))))
def test_permutation_equivariance(num_dimensions, seed, option):
    conv, x, pos, edge_index, vel, edge_attr = build(
        num_dimensions, seed=seed, **OPTIONS[option])
    nodes = torch.randperm(pos.size(0))
    place = nodes.argsort()  # new number of each old node
    edges = torch.randperm(edge_index.size(1))
    with torch.no_grad():
        expected = conv(x, pos, edge_index, vel, edge_attr)
        outputs = conv(x[nodes], pos[nodes], place[edge_index[:, edges]],
                       vel[nodes],
                       None if edge_attr is None else edge_attr[edges])
    for value, reference_value in zip(outputs, expected):
        assert torch.allclose(value, reference_value[nodes], atol=1e-10,
                              rtol=0)


@pytest.mark.parametrize('cutoff', [None, 2.0])
def test_degenerate_graphs(cutoff):
    conv = SAKEConv(3, 3, cutoff=cutoff).double()
    for pos, edge_index in [
        (torch.zeros(0, 3), torch.zeros(2, 0)),  # nothing at all
        (torch.zeros(1, 3), torch.zeros(2, 0)),  # an isolated node
        (torch.zeros(2, 3), torch.tensor([[0, 1], [1, 0]])),  # coincident
        (torch.eye(3), torch.tensor([[0], [1]])),  # with and without edges
    ]:
        pos = pos.double().requires_grad_()
        x = torch.randn(pos.size(0), 3).double()
        outputs = conv(x, pos, edge_index.long())
        gradient, = torch.autograd.grad(
            sum(value.sum() for value in outputs), pos, create_graph=True)
        second, = torch.autograd.grad(gradient.square().sum(), pos)
        for value in (*outputs, gradient, second):
            assert value.isfinite().all()


def test_edges_beyond_the_cutoff_do_not_count():
    conv = SAKEConv(3, 3, cutoff=2.0).double()
    x = torch.randn(3, 3).double()
    pos = torch.tensor([[0.0, 0], [1, 0], [5, 0]]).double()
    near = torch.tensor([[0, 1], [1, 0]])
    everything = torch.tensor([[0, 1, 0, 2, 1, 2], [1, 0, 2, 0, 2, 1]])
    for value, expected in zip(conv(x, pos, everything), conv(x, pos, near)):
        assert torch.allclose(value, expected, atol=1e-14, rtol=0)


def test_edge_weight_takes_the_place_of_the_envelope():
    conv, x, pos, edge_index, vel, _ = build(cutoff=2.5)
    vec = pos[edge_index[0]] - pos[edge_index[1]]
    weight = conv.envelope((vec.square().sum(1) + 1e-5).sqrt())
    expected = conv(x, pos, edge_index, vel)
    outputs = conv(x, pos, edge_index, vel, edge_weight=weight)
    for value, reference_value in zip(outputs, expected):
        assert torch.allclose(value, reference_value)
    assert not torch.allclose(
        conv(x, pos, edge_index, vel, edge_weight=0.5 * weight)[0],
        expected[0])


def test_velocities():
    x, pos = torch.randn(2, 3), torch.randn(2, 3)
    edge_index = torch.tensor([[0, 1], [1, 0]])
    conv = SAKEConv(3, 3)
    _, new_pos, vel = conv(x, pos, edge_index)
    assert torch.allclose(new_pos, pos + vel)
    still = SAKEConv(3, 3, update_pos=False)
    assert still(x, pos, edge_index)[1:] == (pos, None)
    assert still(x, pos, edge_index, vel)[2] is vel
    with pytest.raises(ValueError, match="'vel' was given to a layer"):
        SAKEConv(3, 3, vel_gate=False)(x, pos, edge_index, vel)
    frozen = SAKEConv(3, 3, spatial_attention=False)
    assert torch.equal(frozen(x, pos, edge_index)[1], pos)


def test_pyg_features():
    conv, x, pos, edge_index, vel, _ = build(cutoff=2.5)
    assert str(conv) == ('SAKEConv(3, 3, heads=2, cutoff=2.5, '
                         'update_pos=True)')
    expected = conv(x, pos, edge_index, vel)

    net = Sequential('x, pos, edge_index, vel', [
        (conv, 'x, pos, edge_index, vel -> x, pos, vel'),
        (copy.deepcopy(conv), 'x, pos, edge_index, vel -> x, pos, vel'),
    ])
    first = conv(*expected[:2], edge_index, expected[2])
    for value, other in zip(net(x, pos, edge_index, vel), first):
        assert torch.equal(value, other)

    sorted_edges = EdgeIndex(edge_index[:, edge_index[1].argsort()],
                             sparse_size=(5, 5), sort_order='col')
    for value, other in zip(conv(x, pos, sorted_edges, vel), expected):
        assert torch.allclose(value, other)

    reverse = SAKEConv(3, 3, 4, 2, 5, cutoff=2.5, flow='target_to_source')
    reverse.double().load_state_dict(conv.state_dict())
    for value, other in zip(reverse(x, pos, edge_index.flip(0), vel),
                            expected):
        assert torch.allclose(value, other)

    before = conv.lin_coefficients.weight.clone()
    torch.manual_seed(1)
    conv.reset_parameters()
    state = copy.deepcopy(conv.state_dict())
    assert not torch.equal(before, conv.lin_coefficients.weight)
    torch.manual_seed(1)
    conv.reset_parameters()
    for key, value in conv.state_dict().items():
        assert torch.equal(value, state[key])


def test_initialization_is_that_of_the_whole_maps():
    conv = SAKEConv(64, 64, 64, heads=4, num_rbf=50)
    embed = conv.edge_embedding
    for weight, fan_in in [(embed.lin_source.weight[:50], 128),
                           (embed.lin_target.weight[50:], 179),
                           (embed.lin_radial.weight, 179),
                           (conv.lin_coefficients.weight, 256)]:
        assert abs(float(weight.detach().std()) * fan_in**0.5 - 1) < 0.05
    assert not embed.lin_target.bias.any()


@pytest.mark.parametrize('options', [dict(), dict(cutoff=2.5),
                                     dict(edge_dim=2)], ids=str)
def test_compile(options):
    conv, *inputs = build(**options)
    compiled = torch.compile(conv, fullgraph=True)
    for value, expected in zip(compiled(*inputs), conv(*inputs)):
        assert torch.allclose(value, expected)


@pytest.mark.parametrize('options, error, match', [
    (dict(heads=0), ValueError, "'heads' must be at least 1"),
    (dict(heads=1.5), TypeError, "'heads' must be an integer"),
    (dict(in_channels=0), ValueError, "'in_channels' must be at least 1"),
    (dict(num_rbf=0), ValueError, "'num_rbf' must be at least 1"),
    (dict(edge_dim=0), ValueError, "'edge_dim' must be at least 1"),
    (dict(cutoff=0.0), ValueError, "'cutoff' must be positive"),
    (dict(cutoff=float('nan')), ValueError, "'cutoff' must be positive"),
    (dict(cutoff='5'), TypeError, "'cutoff' must be a number"),
    (dict(cutoff=1.0, envelope='box'), ValueError, "'envelope' must be one"),
], ids=str)
def test_wrong_options(options, error, match):
    with pytest.raises(error, match=match):
        build(**options)


@pytest.mark.parametrize('change, error, match', [
    (dict(x=torch.zeros(5, 2)), ValueError, r"'x' must have shape \[N, 3\]"),
    (dict(x=torch.zeros(5, 3)), TypeError, "'x' must be of type"),
    (dict(pos=torch.zeros(4, 3).double()), ValueError, "'pos' must have"),
    (dict(pos=torch.zeros(5).double()), ValueError, "'pos' must have"),
    (dict(pos=torch.zeros(5, 3).long()), TypeError, "'pos' must be of float"),
    (dict(pos=torch.full((5, 3), torch.nan).double()), ValueError,
     r"'pos' must be finite .* in row 0"),
    (dict(edge_index=torch.zeros(3, 2).long()), ValueError, r"\[2, E\]"),
    (dict(edge_index=torch.zeros(2, 2)), TypeError, "'edge_index' must be"),
    (dict(edge_index=torch.tensor([[0], [5]])), ValueError, "smaller than 5"),
    (dict(edge_index=torch.tensor([[-1], [0]])), ValueError, "negative"),
    (dict(vel=torch.zeros(5, 2).double()), ValueError, "'vel' must have"),
    (dict(edge_attr=torch.zeros(3, 1).double()), ValueError, "'edge_attr'"),
    (dict(edge_shift=torch.zeros(3, 1).double()), ValueError, "'edge_shift'"),
    (dict(edge_weight=torch.zeros(3).double()), ValueError, "'edge_weight'"),
], ids=lambda value: str(value)[:40].replace('\n', ' '))
def test_wrong_inputs(change, error, match):
    conv, x, pos, edge_index, vel, _ = build()
    inputs = dict(x=x, pos=pos, edge_index=edge_index, vel=vel)
    conv(**inputs)
    with pytest.raises(error, match=match):
        conv(**dict(inputs, **change))


def test_edge_dim_needs_edge_attr():
    conv, x, pos, edge_index, vel, edge_attr = build(edge_dim=2)
    with pytest.raises(ValueError, match="'edge_attr' must be given"):
        conv(x, pos, edge_index, vel)
