import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torch_sake import SAKE, Potential, VectorSAKE, neighbor_list
from torch_sake.ops.inductor import OperatorsForCPU

aten, ours = torch.ops.aten, torch.ops.torch_sake


class Recorder(OperatorsForCPU):
    def __init__(self):
        self.targets = []

    def __call__(self, graph):
        super().__call__(graph)
        graph.lint()
        self.targets += [node.target for node in graph.nodes]

    def uuid(self):
        return None  # nothing from a cache


def compile_and_record(function):
    recorder = Recorder()
    return torch.compile(
        function, dynamic=True, fullgraph=True,
        options={'post_grad_custom_post_pass': recorder}), recorder.targets


def products_and_sums(x, weight, bias, matrix, index, narrow, wide):
    products = (x @ weight, torch.addmm(bias, x, weight),
                torch.addmm(matrix, x, weight), x[:2] @ weight)
    sums = [values.new_zeros(x.size(0), *values.shape[1:]).index_add(
        0, index, values) for values in (narrow, narrow[:, 0], wide)]
    return [value.abs() for value in (*products, *sums)]


def whole_numbers(*sizes):
    """Of which sums of products are exact, in any order, on any processor."""
    return torch.randint(-99, 100, sizes).float()


@pytest.mark.compile
@pytest.mark.slow
def test_operators_for_cpu(fast_onednn):
    compiled, targets = compile_and_record(products_and_sums)
    for num_rows in (600, 700):
        index = torch.randint(0, num_rows, (50, ))
        inputs = [whole_numbers(num_rows, 64), whole_numbers(64, 64),
                  whole_numbers(64), whole_numbers(num_rows, 64), index,
                  whole_numbers(50, 3), whole_numbers(50, 64)]
        for value, expected in zip(compiled(*inputs),
                                   products_and_sums(*inputs)):
            assert torch.equal(value, expected)
    # Compiled once, with the products of few rows and the wide sum as before:
    count = targets.count
    assert count(ours.linear.default) == 3 and count(aten.mm.default) == 1
    assert count(ours.index_add.default) == 2
    assert count(aten.index_put.default) == 1
    assert count(aten.addmm.default) == 0


@pytest.mark.compile
@pytest.mark.slow
def test_products_of_transposed_matrices(fast_onednn):

    def products(x, y):
        pairs = (x.t(), y), (x[:, 1:65], y[:64]), (x, x.t())
        return [(left @ right).abs() for left, right in pairs]

    compiled, targets = compile_and_record(products)
    for num_rows in (600, 700):
        inputs = whole_numbers(num_rows, 96), whole_numbers(num_rows, 64)
        for value, expected in zip(compiled(*inputs), products(*inputs)):
            assert torch.equal(value, expected)
    assert targets.count(ours.linear.default) == 3
    assert targets.count(ours.in_rows.default) == 2
    with torch.profiler.profile() as profile:
        compiled(*inputs)
    # oneDNN is not given anything that it has to copy:
    names = {event.key for event in profile.key_averages()}
    assert 'torch_sake::linear' in names and 'aten::copy_' not in names


def weighted_sums(index, wide, weights, other, node, last=torch.sin):
    sums = [wide.new_full((7, wide.size(1)), start).index_add(0, index, values)
            for start, values in ((0.0, wide * weights[:, :1]),
                                  (0.0, weights[:, 1:] * wide),
                                  (0.0, wide * weights[:, :1] +
                                   weights[:, 1:] * other),
                                  (0.0, wide * other),  # as they were
                                  (0.0, wide * weights[:, :1] + other),
                                  (0.0, wide * weights[:1, :1]),
                                  (0.0, wide * weights[:, :1] +
                                   weights[:1, 1:] * other[:1]),
                                  (1.0, wide * weights[:, :1]))]
    # What nodes and edges have:
    once = wide * node.exp().index_select(0, index) * weights[:, :1].exp()
    return [last(value) for value in (*sums, once)]


def bounds_of_weighted_sums(index, *inputs):
    """What rounding can change, in any order of summation: r roundings of
    relative size u change a sum by r u / (1 - r u) sum_k |v_k| at most, and a
    sine no more than its argument."""
    sizes = weighted_sums(index, *(x.double().abs() for x in inputs),
                          last=torch.abs)
    # A node adds up to two products for each edge to what it starts with:
    terms = 2 * torch.bincount(index, minlength=7).view(7, 1) + 1
    # Each term passes fewer sums than there are terms. A product is right to
    # one rounding, an exponential to an ulp, which is two, a sine to four
    # ulps.
    roundings = [terms + 8] * (len(sizes) - 1) + [2 + 2 * 2 + 8]
    unit = torch.finfo(torch.float).eps / 2
    return [count * unit / (1 - count * unit) * size
            for count, size in zip(roundings, sizes)]


@pytest.mark.parametrize('sort', [False, True])
@pytest.mark.compile
@pytest.mark.slow
def test_weighted_sums(sort):
    compiled, targets = compile_and_record(weighted_sums)
    for num_edges in (40, 50, 0):  # The last is a version of its own.
        index = torch.randint(0, 6, (num_edges, ))  # The last node has none.
        index = index.sort().values if sort else index
        inputs = [index, torch.randn(num_edges, 128),
                  torch.randn(num_edges, 2), torch.randn(num_edges, 128),
                  torch.randn(7, 128)]
        exact = weighted_sums(index, *(x.double() for x in inputs[1:]))
        for function in (compiled, weighted_sums):
            for value, expected, bound in zip(
                    function(*inputs), exact,
                    bounds_of_weighted_sums(*inputs)):
                assert ((value - expected).abs() <= bound).all()
        if num_edges > 0:
            count = targets.count
            assert count(ours.sort_edges.default) == 1
            assert count(ours.sum_edges.default) == 4
            assert count(aten.index_put.default) == 5
            assert count(ours.in_memory.default) >= 2


@pytest.mark.compile
@pytest.mark.slow
def test_hyperbolic_tangent():
    compiled, targets = compile_and_record(lambda x: x.tanh())
    x = torch.cat([torch.linspace(-12, 12, 100001), torch.logspace(-30, 0, 31),
                   torch.tensor([0.0, -0.0, 1e30, -torch.inf, torch.inf])])
    expected = x.double().tanh()
    error = (compiled(x) - expected).abs()
    assert (error <= 5e-7 * expected.abs()).all()
    assert aten.tanh.default not in targets
    assert compiled(torch.tensor(torch.nan)).isnan()
    assert torch.allclose(compiled(x.double()), expected, 1e-14, 0.0)


def test_other_devices_are_left_alone():
    inputs = [value.to('meta') for value in (
        torch.zeros(40, dtype=torch.long), torch.ones(40, 128),
        torch.ones(40, 2), torch.ones(40, 128), torch.ones(7, 128))]
    graph = make_fx(lambda *args: [
        value.tanh() for value in weighted_sums(*args)])(*inputs).graph
    targets = [node.target for node in graph.nodes]
    OperatorsForCPU()(graph)
    assert [node.target for node in graph.nodes] == targets


@pytest.mark.skipif(torch.__version__ < (2, 12),
                    reason='This compiler makes wrong derivatives')
@pytest.mark.compile
@pytest.mark.slow
def test_derivatives_of_models_that_are_compiled_as_they_are(fresh_compiler):
    r"""Left alone, torch 2.13 makes wrong ones of six layers that move."""
    torch.manual_seed(0)
    model = SAKE(8, num_layers=6, num_rbf=4)
    pos, z = 1.5 * torch.randn(9, 3), torch.randint(1, 9, (9, ))
    batch = torch.tensor([0] * 5 + [1] * 4)
    edge_index, _ = neighbor_list(pos, 5.0, batch)
    parameters = [value for value in model.parameters() if value.numel() > 1]
    gradients = []
    for function in (model, torch.compile(model)):
        inputs = pos.clone().requires_grad_()
        energy = function(z, inputs, batch, batch_size=2,
                          edge_index=edge_index)
        gradients.append(torch.autograd.grad(
            energy.sum(), [inputs, *parameters], allow_unused=True,
            materialize_grads=True))
    for value, expected in zip(*gradients):
        error = (value - expected).abs().max()
        assert error <= 1e-4 * expected.abs().max() + 1e-6


def test_operators_of_edges_and_nodes():
    x = torch.randn(4, 3, dtype=torch.double, requires_grad=True)
    values = torch.randn(5, 3, dtype=torch.double, requires_grad=True)
    index = torch.tensor([0, 1, 1, 3, 0])
    gather = lambda x: ours.gather(x, index)  # noqa: E731
    spread = lambda values: ours.spread(values, index, 4)  # noqa: E731
    assert torch.equal(gather(x), x[index])
    assert torch.equal(spread(values), torch.zeros_like(x).index_add(
        0, index, values))
    for function, argument in ((gather, x), (spread, values)):
        assert torch.autograd.gradcheck(function, argument)
        assert torch.autograd.gradgradcheck(function, argument)


@pytest.mark.compile
@pytest.mark.slow
def test_compiled_potential(fresh_compiler):
    r"""It is computed as it is, and so are its forces."""
    torch.manual_seed(0)
    potential = Potential(VectorSAKE(8, num_layers=1, num_rbf=4))
    z, pos = torch.tensor([8, 1, 1]), torch.randn(3, 3)
    for value, expected in zip(torch.compile(potential)(z, pos)[:2],
                               potential(z, pos)):
        assert torch.equal(value, expected)
