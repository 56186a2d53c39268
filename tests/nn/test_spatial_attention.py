"""The spatial attention against its formula, edge by edge."""

import torch

from torch_sake import SAKEConv
from torch_sake.ops.segments import Segments, sort_edges


def test_plain_operators_do_what_the_formula_says():
    index = torch.randint(0, 4, (40, ))  # the last node has no edges
    embedding, attention, direction, weight = (
        torch.randn(size).double()
        for size in ((40, 6), (40, 2), (40, 3), (10, 12)))
    expected = torch.zeros(5, 3, 10).double()
    for edge, node in enumerate(index.tolist()):
        message = torch.outer(attention[edge], embedding[edge]).flatten()
        expected[node] += torch.outer(direction[edge],
                                      torch.tanh(weight @ message))
    conv = SAKEConv(6, 6, heads=2, num_coefficients=10).double()
    conv.lin_coefficients.weight = torch.nn.Parameter(weight)
    for segments in (Segments(index, 5), sort_edges(Segments(index, 5))):
        out = conv.combine(embedding, attention, direction, segments)
        assert torch.allclose(out, expected, atol=1e-9)
