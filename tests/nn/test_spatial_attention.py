"""The kernels of the spatial attention against the plain operators, run by
Triton's interpreter where there is no GPU."""

import functools
import importlib

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from torch_sake import SAKE, Potential, SAKEConv, VectorSAKE
from torch_sake.nn.spatial_attention import sum_combinations
from torch_sake.ops.linear import Linear
from torch_sake.ops.segments import Segments, sort_edges

pytest.importorskip('triton')
operators = importlib.import_module(
    'torch_sake.ops.spatial_attention_operators')

if not torch.cuda.is_available() and not operators.INTERPRETED:
    pytest.skip('Triton has neither a GPU nor its interpreter',
                allow_module_level=True)

DEVICE = 'cpu' if operators.INTERPRETED else 'cuda'
# The interpreter is exact in double precision; kernels are for single.
DTYPE = torch.double if operators.INTERPRETED else torch.float
TOLERANCE = 1e-9 if operators.INTERPRETED else 1e-3

# Numbers of nodes, edges, dimensions, channels, heads and combinations. The
# blocks are 32 or 16 edges, 32 combinations, 16 or 256 products:
SIZES = [(5, 40, 3, 6, 2, 10), (20, 30, 1, 17, 3, 33), (3, 0, 2, 3, 1, 5),
         (7, 50, 4, 3, 1, 2), (2, 151, 2, 5, 4, 40), (0, 0, 3, 2, 2, 2),
         (40, 1, 5, 2, 1, 1), (3, 20, 1, 131, 2, 3)]
LITTLE = (3, 4, 2, 2, 2, 3)


def rand(*size, dtype=DTYPE):
    return torch.randn(size, dtype=dtype, device=DEVICE, requires_grad=True)


def build_inputs(num_nodes, num_edges, dim, channels, heads, combinations):
    r"""Edges in no order, of which the last node has none, and tensors."""
    index = torch.randint(0, max(num_nodes - 1, 1), (num_edges, ))
    segments = sort_edges(Segments(index.to(DEVICE), num_nodes))
    inputs = [rand(num_edges, channels), rand(num_edges, heads),
              rand(num_edges, dim), rand(combinations, heads * channels)]
    return segments, inputs


def fused(segments, *inputs):
    return operators.fused_combinations(*inputs, segments.index,
                                        segments.order, segments.offsets)


def plain(segments, embedding, attention, direction, weight):
    lin = Linear(*reversed(weight.shape), bias=False).to(weight)
    lin.weight = None
    lin.forward = lambda x: x @ weight.t()
    return sum_combinations(embedding, attention, direction, lin, segments)


def test_plain_operators_do_what_the_formula_says():
    segments, (e, w, u, weight) = build_inputs(*SIZES[0])
    expected = torch.zeros(5, 3, 10, dtype=DTYPE, device=DEVICE)
    for edge, node in enumerate(segments.index.tolist()):
        message = torch.outer(w[edge], e[edge]).flatten()
        expected[node] += torch.outer(u[edge], torch.tanh(weight @ message))
    lin = Linear(12, 10, bias=False).to(DEVICE, DTYPE)
    lin.weight = torch.nn.Parameter(weight.detach())
    for kernels in (False, True):  # there are none in double precision
        out = sum_combinations(e, w, u, lin, segments, kernels)
        assert torch.allclose(out, expected, atol=TOLERANCE)


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_values_and_derivatives(size):
    segments, inputs = build_inputs(*size)
    results = []
    for function in (fused, plain):
        out = function(segments, *inputs)
        weights = torch.linspace(-1, 2, out.numel()).to(out).view_as(out)
        grads = torch.autograd.grad((out.sin() * weights).sum(), inputs,
                                    create_graph=True)
        # Every derivative has a say in the second ones:
        total = sum((grad.sin() * torch.linspace(-1, 1.5, grad.numel()).to(
            grad).view_as(grad)).sum() for grad in grads)
        results.append([out, *grads, *torch.autograd.grad(total, inputs)])
    for value, expected in zip(*results):
        assert value.shape == expected.shape
        assert torch.allclose(value, expected, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.skipif(not operators.INTERPRETED, reason='Not in double')
def test_numerical_derivatives():
    segments, inputs = build_inputs(*LITTLE)
    assert gradcheck(lambda *args: fused(segments, *args), inputs,
                     fast_mode=True)
    assert gradgradcheck(lambda *args: fused(segments, *args), inputs,
                         fast_mode=True)


def test_third_derivatives_are_refused():
    segments, inputs = build_inputs(*LITTLE)
    value = fused(segments, *inputs).sum()
    for _ in range(2):
        value = sum(grad.square().sum() for grad in torch.autograd.grad(
            value, inputs, create_graph=True))
    with pytest.raises(RuntimeError, match='no autograd formula'):
        value.backward()


def test_single_precision():
    segments, inputs = build_inputs(*SIZES[0])
    exact = plain(segments, *inputs)
    inputs = [value.detach().float() for value in inputs]
    out = fused(segments, *inputs)
    assert out.dtype == torch.float
    assert torch.allclose(out.to(DTYPE), exact, atol=1e-5)
    # Each node is summed by one program, in the order of the edges:
    assert torch.equal(fused(segments, *inputs), out)


@pytest.mark.parametrize('precision, expected', [
    ('highest', 'ieee'), ('high', 'tf32'), ('medium', 'tf32')])
def test_tf32_is_for_those_who_ask_for_it(monkeypatch, precision, expected):
    monkeypatch.setattr(torch, 'get_float32_matmul_precision',
                        lambda: precision)
    assert operators._precision() == expected


def test_operators_are_registered_as_they_are():
    segments, inputs = build_inputs(*LITTLE)
    inputs = [value.detach() for value in inputs]
    grad = rand(3, 2, 3).detach()
    for along in ([None] * 4, [*inputs[:3], None], [None] * 3 + inputs[3:]):
        rest = (*inputs, segments.index, segments.order, segments.offsets,
                *along)
        for operator, args in ((operators.node_sums, rest),
                               (operators.edge_gradients, (grad, *rest)),
                               (operators.weight_gradient, (grad, *rest))):
            torch.library.opcheck(operator, args, test_utils=(
                'test_schema', 'test_faketensor'))


def test_what_kernels_are_for():
    e, w, u = (torch.randn(4, size, device=DEVICE) for size in (3, 2, 3))
    assert operators.serve(e, w, u)
    assert not operators.serve(e.double(), w.double(), u.double())
    assert not operators.serve(e.bfloat16(), w.bfloat16(), u)
    assert not operators.serve(e, w, torch.randn(4, 17, device=DEVICE))
    assert not operators.serve(torch.randn(4, 257, device=DEVICE), w, u)
    if not operators.INTERPRETED:
        assert not operators.serve(e.cpu(), w.cpu(), u.cpu())


def build_potential(**kwargs):
    model = SAKE(hidden_channels=5, heads=3, num_rbf=4, **kwargs)
    return Potential(model).to(DEVICE)


def energies_forces_gradients(potential):
    z = torch.tensor([1, 6, 8, 1, 1, 7], device=DEVICE)
    batch = torch.tensor([0, 0, 0, 0, 1, 1], device=DEVICE)
    pos = torch.linspace(-1, 2, 18, device=DEVICE).view(6, 3).sin()
    pos[4:] += 9 * torch.arange(2, device=DEVICE).view(2, 1)
    energy, forces, _ = potential(z, pos, batch)
    loss = energy.square().sum() + forces.square().sum()
    return [energy, forces, *torch.autograd.grad(
        loss, list(potential.parameters()), materialize_grads=True)]


def count_launches(monkeypatch):
    launches = []
    for name in ('node_kernel', 'edge_kernel', 'weight_kernel'):
        monkeypatch.setattr(operators, name, Counted(
            getattr(operators, name), launches, name))
    return launches


class Counted:
    def __init__(self, kernel, launches, name):
        self.kernel, self.launches, self.name = kernel, launches, name

    def __getitem__(self, grid):
        self.launches.append(self.name)
        return self.kernel[grid]


@pytest.mark.parametrize('kwargs', [
    dict(cutoff=None), dict(cutoff=2.5, num_coefficients=7),
    dict(cutoff=None, update_pos=False),
], ids=str)
def test_potentials(kwargs, monkeypatch):
    potential = build_potential(num_layers=2, **kwargs)
    expected = energies_forces_gradients(potential)
    launches = count_launches(monkeypatch)
    for conv in potential.model.stack.convs:
        conv.kernels = True
    # Outside of compiled functions, nothing has changed:
    for value, other in zip(energies_forces_gradients(potential), expected):
        assert torch.equal(value, other)
    assert not launches
    monkeypatch.setattr(SAKEConv, '_uses_kernels', lambda self: self.kernels)
    values = energies_forces_gradients(potential)
    assert {*launches} == {'node_kernel', 'edge_kernel', 'weight_kernel'}
    for value, other in zip(values, expected):
        assert torch.allclose(value, other, rtol=1e-4, atol=1e-5)


class Wrong:
    def __getitem__(self, grid):
        return lambda *args, **_: args[10].fill_(0.1)


def test_compiled_potential(monkeypatch):
    # All that a compiler does up to code for a processor, which takes minutes:
    monkeypatch.setattr(
        'torch_sake.ops.compilation.compile_function',
        functools.partial(torch.compile, dynamic=True, fullgraph=True,
                          backend='aot_eager'))
    potential = build_potential(num_layers=1, cutoff=None)
    expected = energies_forces_gradients(potential)
    potential.compile(kernels=True)
    with monkeypatch.context() as patch:
        patch.setattr(operators, 'node_kernel', Wrong())
        with pytest.warns(UserWarning, match='differs by'):
            values = energies_forces_gradients(potential)
    assert not potential.compiled
    for value, other in zip(values, expected):
        assert torch.equal(value, other)

    launches = count_launches(monkeypatch)
    potential.compile(kernels=True)
    values = energies_forces_gradients(potential)
    assert potential.compiled
    assert {*launches} == {'node_kernel', 'edge_kernel', 'weight_kernel'}
    for value, other in zip(values, expected):
        assert torch.allclose(value, other, rtol=1e-4, atol=1e-5)


def test_kernels_are_for_sake_with_triton(monkeypatch):
    with pytest.raises(ValueError, match="'kernels' are there for SAKE only"):
        Potential(VectorSAKE()).compile(kernels=True)
    potential = build_potential(num_layers=1)
    monkeypatch.setattr('torch_sake.ops.compilation.HAS_TRITON', False)
    with pytest.raises(ImportError, match='pip install triton'):
        potential.compile(kernels=True)
    potential.compile()
    assert not potential.model.stack.convs[0].kernels
