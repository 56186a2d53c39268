r"""The quick ways of computing against the plain ones."""

import io
import platform
from functools import partial

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import torch_sake.ops.linear
import torch_sake.ops.segments
from torch_sake.nn import SAKEConv, VectorSAKEConv
from torch_sake.ops import onednn
from torch_sake.ops.linear import Linear, constant_weights
from torch_sake.ops.scatter import (
    project_edges,
    sum_edges,
    sum_gated_vectors,
    sum_outer_products,
)
from torch_sake.ops.segments import Segments, group_edges
from torch_sake.ops.tanh import tanh

# Numbers of nodes, edges, dimensions and channels:
SIZES = [(5, 12, 3, 4), (6, 9, 5, 1), (3, 2, 1, 2), (4, 0, 2, 3)]


@pytest.fixture(autouse=True)
def few_edges_are_enough(monkeypatch):
    monkeypatch.setattr(torch_sake.ops.segments, 'MIN_EDGES', 0)


def build_edges(num_nodes, num_edges):
    r"""Edges in no order, with and without the quick ways."""
    edge_index = torch.randint(0, num_nodes, (2, num_edges))
    quick = [group_edges(index, num_nodes) for index in edge_index]
    plain = [Segments(index, num_nodes) for index in edge_index]
    assert all(segments.order is not None for segments in quick)
    return quick, plain


def rand(*size):
    return torch.randn(size, dtype=torch.double, requires_grad=True)


def build_calls(num_nodes, num_edges, dim, channels):
    r"""Each sum as a function of segments and tensors, and these tensors."""
    vec, vectors = rand(num_nodes, dim, channels), rand(num_edges, dim)
    values = rand(num_edges, channels)
    return [
        (lambda segments, v: sum_edges(v, segments[1]), (values, )),
        (lambda segments, v: sum_edges(v, segments[0]),
         (rand(num_edges, dim, channels), )),
        (lambda segments, v, u: sum_outer_products(v, u, segments[1]),
         (values, vectors)),
        (lambda segments, v, u: project_edges(v, u, segments[0]),
         (vec, vectors)),
        (lambda segments, g, v: sum_gated_vectors(g, v, *segments),
         (values, vec)),
    ]


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_sums_over_edges(size):
    quick, plain = build_edges(*size[:2])
    for function, inputs in build_calls(*size):
        results = []
        for segments in (quick, plain):
            out = function(segments, *inputs)
            weights = torch.linspace(-1, 2, out.numel(), dtype=torch.double)
            grads = torch.autograd.grad(
                (out.flatten() * weights).sum(), inputs, create_graph=True)
            total = sum(grad.square().sum() for grad in grads)
            if total.requires_grad:
                grads += torch.autograd.grad(total, inputs, allow_unused=True)
            results.append([out, *grads])
        for value, expected in zip(*results):
            if value is None:
                assert expected is None or not expected.any()
            else:
                assert value.shape == expected.shape
                assert torch.allclose(value, expected, atol=1e-12)


def test_other_types_are_summed_plainly():
    quick, plain = build_edges(*SIZES[0][:2])
    for function, inputs in build_calls(*SIZES[0]):
        # Mixed ones, too, which automatic mixed precision makes.
        for types in ((torch.bfloat16, torch.bfloat16),
                      (torch.bfloat16, torch.float),
                      (torch.float, torch.bfloat16)):
            values = [value.detach().to(dtype).requires_grad_()
                      for value, dtype in zip(inputs, types)]
            out, expected = (function(segments, *values)
                             for segments in (quick, plain))
            assert torch.equal(out, expected) and out.dtype == expected.dtype
            torch.autograd.grad(out.sum(), values)


@pytest.mark.parametrize('size', SIZES[:2], ids=str)
def test_derivatives_of_sums(size):
    quick, _ = build_edges(*size[:2])
    for function, inputs in build_calls(*size):
        assert gradcheck(partial(function, quick), inputs)
        assert gradgradcheck(partial(function, quick), inputs)


@pytest.mark.parametrize('conv, kwargs', [
    (SAKEConv, dict(cutoff=2.0)), (SAKEConv, dict(num_coefficients=3)),
    (VectorSAKEConv, dict(vec_input=True, vec_output=True, cutoff=2.0)),
], ids=str)
def test_layers(conv, kwargs, monkeypatch):
    conv = conv(4, 4, num_rbf=5, **kwargs).double()
    edge_index = torch.randint(0, 7, (2, 20))
    inputs = [rand(7, 4), rand(7, 3), rand(7, 3)]
    if conv.__class__ is VectorSAKEConv:
        inputs.append(rand(7, 3, 4))
    results = []
    for threshold in (0, 100):
        monkeypatch.setattr(torch_sake.ops.segments, 'MIN_EDGES', threshold)
        x, pos, vel, *vec = inputs
        out = conv(x, pos, edge_index, vel, **dict(zip(['vec'], vec)))
        grads = torch.autograd.grad(
            sum(value.sin().sum() for value in out), inputs,
            create_graph=True)
        second = torch.autograd.grad(
            sum(grad.square().sum() for grad in grads),
            [*inputs, *conv.parameters()], materialize_grads=True)
        results.append([*out, *grads, *second])
    for value, expected in zip(*results):
        assert torch.allclose(value, expected, rtol=1e-9, atol=1e-9)


def test_few_edges_are_summed_plainly(monkeypatch):
    monkeypatch.setattr(torch_sake.ops.segments, 'MIN_EDGES', 10)
    assert group_edges(torch.zeros(9, dtype=torch.long), 3).order is None
    assert group_edges(torch.zeros(10, dtype=torch.long), 3).order is not None


def test_transforms_of_functions_see_plain_operators():
    vectors = torch.randn(4, 3)

    def total(values):
        segments = group_edges(torch.tensor([1, 0, 1, 2]), 3)
        out = sum_outer_products(tanh(values), vectors, segments)
        return (out**3).sum()

    values = torch.randn(4, 2)
    hessian = torch.func.hessian(total)(values)
    expected = torch.autograd.functional.hessian(total, values)
    assert torch.allclose(hessian, expected, atol=1e-4)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(values, values)
        tangent = torch.autograd.forward_ad.unpack_dual(total(dual)).tangent
    gradient, = torch.autograd.functional.vjp(total, values)[1:]
    assert torch.allclose(tangent, (gradient * values).sum(), rtol=1e-4)


@pytest.mark.parametrize('shape, out_features, bias', [
    ((50, 7), 9, True), ((50, 9), 4, False), ((5, 3, 7), 4, True),
    ((1, 7), 1, True),
], ids=str)
def test_linear_by_onednn(shape, out_features, bias, monkeypatch,
                          fast_onednn):
    linear = Linear(shape[-1], out_features, bias)
    x = torch.randn(shape)
    calls = []
    onednn_linear = torch_sake.ops.linear.onednn_linear
    monkeypatch.setattr(torch_sake.ops.linear, 'onednn_linear',
                        lambda *args: calls.append(1) or onednn_linear(*args))
    results = []
    for threshold, dtype in ((0, torch.float), (1 << 40, torch.float),
                             (0, torch.double)):
        monkeypatch.setattr(torch_sake.ops.linear, 'MIN_MULTIPLICATIONS',
                            threshold)
        linear.to(dtype)
        inputs = [x.to(dtype).requires_grad_(), *linear.parameters()]
        calls.clear()
        out = linear(inputs[0])
        grads = torch.autograd.grad(out.sin().sum(), inputs,
                                    create_graph=True)
        grads += torch.autograd.grad(
            sum(grad.square().sum() for grad in grads), inputs)
        assert bool(calls) == (threshold == 0 and dtype == torch.float)
        results.append([out, *grads])
    for value, plain, exact in zip(*results):
        assert value.shape == exact.shape
        # As exact as torch's own:
        error, usual = ((other.double() - exact).abs().max()
                        for other in (value, plain))
        assert error <= 4 * usual + 1e-6 * exact.abs().max()


@pytest.mark.parametrize('vendor, mkl, mkldnn, expected', [
    ('AuthenticAMD', True, True, True), ('GenuineIntel', True, True, False),
    ('', True, True, False), ('Apple', True, True, False),
    ('AuthenticAMD', False, True, False), ('AuthenticAMD', True, False, False),
])
def test_onednn_by_processor(vendor, mkl, mkldnn, expected, monkeypatch):
    monkeypatch.setattr(onednn, 'cpu_vendor', lambda: vendor)
    monkeypatch.setattr(torch.backends.mkl, 'is_available', lambda: mkl)
    monkeypatch.setattr(torch.backends.mkldnn, 'is_available', lambda: mkldnn)
    calls = []
    monkeypatch.setattr(
        torch_sake.ops.linear, 'onednn_linear',
        lambda x, weight, bias: calls.append(1) or x @ weight.t())
    monkeypatch.setattr(torch_sake.ops.linear, 'MIN_MULTIPLICATIONS', 0)
    Linear(4, 3, bias=False)(torch.randn(5, 4))
    assert onednn.is_faster() == bool(calls) == expected


CPUINFO = """processor\t: 0
vendor_id\t: {}
model name\t: a processor

processor\t: 1
"""


@pytest.mark.parametrize('cpuinfo, processor, expected', [
    (CPUINFO.format('AuthenticAMD'), '', 'AuthenticAMD'),
    (CPUINFO.format('GenuineIntel'), 'x86_64', 'GenuineIntel'),
    ('processor\t: 0\nBogoMIPS\t: 100.00\n', 'aarch64', ''),
    ('', '', ''), (None, 'i386', ''), (None, '', ''),
    (None, 'AMD64 Family 25 Model 33 Stepping 0, AuthenticAMD',
     'AuthenticAMD'),
    (None, 'Intel64 Family 6 Model 85 Stepping 7, GenuineIntel',
     'GenuineIntel'),
])
def test_vendor_of_processor(cpuinfo, processor, expected, monkeypatch):
    def open_cpuinfo(path):
        assert path == '/proc/cpuinfo'
        if cpuinfo is None:
            raise FileNotFoundError(path)
        return io.StringIO(cpuinfo)

    monkeypatch.setattr(onednn, 'open', open_cpuinfo, raising=False)
    monkeypatch.setattr(platform, 'processor', lambda: processor)
    assert onednn.cpu_vendor.__wrapped__() == expected


def test_constant_weights():
    linear, x = Linear(3, 2), torch.randn(4, 3, requires_grad=True)
    expected = linear(x)
    with constant_weights():
        with constant_weights(False):
            assert linear(x.detach()).requires_grad
        out = linear(x)
        assert not linear(x.detach()).requires_grad
    assert linear(x.detach()).requires_grad
    assert torch.equal(out, expected)
    assert torch.equal(*(torch.autograd.grad(value.sum(), x)[0]
                         for value in (out, expected)))


def test_tanh():
    x = torch.linspace(-20, 20, 100_001)
    assert (tanh(x) - x.double().tanh()).abs().max() < 3e-7
    assert torch.equal(tanh(x.double()), x.double().tanh())
    inputs = [torch.linspace(-3, 3, 50).to(dtype).requires_grad_()
              for dtype in (torch.float, torch.double)]
    for order in range(1, 4):
        value, exact = (_derivative(tanh, x, order) for x in inputs)
        assert torch.allclose(value.double(), exact, rtol=1e-5, atol=1e-5)


def _derivative(function, x, order):
    y = function(x)
    for _ in range(order):
        y, = torch.autograd.grad(y.sum(), x, create_graph=True)
    return y.detach()
