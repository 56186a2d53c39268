import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from torch_sake import SAKE, Potential, VectorSAKE, neighbor_list
from torch_sake.ops.inductor import NarrowSums

aten, ours = torch.ops.aten, torch.ops.torch_sake


class Recorder(NarrowSums):
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


def sums(x, index, narrow, wide):
    return [values.new_zeros(x.size(0), *values.shape[1:]).index_add(
        0, index, values).abs() for values in (narrow, narrow[:, 0], wide)]


def whole_numbers(*sizes):
    """Of which sums are exact, in any order, on any processor."""
    return torch.randint(-99, 100, sizes).float()


@pytest.mark.compile
@pytest.mark.slow
def test_narrow_sums():
    compiled, targets = compile_and_record(sums)
    for num_rows in (600, 700):
        inputs = [whole_numbers(num_rows, 1),
                  torch.randint(0, num_rows, (50, )), whole_numbers(50, 3),
                  whole_numbers(50, 64)]
        for value, expected in zip(compiled(*inputs), sums(*inputs)):
            assert torch.equal(value, expected)
    # Compiled once, with the wide sum as before:
    assert targets.count(ours.index_add.default) == 2
    assert targets.count(aten.index_put.default) == 1


def test_other_devices_are_left_alone():
    for device, expected in (('meta', 0), ('cpu', 2)):
        inputs = [value.to(device) for value in (
            torch.ones(600, 1), torch.zeros(50, dtype=torch.long),
            torch.ones(50, 3), torch.ones(50, 64))]
        graph = make_fx(put_sums)(*inputs).graph
        NarrowSums()(graph)
        targets = [node.target for node in graph.nodes]
        assert targets.count(ours.index_add.default) == expected
        assert targets.count(aten.index_put.default) == 3 - expected


def put_sums(x, index, narrow, wide):
    """As the compiler writes them."""
    return [aten.index_put(values.new_zeros(x.size(0), *values.shape[1:]),
                           [index], values, True)
            for values in (narrow, narrow[:, 0], wide)]


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
