"""Each assertion has to catch a model that breaks its rule."""

import pytest
import torch

from torch_sake import Potential
from torch_sake.testing import (assert_batch_independent, assert_equivariant,
                                assert_equivariant_forces,
                                assert_forces_match_energy, random_orthogonal)

Z = torch.tensor([6, 1, 1, 8])
POS = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).double()


def pair_energy(z, pos, batch):
    distance = ((pos[:, None] - pos).square().sum(2) + 1).sqrt()
    energy = (distance * (batch[:, None] == batch)).sum(1)
    out = pos.new_zeros(int(batch.max()) + 1)
    return out.index_add(0, batch, energy * z)


class BrokenForces(Potential):
    def forward(self, z, pos, batch=None):
        energy, forces, _ = super().forward(z, pos, batch)
        return energy, 1.01 * forces, None


def chiral(z, pos, batch):
    return torch.linalg.det(pos[1:] - pos[0]).view(1)


def smooth(z, pos, batch):
    return (pos[:, None] - pos).square().sum().view(1)


@pytest.mark.parametrize('num_dimensions', range(1, 8))
@pytest.mark.parametrize('reflection', [False, True])
def test_random_orthogonal(num_dimensions, reflection):
    q = random_orthogonal(num_dimensions, reflection=reflection)
    assert torch.allclose(q @ q.t(), torch.eye(num_dimensions).double())
    assert torch.linalg.det(q).sign() == (-1 if reflection else 1)


def test_equivariance():
    for function in [
            lambda pos, vel: (pos.sum(), None, None),
            lambda pos, vel: (None, pos - pos.mean(0), None),
            lambda pos, vel: (None, None, pos),
            lambda pos, vel: (torch.linalg.det(pos[1:] - pos[0]), None, None),
            lambda pos, vel: (pos.sum() * torch.nan, None, None),
    ]:
        with pytest.raises(AssertionError):
            assert_equivariant(function, POS)
    assert_equivariant(lambda pos, vel: (vel.norm(), pos + vel, 2 * vel), POS,
                       POS.flip(0))


def test_forces():
    assert_equivariant_forces(Potential(smooth), Z, POS)
    with pytest.raises(AssertionError, match='reflection'):
        assert_equivariant_forces(Potential(chiral), Z, POS)
    with pytest.raises(AssertionError, match='permutation'):
        assert_equivariant_forces(Potential(
            lambda z, pos, batch: (pos[0] - pos[1]).norm().view(1)), Z, POS)
    assert_forces_match_energy(Potential(smooth), Z, POS)
    with pytest.raises(AssertionError, match='differences of the energy'):
        assert_forces_match_energy(BrokenForces(smooth), Z, POS)


def test_batches():
    graphs = [(Z, POS), (Z[:3], POS[1:])]
    assert_batch_independent(Potential(pair_energy), graphs)
    with pytest.raises(AssertionError, match="'energy' of a batch"):
        assert_batch_independent(Potential(
            lambda z, pos, batch: pair_energy(z, pos, batch) * z.numel()),
                                 graphs)
