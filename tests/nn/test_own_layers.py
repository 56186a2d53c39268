"""Layers of a user's own: subclasses of KineticConv in one file."""

import functools
from typing import Optional

import pytest
import torch
from torch import Tensor
from torch.nn import Linear, Sequential, SiLU

from torch_sake import Potential, SAKEConv, SAKENet, VectorSAKEConv
from torch_sake.models import MoleculeModel
from torch_sake.models.stack import SAKEStack
from torch_sake.nn import ExpNormalBasis, KineticConv, Segments
from torch_sake.ops import compilation
from torch_sake.ops.scatter import sum_edges, sum_outer_products
from torch_sake.testing import assert_equivariant, assert_equivariant_forces

SIZES = dict(num_layers=3, num_rbf=4)


class MemoryConv(KineticConv):
    """A layer with charges of nodes and orders of edges that hands on sums of
    its messages."""
    hands_on = ('memory', )

    def __init__(self, in_channels, out_channels, hidden_channels=None,
                 num_rbf=8, first=True, **kwargs):
        super().__init__(in_channels, out_channels, hidden_channels, **kwargs)
        hidden = self.hidden_channels
        self.first = first
        self.basis = ExpNormalBasis(num_rbf, self.cutoff or 5.0)
        self.lin_node = Linear(in_channels, hidden)
        self.mlp_edge = Sequential(Linear(2 * hidden + num_rbf + 2, hidden),
                                   SiLU(), Linear(hidden, hidden))
        self.mlp_node = Sequential(Linear(in_channels + 3 * hidden, hidden),
                                   SiLU(), Linear(hidden, out_channels))
        if self.update_pos:
            self.lin_vel = Linear(hidden, 1, bias=False)
        self.reset_parameters()

    @classmethod
    def stack_arguments(cls, first, last, vel_input, has_vel):
        return dict(super().stack_arguments(first, last, vel_input, has_vel),
                    first=first)

    def message_inputs(self, x, **inputs):
        return {'hidden': self.lin_node(x)}

    def message(self, hidden_i, hidden_j, dist, direction,
                edge_weight: Tensor | None, charge_j: Tensor | float = 0.0,
                order: 'Tensor | None' = None):
        order = torch.ones_like(dist) if order is None else order
        embedding = self.mlp_edge(torch.cat([
            hidden_i, hidden_j, self.basis(dist), order,
            charge_j + 0 * dist], dim=1))
        if edge_weight is not None:
            embedding = embedding * edge_weight
        return embedding, direction

    def aggregate(self, inputs, targets: Segments):
        embedding, direction = inputs
        return (sum_edges(embedding, targets),
                sum_outer_products(embedding, direction, targets))

    def update(self, inputs, x, pos, vel, memory=None):
        message, vectors = inputs  # [N, F], [N, D, F]
        assert (memory is None) == self.first
        memory = message if memory is None else memory + message
        x = self.skip(x) + self.mlp_node(torch.cat([
            x, message, memory, vectors.square().sum(dim=1)], dim=1))
        if self.update_pos:
            pos, vel = self.update_kinetics(x, pos, vel,
                                            self.lin_vel(vectors).squeeze(2))
        return x, pos, vel, memory


def graph():
    edge_index = torch.tensor([[0, 1, 1, 2, 3, 4, 4, 0],
                               [1, 0, 2, 1, 4, 3, 0, 4]])
    return (torch.randn(5, 2).double(), torch.randn(5, 3).double(),
            edge_index, torch.randn(5, 3).double())


def take_steps(module, loss):
    optimizer = torch.optim.SGD(module.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(float(value.detach()))
    assert losses[2] < losses[1] < losses[0]
    assert all(parameter.grad is not None for parameter in
               module.parameters() if parameter.numel())


@pytest.mark.parametrize('cutoff', [None, 4.0])
def test_in_a_network(cutoff):
    net = SAKENet(2, 8, 1, conv=MemoryConv, cutoff=cutoff, **SIZES).double()
    x, pos, edge_index, vel = graph()
    charge, order = torch.randn(5, 1).double(), torch.rand(8, 1).double()
    assert [conv.first for conv in net.stack.convs] == [True, False, False]

    def call(pos, vel, **inputs):
        return net(x, pos, edge_index, vel, **inputs)

    take_steps(net, lambda: sum(
        output.square().mean()
        for output in call(pos, vel, charge=charge, order=order)))
    assert_equivariant(functools.partial(call, charge=charge, order=order),
                       pos, vel, atol=1e-10)
    # Inputs are what messages say they are:
    plain = call(pos, vel)[0]
    for inputs in (dict(charge=charge), dict(order=order)):
        assert not torch.allclose(call(pos, vel, **inputs)[0], plain)
    neutral = dict(charge=0 * charge, order=torch.ones_like(order))
    assert torch.allclose(call(pos, vel, **neutral)[0], plain)


@pytest.mark.compile
@pytest.mark.slow
def test_in_a_potential(monkeypatch):
    potential = Potential(MoleculeModel(8, conv=MemoryConv, cutoff=3.0,
                                        **SIZES)).double()
    z, pos = torch.tensor([8, 1, 1, 6, 1]), torch.randn(5, 3).double()

    def loss():
        energy, forces, _ = potential(z, pos)
        return energy.square().mean() + forces.square().mean()

    take_steps(potential, loss)
    assert_equivariant_forces(potential, z, pos, atol=1e-9)
    results = []
    for compiled in (False, True):
        if compiled:  # up to machine code, which takes minutes
            monkeypatch.setattr(
                compilation, 'compile_function',
                functools.partial(torch.compile, dynamic=True, fullgraph=True,
                                  backend='aot_eager'))
            potential.compile()
        potential.zero_grad()
        results.append([loss(), *torch.autograd.grad(
            loss(), list(potential.parameters()), materialize_grads=True)])
    assert potential.compiled
    for value, expected in zip(*results):
        assert torch.allclose(value, expected, atol=1e-9)


@pytest.mark.parametrize('parent', [SAKEConv, VectorSAKEConv])
def test_more_inputs_of_a_layer(parent):
    r"""Which are added to those of its parent."""
    class Charged(parent):
        def message(self, charge_i, charge_j, **inputs):
            embedding, *rest = super().message(**inputs)
            return (embedding * (1 + charge_i * charge_j), *rest)

        def update(self, out, x, charge, **inputs):
            return super().update(out, x + charge, **inputs)

    x, pos, edge_index, vel = graph()
    plain = SAKEStack(2, 2, parent).double()
    stack = SAKEStack(2, 2, Charged).double()
    stack.load_state_dict(plain.state_dict())
    expected = plain(x, pos, edge_index, vel)
    for charge, same in ((torch.zeros(5, 1), True), (torch.ones(5, 1), False)):
        outputs = stack(x, pos, edge_index, vel, charge=charge.double())
        assert torch.allclose(outputs[0], expected[0]) == same
    with pytest.raises(TypeError, match=r"needs the inputs \['charge'\]"):
        stack(x, pos, edge_index, vel)
    with pytest.raises(TypeError, match=r"has no inputs \['charges'\]"):
        stack(x, pos, edge_index, vel, charges=charge)


@pytest.mark.parametrize('name', ['dist', 'direction', 'sources', 'targets',
                                  'source', 'target', 'vec_source'])
@pytest.mark.parametrize('parent', [SAKEConv, VectorSAKEConv])
def test_what_a_layer_computes_is_no_input(parent, name):
    x, pos, edge_index, _ = graph()
    for call in (parent(2, 2).double(),
                 SAKENet(2, 8, 1, conv=parent, num_layers=2).double()):
        with pytest.raises(TypeError, match=rf"has no inputs \['{name}'\]"):
            call(x, pos, edge_index, **{name: x})


def test_inputs_of_nodes_alone():
    class Charged(SAKEConv):
        def message_inputs(self, x, charge, dist, **inputs):
            assert dist.shape == (8, 1)
            return super().message_inputs(x + charge, **inputs)

    class Again(Charged):
        def message_inputs(self, **inputs):
            return dict(super().message_inputs(**inputs), charge=None)

    x, pos, edge_index, _ = graph()
    for kind in (Charged, Again):
        conv = kind(2, 2, update_pos=False).double()
        plain, other = (conv(x, pos, edge_index, charge=charge)[0]
                        for charge in (0 * x, x))
        assert not torch.allclose(plain, other)
        for name in ('charges', 'dist'):
            with pytest.raises(TypeError, match=rf"no inputs \['{name}'\]"):
                conv(x, pos, edge_index, charge=x, **{name: x})


def annotate(**hints):
    def message(self, x_j, edge_weight):
        return x_j if edge_weight is None else x_j * edge_weight

    message.__annotations__ = hints
    return message


@pytest.mark.parametrize('hints', [
    {}, {'x_j': Tensor}, {'edge_weight': Tensor | None},
    {'edge_weight': Optional[Tensor]},  # noqa: UP045
    {'edge_weight': 'Tensor | None'},
    {'edge_weight': 'Unheard[Of]'}, {'return': tuple[Tensor, ...]},
], ids=str)
def test_messages_with_any_hints(hints):
    class Sum(KineticConv):
        message = annotate(**hints)

        def update(self, inputs, x, pos, vel):
            return inputs, pos, vel

    x, pos, edge_index, _ = graph()
    conv = Sum(2, 2, update_pos=False).double()
    expected = torch.zeros_like(x).index_add(0, edge_index[1],
                                             x[edge_index[0]])
    assert torch.allclose(conv(x, pos, edge_index)[0], expected)
    mask = torch.rand(8).double()
    conv.explain, conv._edge_mask, conv._apply_sigmoid = True, mask, False
    expected = torch.zeros_like(x).index_add(
        0, edge_index[1], mask.view(-1, 1) * x[edge_index[0]])
    assert torch.allclose(conv(x, pos, edge_index)[0], expected)
    assert Sum.message.__annotations__ == hints


@pytest.mark.parametrize('conv, error, match', [
    (Linear, TypeError, "'conv' must be a subclass of KineticConv"),
    ('own', ValueError, "'conv' must be one of"),
])
def test_no_layers(conv, error, match):
    for build in (SAKEStack, functools.partial(SAKENet, 2, num_layers=1)):
        with pytest.raises(error, match=match):
            build(2, 1, conv=conv)


def test_arguments_that_follow_from_the_place():
    with pytest.raises(TypeError, match="'?first'?"):
        SAKEStack(8, 2, MemoryConv, first=True)
    with pytest.raises(TypeError, match="vel_gate"):
        SAKEStack(8, 2, MemoryConv, vel_gate=True)


def test_layers_that_return_one_tensor():
    class Half(KineticConv):
        def message(self, x_j):
            return x_j

        def aggregate(self, inputs, targets):
            return sum_edges(inputs, targets)

    net = SAKENet(3, 4, 2, num_layers=1, conv=Half)
    with pytest.raises(TypeError, match="'update' of Half must return"):
        net(torch.randn(3, 3), torch.randn(3, 3))


def test_inputs_of_edges_need_edges():
    net = SAKENet(3, 4, 2, num_layers=2, conv=MemoryConv)
    inputs = torch.randn(3, 3), torch.randn(3, 3)
    charge, order = torch.randn(3, 1), torch.randn(6, 1)
    net(*inputs, charge=charge)
    with pytest.raises(ValueError, match="'order' needs 'edge_index'"):
        net(*inputs, charge=charge, order=order)
