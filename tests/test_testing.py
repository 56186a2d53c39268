"""Each assertion has to catch a model that breaks its rule."""

import math

import pytest
import torch

from torch_sake import Potential, RadiusInteractionGraph
from torch_sake.testing import (
    assert_batch_independent,
    assert_equivariant,
    assert_equivariant_forces,
    assert_extensive,
    assert_forces_match_energy,
    assert_smooth_at_cutoff,
    assert_stress_matches_energy,
    random_orthogonal,
)

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
            lambda pos, vel: (None, None, None),
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


class PairModel(torch.nn.Module):
    """A sum over pairs, periodic by its interaction graph."""
    def __init__(self, function, readout='sum'):
        super().__init__()
        self.interaction_graph = RadiusInteractionGraph(CUTOFF)
        self.function = function
        self.readout = readout

    def forward(self, z, pos, batch):
        edge_index, dist = self.interaction_graph(pos, batch)
        pair = self.function(dist) * z[edge_index].prod(dim=0)
        size = int(batch.max()) + 1
        energy = pos.new_zeros(z.numel()).index_add(0, edge_index[1], pair)
        if self.readout == 'max':
            return torch.stack([energy[batch == graph].max()
                                for graph in range(size)])
        energy = pos.new_zeros(size).index_add(0, batch, energy)
        return energy if self.readout == 'sum' else (
            energy / batch.bincount(minlength=size))


class Changed(Potential):
    """A potential whose outputs are changed afterwards."""
    def __init__(self, model, change):
        super().__init__(model)
        self.change = change

    def forward(self, z, pos, batch=None, cell=None, pbc=None, **kwargs):
        outputs = super().forward(z, pos, batch, cell, pbc, **kwargs)
        return self.change(pos, cell, *outputs)


CUTOFF = 3.0
CELL = torch.tensor([[4.0, 0.1, 0.3], [-0.4, 4.5, 0.2], [0.5, 0.3, 3.9]],
                    dtype=torch.double)
PBC = torch.tensor([True, False, True])
CRYSTAL = 2 * POS


def envelope(dist, power=3):
    t = (dist / CUTOFF).clamp(max=1.0)
    return torch.exp(-dist) * (1 - t)**power


def cosine(dist):
    return torch.exp(-dist) * (torch.cos(math.pi * dist / CUTOFF) + 1)


def test_cells():
    potential = Potential(PairModel(envelope))
    for pbc in (None, PBC):
        assert_equivariant_forces(potential, Z, CRYSTAL, None, CELL, pbc)
        assert_forces_match_energy(potential, Z, CRYSTAL, None, CELL, pbc)
        assert_stress_matches_energy(potential, Z, CRYSTAL, CELL, pbc)
    crystals = [(Z, CRYSTAL, CELL), (Z[:3], CRYSTAL[1:], 1.1 * CELL, PBC)]
    assert_batch_independent(potential, crystals)
    # Among molecules, whose stress is zero, and in a slab without a volume:
    graphs = crystals + [(Z, POS), (Z[1:], POS[1:], None, None)]
    assert_batch_independent(potential, graphs)
    slab, open_pbc = CELL.clone(), torch.tensor([True, True, False])
    slab[2] = 0
    assert_equivariant_forces(potential, Z, CRYSTAL, None, slab, open_pbc)
    assert_forces_match_energy(potential, Z, CRYSTAL, None, slab, open_pbc)
    assert_batch_independent(potential,
                             [(Z, CRYSTAL, slab, open_pbc), crystals[0]])
    batch = torch.tensor([0] * 4 + [1] * 4 + [2] * 4)
    z, pos = Z.repeat(3), torch.cat([CRYSTAL, CRYSTAL + 0.1, POS])
    cell = torch.stack([CELL, CELL @ CELL, 0 * CELL])
    pbc = torch.stack([PBC, ~PBC, PBC & ~PBC])
    assert_equivariant_forces(potential, z, pos, batch, cell, pbc)
    assert_forces_match_energy(potential, z, pos, batch, cell, pbc)
    assert_stress_matches_energy(potential, z, pos, cell, pbc, batch)


@pytest.mark.parametrize('change, match', [
    (lambda pos, cell, energy, forces, stress: (
        energy, forces, None if stress is None else stress[:, [1, 0, 2]]),
     "'stress' under a rotation"),
    (lambda pos, cell, energy, forces, stress: (
        energy + cell.sum(), forces, stress), "'energy' under a rotation"),
    # Invariant but for images: the size of what was given.
    (lambda pos, cell, energy, forces, stress: (
        energy + (pos - pos.mean(0)).square().sum(), forces, stress),
     "'energy' under a move to periodic images"),
])
def test_equivariance_in_cells(change, match):
    with pytest.raises(AssertionError, match=match):
        assert_equivariant_forces(Changed(PairModel(envelope), change), Z,
                                  CRYSTAL, None, CELL)


@pytest.mark.parametrize('change, match', [
    (lambda stress, cell: 1.001 * stress, 'differences of the energy'),
    (lambda stress, cell: -stress, 'differences of the energy'),
    (lambda stress, cell: stress * torch.linalg.det(cell), 'differences of'),
    (lambda stress, cell: stress + torch.ones(3, 3).triu().to(stress),
     'against its transpose'),
    (lambda stress, cell: torch.nan * stress, 'against its transpose'),
    (lambda stress, cell: stress[0], 'must have shape'),
    (lambda stress, cell: None, 'must have shape'),
])
def test_broken_stress(change, match):
    potential = Changed(
        PairModel(envelope), lambda pos, cell, energy, forces, stress: (
            energy, forces, stress if stress is None else change(stress,
                                                                 cell)))
    with pytest.raises(AssertionError, match=match):
        assert_stress_matches_energy(potential, Z, CRYSTAL, CELL)


def test_broken_forces_in_cells():
    potential = Changed(
        PairModel(envelope), lambda pos, cell, energy, forces, stress: (
            energy, 1.001 * forces, stress))
    with pytest.raises(AssertionError, match='differences of the energy'):
        assert_forces_match_energy(potential, Z, CRYSTAL, None, CELL)


def test_broken_batches_of_cells():
    class FirstCell(Potential):
        def forward(self, z, pos, batch=None, cell=None, pbc=None, **kwargs):
            if cell is not None and cell.dim() == 3:
                cell = cell[:1].expand_as(cell)
            return super().forward(z, pos, batch, cell, pbc, **kwargs)

    graphs = [(Z, CRYSTAL, CELL), (Z, CRYSTAL, 1.2 * CELL)]
    assert_batch_independent(FirstCell(PairModel(envelope)), graphs[:1])
    with pytest.raises(AssertionError, match="'energy' of a batch"):
        assert_batch_independent(FirstCell(PairModel(envelope)), graphs)

    potential = Changed(
        PairModel(envelope), lambda pos, cell, energy, forces, stress: (
            energy, forces, stress / energy.numel()))
    with pytest.raises(AssertionError, match="'stress' of a batch"):
        assert_batch_independent(potential, graphs)


def test_extensive():
    other_z, other_pos = Z[:3], POS[:3].flip(0)
    assert_extensive(Potential(PairModel(envelope)), Z, POS, other_z,
                     other_pos)
    for readout in ('mean', 'max'):
        with pytest.raises(AssertionError, match="'energy' of two systems"):
            assert_extensive(Potential(PairModel(envelope, readout)), Z, POS,
                             other_z, other_pos)
    # All pairs see each other:
    with pytest.raises(AssertionError, match='of two systems far apart'):
        assert_extensive(Potential(lambda z, pos, batch: pair_energy(
            z, pos, batch).reciprocal()), Z, POS, other_z, other_pos)
    # Energies add up, forces do not:
    broken = Changed(
        PairModel(envelope), lambda pos, cell, energy, forces, stress: (
            energy, forces - forces.mean(0) + 1e-3 * len(pos), stress))
    with pytest.raises(AssertionError, match="'forces' of two systems"):
        assert_extensive(broken, Z, POS, other_z, other_pos)


LINE = torch.tensor([[0, 0, 0], [0.4, 1.1, 0], [1.0, 0, 0]]).double()


@pytest.mark.parametrize('where', [
    dict(z=Z[:2], pos=LINE[[0, 2]]), dict(z=Z[:3], pos=LINE),
    dict(z=Z, pos=CRYSTAL, cell=CELL), dict(z=Z, pos=CRYSTAL, cell=CELL,
                                            pbc=PBC, length=4.0, atom=1)])
def test_smooth(where):
    for function in (envelope, lambda dist: envelope(dist, power=4)):
        assert_smooth_at_cutoff(Potential(PairModel(function)), cutoff=CUTOFF,
                                force_tol=1e-6, **where)
    # Large numbers that do not depend on the line:
    shifted = Changed(
        PairModel(envelope), lambda pos, cell, energy, forces, stress: (
            energy - 1e3, forces, stress))
    assert_smooth_at_cutoff(shifted, cutoff=CUTOFF, **where)


@pytest.mark.parametrize('function, output', [
    (lambda dist: torch.exp(-dist), 'energy'),  # a hard cutoff
    (lambda dist: envelope(dist) + 1e-5, 'energy'),  # a small jump
    (lambda dist: envelope(dist, power=1), 'energy|forces'),
    (lambda dist: envelope(dist) + 1e-3 * (CUTOFF - dist), 'energy|forces'),
    (cosine, 'forces'),  # a kink
    (lambda dist: torch.nan * dist, 'energy'),
])
@pytest.mark.parametrize('where', [
    dict(z=Z[:2], pos=LINE[[0, 2]]), dict(z=Z[:3], pos=LINE),
    dict(z=Z, pos=CRYSTAL, cell=CELL)])
def test_broken_cutoffs(function, output, where):
    with pytest.raises(AssertionError, match=f"'({output})' "):
        assert_smooth_at_cutoff(Potential(PairModel(function)), cutoff=CUTOFF,
                                force_tol=1e-6, **where)


def test_smooth_kinks_are_no_jumps():
    potential, step = Potential(PairModel(cosine)), 1e-4
    for _ in range(2):  # a kink shrinks with the step
        assert_smooth_at_cutoff(potential, Z[:3], LINE, CUTOFF, step=step,
                                force_tol=0.1 * step)
        with pytest.raises(AssertionError, match="'forces' where"):
            assert_smooth_at_cutoff(potential, Z[:3], LINE, CUTOFF, step=step,
                                    force_tol=0.01 * step)
        step /= 10


def test_smooth_forces_jump_alone():
    potential = Changed(
        PairModel(envelope), lambda pos, cell, energy, forces, stress: (
            energy, forces + 1e-4 * (forces != 0), stress))
    with pytest.raises(AssertionError, match="'forces' where atom 1"):
        assert_smooth_at_cutoff(potential, Z[:2], LINE[[0, 2]], CUTOFF)


def test_smooth_needs_something_to_see():
    z, pos = Z[:2], LINE[[0, 2]]
    dead = Potential(PairModel(lambda dist: 0 * dist))
    with pytest.raises(AssertionError, match='too small to be told'):
        assert_smooth_at_cutoff(dead, z, pos, CUTOFF)
    potential = Potential(PairModel(envelope), energy_scale=1e-12)
    offset = Changed(
        potential.model, lambda pos, cell, energy, forces, stress: (
            energy + 1e9, forces, stress))
    with pytest.raises(AssertionError, match='too small to be told'):
        assert_smooth_at_cutoff(offset, z, pos, CUTOFF)
    with pytest.raises(ValueError, match=r"'length' must be .* \(got 1.5\)"):
        assert_smooth_at_cutoff(potential, z, pos, CUTOFF, length=1.5)
    with pytest.raises(TypeError, match="'pos' must be of type torch.float64"):
        assert_smooth_at_cutoff(potential, z, pos.float(), CUTOFF)
    with pytest.raises(ValueError, match="'cutoff' must be positive"):
        assert_smooth_at_cutoff(potential, z, pos, 0.0)
