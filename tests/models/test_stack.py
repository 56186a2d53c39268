import pytest
import torch

from torch_sake.models.stack import SAKEStack


@pytest.mark.parametrize('conv', ['sake', 'vector'])
@pytest.mark.parametrize('update_pos', [True, False, [False, True, False]])
def test_layers_one_after_the_other(conv, update_pos):
    """Each layer computes the geometry for itself here."""
    stack = SAKEStack(8, 3, conv, update_pos=update_pos, num_rbf=5,
                      cutoff=2.0).double()
    x, pos = torch.randn(6, 8).double(), torch.randn(6, 3).double()
    pairs = torch.cartesian_prod(torch.arange(6), torch.arange(6)).t()
    edge_index = pairs[:, pairs[0] != pairs[1]]
    shift = 0.1 * torch.randn(30, 3).double()
    vel = torch.randn(6, 3).double()
    outputs = stack(x, pos, edge_index, vel, edge_shift=shift)

    vec = pos[edge_index[0]] - pos[edge_index[1]] + shift
    weight = stack.convs[0].envelope((vec.square().sum(1) + 1e-5).sqrt())
    vec = []
    for layer in stack.convs:
        x, pos, vel, *vec = layer(x, pos, edge_index, vel, None, shift, weight,
                                  *vec)
    for value, expected in zip(outputs, (x, pos, vel)):
        assert torch.allclose(value, expected, atol=1e-12, rtol=0)
