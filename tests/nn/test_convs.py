"""What holds for all layers: derivatives, symmetries, degenerate graphs,
PyG's features and errors.
"""

import copy
import itertools
import math

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.nn import Sequential

from torch_sake import SAKEConv, VectorSAKEConv
from torch_sake.nn import ExpNormalBasis, KineticConv, Segments
from torch_sake.ops.scatter import sum_edges
from torch_sake.testing import assert_equivariant

SAKE_OPTIONS = [
    dict(semantic_attention=semantic, spatial_attention=spatial,
         cutoff=cutoff, update_pos=update_pos)
    for semantic, spatial, cutoff, update_pos in itertools.product(
        (True, False), (True, False), (None, 2.5), (True, False))
] + [dict(edge_dim=2), dict(edge_dim=2, cutoff=2.5, envelope='cosine'),
     dict(out_channels=4)]
VECTOR_OPTIONS = [
    dict(vec_input=vec_input, vec_output=vec_output, cutoff=cutoff,
         update_pos=update_pos)
    for vec_input, vec_output, cutoff, update_pos in itertools.product(
        (True, False), (True, False), (None, 2.5), (True, False))
] + [dict(edge_dim=2), dict(edge_dim=2, cutoff=2.5, envelope='cosine',
                            vec_input=True),
     dict(out_channels=4, avg_num_neighbors=2.0)]
OPTIONS = [(SAKEConv, options) for options in SAKE_OPTIONS
           ] + [(VectorSAKEConv, options) for options in VECTOR_OPTIONS]
CONVS = [SAKEConv, VectorSAKEConv]


def name(value):
    if isinstance(value, dict):
        return '-'.join(f'{key}={item}' for key, item in value.items())
    return getattr(value, '__name__', None) or str(value)[:40].replace(
        '\n', ' ')


def build(conv_class=SAKEConv, num_dimensions=3, num_nodes=5, seed=0,
          **options):
    """Returns a small layer and inputs for it, in float64."""
    torch.manual_seed(seed)
    options = dict(dict(in_channels=3, out_channels=3, hidden_channels=4,
                        num_rbf=5), **options)
    if conv_class is SAKEConv:
        options.setdefault('heads', 2)
    conv = conv_class(**options).double()
    pairs = torch.cartesian_prod(torch.arange(num_nodes),
                                 torch.arange(num_nodes)).t()
    edge_index = pairs[:, pairs[0] != pairs[1]]
    edge_index = edge_index[:, torch.rand(edge_index.size(1)) < 0.8]
    inputs = dict(x=torch.randn(num_nodes, 3).double(),
                  pos=torch.randn(num_nodes, num_dimensions).double(),
                  edge_index=edge_index,
                  vel=torch.randn(num_nodes, num_dimensions).double())
    if conv.edge_dim is not None:
        inputs['edge_attr'] = torch.randn(edge_index.size(1),
                                          conv.edge_dim).double()
    if options.get('vec_input'):
        inputs['vec'] = torch.randn(num_nodes, num_dimensions, 4).double()
    return conv, inputs


@pytest.mark.parametrize('conv_class, options', OPTIONS, ids=name)
def test_first_and_second_gradients(conv_class, options):
    conv, inputs = build(conv_class, num_dimensions=2, num_nodes=4, **options)
    edge_index = inputs.pop('edge_index')
    inputs['edge_shift'] = 0.1 * torch.randn(edge_index.size(1), 2).double()
    if conv.cutoff is None:  # also as a user's own weight of each edge
        inputs['edge_weight'] = torch.rand(edge_index.size(1)).double()
    keys = list(inputs)

    def function(*values):
        return conv(edge_index=edge_index, **dict(zip(keys, values)))

    values = [value.requires_grad_() for value in inputs.values()]
    assert torch.autograd.gradcheck(function, values)
    assert torch.autograd.gradgradcheck(function, values)


@pytest.mark.parametrize('conv_class', CONVS)
def test_gradients_without_velocities(conv_class):
    conv, inputs = build(conv_class, num_dimensions=2, num_nodes=4,
                         vel_gate=False, cutoff=2.5)
    x, pos, edge_index, _ = inputs.values()

    def function(x, pos):
        return conv(x, pos, edge_index)

    values = [x.requires_grad_(), pos.requires_grad_()]
    assert torch.autograd.gradcheck(function, values)
    assert torch.autograd.gradgradcheck(function, values)


@given(num_dimensions=st.integers(1, 7), seed=st.integers(0, 10**6),
       option=st.sampled_from(range(len(OPTIONS))))
def test_equivariance(num_dimensions, seed, option):
    conv_class, options = OPTIONS[option]
    conv, inputs = build(conv_class, num_dimensions, seed=seed, **options)
    vectors = [inputs['vel'].unsqueeze(1)]  # all of them, [N, 1 + F, D]
    if 'vec' in inputs:
        vectors.append(inputs['vec'].transpose(1, 2))

    def function(pos, vectors):
        changed = dict(inputs, pos=pos, vel=vectors[:, 0])
        if 'vec' in inputs:
            changed['vec'] = vectors[:, 1:].transpose(1, 2)
        with torch.no_grad():
            x, pos, vel, *vec = conv(**changed)
        vectors = [vel.unsqueeze(1)] + [v.transpose(1, 2) for v in vec]
        return x, pos, torch.cat(vectors, dim=1)

    assert_equivariant(function, inputs['pos'], torch.cat(vectors, dim=1),
                       atol=1e-10, seed=seed)


@given(num_dimensions=st.integers(1, 7), seed=st.integers(0, 10**6),
       option=st.sampled_from(range(len(OPTIONS))))
def test_permutation_equivariance(num_dimensions, seed, option):
    conv_class, options = OPTIONS[option]
    conv, inputs = build(conv_class, num_dimensions, seed=seed, **options)
    nodes = torch.randperm(5)
    place = nodes.argsort()  # new number of each old node
    edges = torch.randperm(inputs['edge_index'].size(1))
    changed = {
        key: value[edges if key == 'edge_attr' else nodes]
        for key, value in inputs.items() if key != 'edge_index'
    }
    changed['edge_index'] = place[inputs['edge_index'][:, edges]]
    with torch.no_grad():
        for value, expected in zip(conv(**changed), conv(**inputs)):
            assert torch.allclose(value, expected[nodes], atol=1e-10, rtol=0)


@pytest.mark.parametrize('conv_class', CONVS)
@pytest.mark.parametrize('cutoff', [None, 2.0])
def test_degenerate_graphs(conv_class, cutoff):
    conv = conv_class(3, 3, cutoff=cutoff).double()
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


@pytest.mark.parametrize('conv_class', CONVS)
def test_edges_beyond_the_cutoff_do_not_count(conv_class):
    conv = conv_class(3, 3, cutoff=2.0).double()
    x = torch.randn(3, 3).double()
    pos = torch.tensor([[0.0, 0], [1, 0], [5, 0]]).double()
    near = torch.tensor([[0, 1], [1, 0]])
    everything = torch.tensor([[0, 1, 0, 2, 1, 2], [1, 0, 2, 0, 2, 1]])
    for value, expected in zip(conv(x, pos, everything), conv(x, pos, near)):
        assert torch.allclose(value, expected, atol=1e-14, rtol=0)


@pytest.mark.parametrize('conv_class', CONVS)
def test_edge_weight_takes_the_place_of_the_envelope(conv_class):
    conv, inputs = build(conv_class, cutoff=2.5)
    pos, edge_index = inputs['pos'], inputs['edge_index']
    vec = pos[edge_index[0]] - pos[edge_index[1]]
    weight = conv.envelope((vec.square().sum(1) + 1e-5).sqrt())
    expected = conv(**inputs)
    for value, other in zip(conv(**inputs, edge_weight=weight), expected):
        assert torch.allclose(value, other)
    assert not torch.allclose(conv(**inputs, edge_weight=0.5 * weight)[0],
                              expected[0])


@pytest.mark.parametrize('conv_class', CONVS)
def test_velocities(conv_class):
    x, pos = torch.randn(2, 3), torch.randn(2, 3)
    edge_index = torch.tensor([[0, 1], [1, 0]])
    conv = conv_class(3, 3)
    _, new_pos, vel = conv(x, pos, edge_index)
    assert torch.allclose(new_pos, pos + vel)
    still = conv_class(3, 3, update_pos=False)
    assert still(x, pos, edge_index)[1:] == (pos, None)
    assert still(x, pos, edge_index, vel)[2] is vel
    with pytest.raises(ValueError, match="'vel' was given to a layer"):
        conv_class(3, 3, vel_gate=False)(x, pos, edge_index, vel)


@pytest.mark.parametrize('conv_class', CONVS)
def test_pyg_features(conv_class):
    conv, inputs = build(conv_class, cutoff=2.5)
    x, pos, edge_index, vel = inputs.values()
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

    reverse = build(conv_class, cutoff=2.5, flow='target_to_source')[0]
    reverse.load_state_dict(conv.state_dict())
    for value, other in zip(reverse(x, pos, edge_index.flip(0), vel),
                            expected):
        assert torch.allclose(value, other)

    before = conv.lin_coefficients.weight.clone()
    torch.manual_seed(1)
    conv.reset_parameters()
    state = copy.deepcopy(conv.state_dict())
    assert not torch.equal(before, conv.lin_coefficients.weight)
    for parameter in conv.parameters():
        torch.nn.init.constant_(parameter, 7.0)
    torch.manual_seed(1)
    conv.reset_parameters()
    for key, value in conv.state_dict().items():
        assert torch.equal(value, state[key])


@pytest.mark.parametrize('cutoff', [numpy.float32(2.5), torch.tensor(2.5)])
@pytest.mark.parametrize('conv_class', CONVS)
def test_numbers_of_numpy_and_torch(conv_class, cutoff):
    conv, inputs = build(conv_class, cutoff=cutoff,
                         in_channels=numpy.int64(3),
                         update_pos=numpy.True_)
    assert type(conv.cutoff) is float and type(conv.in_channels) is int
    conv(**inputs)


@pytest.mark.parametrize('conv_class', CONVS)
def test_envelope_of_the_user_is_left_alone(conv_class):
    envelope = torch.nn.Sequential(torch.nn.Linear(1, 1))
    torch.nn.init.constant_(envelope[0].weight, 7.0)
    conv, _ = build(conv_class, cutoff=2.5, envelope=envelope)
    conv.reset_parameters()
    assert float(envelope[0].weight) == 7.0


@pytest.mark.parametrize('conv_class', CONVS)
def test_edge_masks_of_explainers(conv_class):
    conv, inputs = build(conv_class, update_pos=False)
    num_edges = inputs['edge_index'].size(1)
    plain = conv(**inputs)[0]
    alone = conv(**dict(inputs, edge_index=inputs['edge_index'][:, :0]))[0]
    conv.explain, conv._apply_sigmoid = True, False
    for mask, expected in ((torch.ones, plain), (torch.zeros, alone)):
        conv._edge_mask = mask(num_edges).double()
        assert torch.allclose(conv(**inputs)[0], expected)
    conv._edge_mask = torch.rand(num_edges).double().requires_grad_()
    conv(**inputs)[0].sum().backward()
    assert (conv._edge_mask.grad != 0).all()


def test_subclass_that_changes_messages():
    class Louder(SAKEConv):
        def message(self, source_j: Tensor, target_i: Tensor, dist: Tensor,
                    direction: Tensor, edge_attr: Tensor | None,
                    edge_weight: Tensor | None, targets: Segments):
            embedding, *rest = super().message(
                source_j, target_i, dist, direction, edge_attr, edge_weight,
                targets)
            return (2 * embedding, *rest)

    plain, inputs = build()
    louder = Louder(3, 3, 4, heads=2, num_rbf=5).double()
    louder.load_state_dict(plain.state_dict())
    assert not torch.allclose(louder(**inputs)[0], plain(**inputs)[0])
    weights = plain.edge_embedding.lin_out
    with torch.no_grad():  # the same embeddings, but for the attention
        louder.edge_embedding.lin_out.weight.copy_(weights.weight / 2)
        louder.edge_embedding.lin_out.bias.copy_(weights.bias / 2)
        louder.attention.lin.weight.mul_(2)
    assert torch.allclose(louder(**inputs)[0], plain(**inputs)[0])


def test_layer_of_ones_own():
    class Drift(KineticConv):
        def __init__(self):
            super().__init__(3, 3)
            self.weight = torch.nn.Parameter(torch.ones(3).double())

        def forward(self, x, pos, edge_index):
            edge_index = self.check_input(x, pos, edge_index)
            geometry = self.edge_geometry(pos, edge_index)
            return sum_edges(geometry.direction, geometry.targets), (
                x @ self.weight)

    conv, (_, inputs) = Drift(), build()
    inputs = [inputs[key] for key in ('x', 'pos', 'edge_index')]
    assert conv(*inputs)[0].shape == inputs[1].shape
    with pytest.raises(TypeError, match="'x' must be of type"):
        conv(inputs[0].float(), *inputs[1:])


def test_radial_functions():
    basis = ExpNormalBasis(4, max_distance=2.5).double()
    basis.reset_parameters()
    dist = torch.tensor([[0.0], [0.7], [2.5]]).double()
    start = math.exp(-5)
    means = torch.linspace(start, 1, 4, dtype=torch.double)
    width = 2 / 4 * (1 - start)
    expected = torch.exp(-((torch.exp(-2 * dist) - means) / width)**2)
    assert torch.allclose(basis(dist), expected, atol=1e-12)


def test_radial_functions_reach_as_far_as_the_cutoff():
    for cutoff, expected in ((None, 5.0), (2.5, 2.5)):
        basis = SAKEConv(3, 4, cutoff=cutoff).edge_embedding.basis
        assert basis.max_distance == expected
        assert VectorSAKEConv(3, 4, cutoff=cutoff).basis.max_distance == (
            expected)


def test_repr():
    assert str(SAKEConv(3, 4, heads=2, cutoff=2.5)) == (
        'SAKEConv(3, 4, heads=2, cutoff=2.5, update_pos=True)')
    assert str(VectorSAKEConv(3, 4, cutoff=2.5)) == (
        'VectorSAKEConv(3, 4, cutoff=2.5, update_pos=True)')


@pytest.mark.parametrize('conv_class, options', [
    (SAKEConv, dict(cutoff=2.5, edge_dim=2)),
    (VectorSAKEConv, dict(cutoff=2.5, vec_input=True, vec_output=True)),
], ids=name)
@pytest.mark.compile
@pytest.mark.slow
def test_compile(conv_class, options):
    conv, inputs = build(conv_class, **options)
    compiled = torch.compile(conv, fullgraph=True)
    for value, expected in zip(compiled(**inputs), conv(**inputs)):
        assert torch.allclose(value, expected)


@pytest.mark.parametrize('options, error, match', [
    (dict(heads=0), ValueError, "'heads' must be at least 1"),
    (dict(heads=1.5), TypeError, "'heads' must be an integer"),
    (dict(heads=True), TypeError, "'heads' must be an integer"),
    (dict(hidden_channels=0), ValueError,
     "'hidden_channels' must be at least 1"),
    (dict(num_coefficients=0), ValueError,
     "'num_coefficients' must be at least 1"),
    (dict(in_channels=0), ValueError, "'in_channels' must be at least 1"),
    (dict(num_rbf=0), ValueError, "'num_rbf' must be at least 1"),
    (dict(edge_dim=0), ValueError, "'edge_dim' must be at least 1"),
    (dict(cutoff=0.0), ValueError, "'cutoff' must be positive"),
    (dict(cutoff=float('nan')), ValueError, "'cutoff' must be positive"),
    (dict(cutoff='5'), TypeError, "'cutoff' must be a number"),
    (dict(cutoff=True), TypeError, "'cutoff' must be a number"),
    (dict(cutoff=1.0, envelope='box'), ValueError, "'envelope' must be one"),
    (dict(envelope='box'), ValueError, "'envelope' must be one"),
    (dict(update_pos='False'), TypeError, "'update_pos' must be a bool"),
    (dict(vel_gate=1), TypeError, "'vel_gate' must be a bool"),
    (dict(spatial_attention=None), TypeError, "'spatial_attention' must be"),
    (dict(semantic_attention=1), TypeError, "'semantic_attention' must be"),
    (dict(decomposed_layers=2), ValueError, "'decomposed_layers' must be 1"),
    (dict(conv_class=VectorSAKEConv, vec_output='no'), TypeError,
     "'vec_output' must be a bool"),
    (dict(conv_class=VectorSAKEConv, avg_num_neighbors=0.0), ValueError,
     "'avg_num_neighbors' must be positive"),
], ids=name)
def test_wrong_options(options, error, match):
    with pytest.raises(error, match=match):
        build(**options)


@pytest.mark.parametrize('change, error, match', [
    (dict(x=torch.zeros(5, 2)), ValueError, r"'x' must have shape \[N, 3\]"),
    (dict(x=torch.zeros(5, 3)), TypeError, "'x' must be of type"),
    (dict(pos=torch.zeros(4, 3).double()), ValueError, "'pos' must have"),
    (dict(pos=torch.zeros(5).double()), ValueError, "'pos' must have"),
    (dict(pos=torch.zeros(5, 0).double()), ValueError, "one dimension"),
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
    (dict(edge_index=torch.tensor([[0], [1]]), edge_shift=torch.zeros(1, 3)),
     TypeError, "'edge_shift' must be of type"),
    (dict(edge_weight=torch.zeros(3).double()), ValueError, "'edge_weight'"),
    (dict(vel=torch.zeros(5, 3).double().to('meta')), ValueError,
     "'vel' must be on cpu, as 'pos'"),
], ids=name)
@pytest.mark.parametrize('conv_class', CONVS)
def test_wrong_inputs(conv_class, change, error, match):
    conv, inputs = build(conv_class)
    conv(**inputs)
    with pytest.raises(error, match=match):
        conv(**dict(inputs, **change))


@pytest.mark.parametrize('conv_class', CONVS)
def test_edge_dim_needs_edge_attr(conv_class):
    conv, inputs = build(conv_class, edge_dim=2)
    del inputs['edge_attr']
    with pytest.raises(ValueError, match="'edge_attr' must be given"):
        conv(**inputs)


def test_vectors_that_a_layer_does_not_take():
    conv, inputs = build(VectorSAKEConv, vec_input=True)
    with pytest.raises(ValueError, match="'vec' must have shape"):
        conv(**dict(inputs, vec=torch.zeros(5, 3, 2).double()))
    vec = inputs.pop('vec')
    with pytest.raises(ValueError, match="'vec' must be given"):
        conv(**inputs)
    with pytest.raises(ValueError, match="'vec' must be given"):
        build(VectorSAKEConv)[0](**inputs, vec=vec)


@pytest.mark.parametrize('conv_class', CONVS)
def test_sums_are_not_up_to_the_user(conv_class):
    with pytest.raises(TypeError, match=r"Conv has no arguments \['aggr'\]"):
        conv_class(3, 3, aggr='max')


@pytest.mark.parametrize('conv_class', CONVS)
def test_replica_after_a_layer_in_half_precision(conv_class, replica):
    conv, inputs = build(conv_class)
    inputs['x'] = inputs['x'].bfloat16()
    assert not list(replica(conv).parameters())
    with torch.autocast('cpu'):
        for value, expected in zip(replica(conv)(**inputs), conv(**inputs)):
            assert value.dtype == torch.double
            assert torch.equal(value, expected)
