import copy

import pytest
import torch

from torch_sake.optim.muon import Muon, orthogonalize

SHAPES = [(8, 8), (8, 8), (16, 4), (4, 16), (1, 5)]


def matrices():
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


@pytest.mark.parametrize('shape', SHAPES)
def test_orthogonalize(shape):
    matrix = torch.randn(3, *shape)
    result = orthogonalize(matrix)
    # Some singular values are as small at first that five iterations are few:
    values = torch.linalg.svdvals(matrix / matrix.norm(dim=(1, 2),
                                                       keepdim=True))
    assert torch.linalg.svdvals(result)[values > 0.02].min() > 0.5
    assert torch.linalg.svdvals(result).max() < 1.3
    # The singular vectors stay: the product with the matrix is symmetric.
    product = result.mT @ matrix
    assert torch.allclose(product, product.mT, atol=1e-4)
    for one, other in zip(result, matrix):  # all at once, or one by one
        assert torch.allclose(orthogonalize(other.unsqueeze(0)), one,
                              atol=1e-5)


def test_a_matrix_of_zeros_stays_where_it_is():
    assert torch.equal(orthogonalize(torch.zeros(1, 3, 4)),
                       torch.zeros(1, 3, 4))


def test_small_matrices_are_as_good_as_large_ones():
    matrix = torch.randn(1, 4, 6)
    assert torch.allclose(orthogonalize(1e-5 * matrix), orthogonalize(matrix),
                          atol=1e-5)


@pytest.mark.skipif(not hasattr(torch.optim, 'Muon'),
                    reason='This torch has no Muon')
def test_steps_are_those_of_torch(monkeypatch):
    """In single precision, which torch's own has not; and the one goes on from
    where the other was."""
    monkeypatch.setattr(torch.Tensor, 'bfloat16', torch.Tensor.clone)
    ours = matrices()
    theirs = copy.deepcopy(ours)
    muon = Muon(ours, 0.1)
    reference = torch.optim.Muon(theirs, 0.1, weight_decay=0.0,
                                 adjust_lr_fn='match_rms_adamw')
    for step in range(6):
        if step == 3:
            ours = copy.deepcopy(theirs)
            muon = Muon(ours, 0.2)
            muon.load_state_dict(copy.deepcopy(reference.state_dict()))
        before = copy.deepcopy(theirs)
        for one, other in zip(ours, theirs):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
            with torch.no_grad():
                one.copy_(other)
        muon.step()
        reference.step()
        for one, other, start in zip(ours, theirs, before):
            moved = (other - start).norm()
            assert moved > 0.01
            assert (one - other).norm() < 1e-4 * moved


def test_parameters_without_gradients():
    first, second = matrices()[:2]
    before = second.detach().clone()
    muon = Muon([first, second], 0.1)

    def closure():
        muon.zero_grad()
        loss = first.square().sum()
        loss.backward()
        return loss

    loss = muon.step(closure)
    assert muon.step(closure) < loss
    assert torch.equal(second, before)


def test_vectors_are_refused():
    with pytest.raises(ValueError, match="'params' must be matrices"):
        Muon([torch.nn.Parameter(torch.randn(3))], 0.1)
