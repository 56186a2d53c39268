"""What atoms gain from having neighbors, before anything is learned."""

import math

import pytest
import torch

from torch_sake import Potential, VectorSAKE, ZBLRepulsion
from torch_sake.potentials.bonds import BondEnergy, Priors
from torch_sake.testing import (
    assert_batch_independent,
    assert_equivariant_forces,
    assert_extensive,
    assert_forces_match_energy,
    assert_smooth_at_cutoff,
    assert_stress_matches_energy,
)

CUTOFF = 4.0
ENERGIES = torch.zeros(100).double()
ENERGIES[[1, 6, 8]] = torch.tensor([-2.5, -7.0, -3.0]).double()
RADII = {1: 0.31, 6: 0.76, 8: 0.66}


def plain(z, pos, cutoff=CUTOFF):
    """The formula, atom by atom."""
    total = 0.0
    for i, one in enumerate(z.tolist()):
        order = 0.0
        for j, other in enumerate(z.tolist()):
            r = float((pos[i] - pos[j]).norm())
            if i != j and r < cutoff:
                t = r / cutoff
                envelope = 1 - 28 * t**6 + 48 * t**7 - 21 * t**8
                order += envelope * math.exp(
                    -(r - RADII[one] - RADII[other]) / 0.5)
        total += float(ENERGIES[one]) * (1 - math.exp(-5 * order))
    return total


@pytest.fixture
def molecules():
    z = torch.tensor([8, 1, 1, 6, 1, 1, 1, 1])
    return z, 1.3 * torch.randn(8, 3).double(), torch.tensor(
        [0, 0, 0, 1, 1, 1, 1, 1])


def build(prior):
    model = VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=CUTOFF)
    return Potential(model, 2.0, 10 * ENERGIES, prior=prior,
                     isolated_atoms=[1, 6, 8]).double()


def test_formula(molecules):
    z, pos, batch = molecules
    energy = BondEnergy(ENERGIES, CUTOFF).double()(z, pos, batch)
    assert energy[0] == pytest.approx(plain(z[:3], pos[:3]), abs=1e-6)
    assert energy[1] == pytest.approx(plain(z[3:], pos[3:]), abs=1e-6)
    for length, unit in (('Bohr', 0.529177210903), ('nm', 10.0)):
        other = BondEnergy(ENERGIES, CUTOFF / unit, length).double()
        assert torch.allclose(other(z, pos / unit, batch), energy, rtol=1e-6)
    with pytest.raises(KeyError):
        BondEnergy(ENERGIES, CUTOFF, 'furlong')


def test_ends():
    """Nothing for an isolated atom, nearly all for one with a bond."""
    bonds, z = BondEnergy(ENERGIES, 5.0), torch.tensor([1, 1])
    batch = torch.zeros(2, dtype=torch.long)

    def energy(length):
        pos = torch.tensor([[0.0, 0, 0], [length, 0, 0]])
        return float(bonds(z, pos, batch))

    assert energy(5.0) == energy(7.0) == 0.0
    assert bonds(z[:1], torch.zeros(1, 3), batch[:1]).tolist() == [0]
    assert -5.0 < energy(0.74) < -4.8
    lengths = torch.linspace(0.6, 5.0, 100).tolist()
    values = [energy(length) for length in lengths]
    assert all(a <= b for a, b in zip(values, values[1:]))
    assert bonds(z, torch.zeros(2, 3), batch).isfinite().all()


def test_potential(molecules):
    z, pos, batch = molecules
    potential = build(BondEnergy(ENERGIES, CUTOFF))
    without = Potential(potential.model, 2.0, 10 * ENERGIES,
                        isolated_atoms=[1, 6, 8]).double()
    change = potential.energy(z, pos, batch) - without.energy(z, pos, batch)
    assert torch.allclose(change, potential.prior(z, pos, batch), atol=1e-9)
    assert_equivariant_forces(potential, z, pos, batch)
    assert_forces_match_energy(potential, z, pos, batch)
    assert_batch_independent(potential, [(z[:3], pos[:3]), (z[3:], pos[3:])])
    assert_extensive(potential, z[:3], pos[:3], z[3:], pos[3:], atol=1e-8)
    cell = 4.5 * torch.eye(3).double() + 0.2 * torch.randn(3, 3).double()
    assert_stress_matches_energy(potential, z, pos, cell)
    pos = torch.tensor([[0.0, 0, 0], [1.0, 0, 0]]).double()
    assert_smooth_at_cutoff(potential, z[:2], pos, cutoff=CUTOFF)
    for number in (1, 6, 8):
        energy = potential.energy(torch.tensor([number]), pos[:1])
        assert energy.item() == pytest.approx(
            float(10 * ENERGIES[number]), abs=1e-9)


def test_single_precision(molecules):
    """Sums of large numbers keep their digits."""
    z, pos, _ = molecules
    z, pos = z.repeat(200), pos.repeat(200, 1)
    grid = torch.cartesian_prod(*3 * [torch.arange(6)])[:200]
    pos += 10 * grid.repeat_interleave(8, dim=0)
    batch = torch.zeros_like(z)
    bonds = BondEnergy(ENERGIES, CUTOFF)
    energy = bonds.float()(z, pos.float(), batch)
    assert energy.dtype == torch.double
    exact = BondEnergy(ENERGIES, CUTOFF).double()(z, pos, batch)
    assert abs(energy - exact) < 1e-3  # of 4 keV, by rounded positions


def test_several_priors(molecules):
    z, pos, batch = molecules
    bonds, zbl = BondEnergy(ENERGIES, CUTOFF), ZBLRepulsion(3.0)
    both = Priors([bonds, zbl])
    assert both.cutoff == CUTOFF
    potential, pos = build(both), 0.5 * pos
    energy = potential.energy(z, pos, batch)
    without = build(None)
    without.load_state_dict({name: value for name, value in
                             potential.state_dict().items()
                             if 'prior' not in name})
    expected = (without.energy(z, pos, batch) + bonds(z, pos, batch)
                + zbl(z, pos, batch))
    assert torch.allclose(energy, expected, atol=1e-9)


class Learned(ZBLRepulsion):
    """A prior with a parameter."""
    def __init__(self):
        super().__init__(3.0)
        self.factor = torch.nn.Parameter(torch.tensor(2.0).double())

    def forward(self, *args):
        return self.factor * super().forward(*args)


@pytest.mark.parametrize('periodic', [False, True])
@pytest.mark.parametrize('kind', ['fixed', 'learned'])
def test_prior_in_training(molecules, periodic, kind):
    """It is not differentiated twice where nothing of it is learned."""
    z, pos, batch = molecules
    prior = Learned() if kind == 'learned' else Priors(
        [BondEnergy(ENERGIES, CUTOFF), ZBLRepulsion(3.0)])
    potential, pos = build(prior), 0.6 * pos
    cell = None
    if periodic:
        cell = (5.0 * torch.eye(3).double()).expand(2, 3, 3) + (
            0.2 * torch.randn(2, 3, 3).double())
    inputs = (z, pos, batch, cell, None, periodic)
    with torch.no_grad():
        expected = potential(*inputs)

    def derivatives(pos):
        energy, forces, stress = potential(z, pos, batch, cell, None,
                                           periodic)
        loss = energy.sum() + forces.square().sum()
        if periodic:
            loss = loss + stress.square().sum()
        for value, other in zip((energy, forces, stress), expected):
            assert other is None or torch.allclose(value, other, atol=1e-9)
        parameters = [parameter for name, parameter in
                      potential.named_parameters() if 'embedding' in name
                      or 'mlp' in name or 'factor' in name]
        return torch.autograd.grad(loss, parameters, allow_unused=True)

    # Positions that require a gradient have it all differentiated:
    for value, other in zip(derivatives(pos),
                            derivatives(pos.clone().requires_grad_())):
        if other is not None:
            assert torch.allclose(value, other, rtol=1e-9, atol=1e-9)
    given = pos.clone().requires_grad_()
    forces = potential(z, given, batch, cell)[1]
    hessian = torch.autograd.grad(forces[0, 0], given)[0]
    with torch.no_grad():
        step = torch.zeros_like(pos)
        step[1, 1] = 1e-5
        change = (potential(z, pos + step, batch, cell)[1] -
                  potential(z, pos - step, batch, cell)[1])[0, 0] / 2e-5
    assert hessian[1, 1].item() == pytest.approx(change.item(), rel=1e-4,
                                                 abs=1e-6)
