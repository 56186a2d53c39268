import pytest
import torch

from torch_sake.inductor import OperatorsForCPU


class Recorder(OperatorsForCPU):
    def __init__(self):
        self.targets = []

    def __call__(self, graph):
        super().__call__(graph)
        graph.lint()
        self.targets += [node.target for node in graph.nodes]

    def uuid(self):
        return None  # nothing from a cache


def function(x, weight, bias, matrix, index, narrow, wide):
    products = (x @ weight, torch.addmm(bias, x, weight),
                torch.addmm(matrix, x, weight), x[:2] @ weight)
    sums = [values.new_zeros(x.size(0), *values.shape[1:]).index_add(
        0, index, values) for values in (narrow, narrow[:, 0], wide)]
    return [value.sin() for value in (*products, *sums)]


def test_operators_for_cpu():
    if not torch.backends.mkldnn.is_available():
        pytest.skip('This build of torch has no oneDNN')
    recorder = Recorder()
    compiled = torch.compile(
        function, dynamic=True, fullgraph=True,
        options={'post_grad_custom_post_pass': recorder})
    for num_rows in (600, 700):
        index = torch.randint(0, num_rows, (50, ))
        inputs = [torch.randn(num_rows, 64), torch.randn(64, 64),
                  torch.randn(64), torch.randn(num_rows, 64), index,
                  torch.randn(50, 3), torch.randn(50, 64)]
        for value, expected in zip(compiled(*inputs), function(*inputs)):
            assert torch.allclose(value, expected, atol=1e-4)
    ours, aten = torch.ops.torch_sake, torch.ops.aten
    count = recorder.targets.count
    # Compiled once, with the products of few rows and the wide sum as before:
    assert count(ours.linear.default) == 3 and count(aten.mm.default) == 1
    assert count(ours.index_add.default) == 2
    assert count(aten.index_put.default) == 1
    assert count(aten.addmm.default) == 0
