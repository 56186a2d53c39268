import numpy
import pytest
import torch
from torch_geometric.nn.models import SchNet

from torch_sake import (
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    ZBLRepulsion,
)
from torch_sake.testing import (
    assert_equivariant_forces,
    assert_forces_match_energy,
)


def energy(prior, z, distance):
    pos = torch.tensor([[0, 0, 0], [0, 0, distance]], dtype=torch.double)
    return float(prior(torch.tensor(z), pos, torch.zeros(2, dtype=torch.long)))


# Screened Coulomb energies without the envelope, from the constants of ASE
# and the four exponentials of Ziegler, Biersack and Littmark (1985):
@pytest.mark.parametrize('z', [(1, 1), (6, 8), (14, 14), (79, 1)])
@pytest.mark.parametrize('share', [0.02, 0.1, 0.3])
def test_against_constants_of_ase(z, share):
    units = pytest.importorskip('ase.units')
    data = pytest.importorskip('ase.data')
    end = data.covalent_radii[z[0]] + data.covalent_radii[z[1]]
    distance = share * end
    coulomb = units._e / (4 * numpy.pi * units._eps0) * 1e10
    x = distance * (z[0]**0.23 + z[1]**0.23) / (0.8854 * units.Bohr)
    phi = (0.1818 * numpy.exp(-3.2 * x) + 0.5099 * numpy.exp(-0.9423 * x) +
           0.2802 * numpy.exp(-0.4029 * x) + 0.02817 * numpy.exp(-0.2016 * x))
    expected = coulomb * z[0] * z[1] / distance * phi
    t = share  # 1 - 28 t^6 + 48 t^7 - 21 t^8
    expected *= 1 - 28 * t**6 + 48 * t**7 - 21 * t**8
    # Coefficients are rounded to four digits in one of both places.
    assert energy(ZBLRepulsion(), z, distance) == pytest.approx(expected,
                                                                rel=1e-3)


def test_smooth_end():
    prior, end = ZBLRepulsion(), 2 * 0.76
    assert energy(prior, (6, 6), end - 1e-3) > 0
    assert energy(prior, (6, 6), end) == 0 == energy(prior, (6, 6), 2.0)
    step = 1e-4
    values = [energy(prior, (6, 6), end + step * k) for k in range(-5, 6)]
    scale = energy(prior, (6, 6), end / 2)
    assert max(abs(numpy.diff(values, 2))) < 1e-9 * scale
    short = ZBLRepulsion(cutoff=1.0)
    assert energy(short, (6, 6), 1.1) == 0
    assert 0 < energy(short, (6, 6), 1.0 - 1e-3) < 1e-6 * scale
    with pytest.raises(ValueError, match="'cutoff' must be positive"):
        ZBLRepulsion(cutoff=0.0)


@pytest.mark.parametrize('scale', [1.0, 0.7])
def test_share_of_the_radii(scale):
    prior, end = ZBLRepulsion(scale=scale), scale * 2 * 0.76
    assert str(prior) == f'ZBLRepulsion(cutoff=5.0, scale={scale})'
    # Twice differentiable at the end, where it is zero from:
    for distance, is_zero in ((end - 1e-3, False), (end + 1e-3, True)):
        assert (energy(prior, (6, 6), distance) == 0) == is_zero
    pos = torch.tensor([[0, 0, 0], [0, 0, end - 1e-3]], dtype=torch.double)

    def of_distance(distance):
        return prior(torch.tensor([6, 6]), torch.stack([
            pos[0], pos[1] * distance / (end - 1e-3)]),
            torch.zeros(2, dtype=torch.long)).sum()

    distance = torch.tensor(end - 1e-3, dtype=torch.double)
    slope = torch.func.grad(of_distance)(distance)
    bend = torch.func.grad(torch.func.grad(of_distance))(distance)
    assert -1e-2 < float(slope) < 0 < float(bend) < 10
    middle = torch.tensor(0.5 * end, dtype=torch.double)
    assert float(torch.func.grad(torch.func.grad(of_distance))(middle)) > 100
    with pytest.raises(ValueError, match="'scale' must be positive"):
        ZBLRepulsion(scale=0.0)


def test_far_pairs_are_left_out(monkeypatch):
    # As they are, and as compilers and transforms have all of them:
    torch.manual_seed(0)
    prior, z = ZBLRepulsion(), torch.randint(1, 9, (40, ))
    pos = 4 * torch.rand(40, 3, dtype=torch.double)
    batch = torch.arange(40) // 20
    results = []
    for plain in (False, True):
        monkeypatch.setattr('torch_sake.potentials.zbl.plain_operators_needed',
                            lambda tensor, plain=plain: plain)
        moved = pos.clone().requires_grad_()
        energies = prior(z, moved, batch)
        results.append((energies.detach(), *torch.autograd.grad(
            energies.sum(), moved)))
    for value, other in zip(*results):
        assert torch.allclose(value, other, rtol=1e-12)
        assert float(value.abs().max()) > 1
    monkeypatch.undo()
    assert prior(z[:2], torch.eye(3)[:2] * 9, batch[:2]).tolist() == [0.0]


def test_far_pairs_can_be_differentiated():
    """As near ones can; energies without a graph stay so."""
    z, batch = torch.tensor([1, 8]), torch.zeros(2, dtype=torch.long)
    pos = torch.tensor([[0.0, 0, 0], [0, 0, 4.0]], requires_grad=True)
    prior = ZBLRepulsion()
    energy = prior(z, pos, batch)
    assert energy.tolist() == [0.0]
    assert not torch.autograd.grad(energy.sum(), pos)[0].any()
    assert not prior(z, pos.detach(), batch).requires_grad


def test_units():
    in_ev = energy(ZBLRepulsion(), (6, 8), 0.5)
    units = pytest.importorskip('ase.units')
    in_kcal = energy(ZBLRepulsion(energy='kcal/mol'), (6, 8), 0.5)
    assert in_kcal * units.kcal / units.mol == pytest.approx(in_ev, rel=1e-6)
    in_atomic = energy(ZBLRepulsion(length='Bohr', energy='Hartree'), (6, 8),
                       0.5 / units.Bohr)
    assert in_atomic * units.Hartree == pytest.approx(in_ev, rel=1e-6)
    prior = ZBLRepulsion(9.0, 'Bohr', 'Hartree')
    assert energy(prior, (87, 87), 6.0) > 0
    with pytest.raises(ValueError, match="'energy' must be one of"):
        ZBLRepulsion(energy='cal')
    with pytest.raises(ValueError, match="'length' must be one of"):
        ZBLRepulsion(length='m')


@pytest.mark.parametrize('model', [
    lambda: VectorSAKE(8, num_layers=1, num_rbf=5, cutoff=2.5),
    lambda: VectorSAKE(8, num_layers=1, num_rbf=5, cutoff=None),
    lambda: SchNet(8, 8, 1, 5, interaction_graph=RadiusInteractionGraph(2.5)),
], ids=['cutoff', 'all pairs', 'schnet'])
def test_prior_of_any_potential(model):
    model = model().double()
    z = torch.tensor([8, 1, 1, 6, 1])
    pos = 0.8 * torch.randn(5, 3, dtype=torch.double)
    pos[1], pos[4] = pos[0] + 0.4, pos[3] + 0.4
    batch = torch.tensor([0, 0, 0, 1, 1])
    with_prior = Potential(model, prior=ZBLRepulsion(2.5))
    without, prior = Potential(model), ZBLRepulsion()(z, pos, batch)
    assert float(prior.detach().min()) > 0.1
    assert torch.allclose(with_prior(z, pos, batch)[0],
                          without(z, pos, batch)[0] + prior)
    assert torch.allclose(with_prior.energy(z, pos, batch),
                          with_prior(z, pos, batch)[0])
    assert_forces_match_energy(with_prior, z, pos, batch, atol=1e-5)
    assert_equivariant_forces(with_prior, z, pos, batch)


def test_repulsion_wins():
    potential = Potential(VectorSAKE(8, num_layers=1, num_rbf=5),
                          prior=ZBLRepulsion())
    pos = torch.tensor([[0, 0, 0], [0, 0, 0.1]])
    _, forces, _ = potential(torch.tensor([6, 6]), pos)
    assert float(forces[1, 2]) > 1000 and float(forces[0, 2]) < -1000


def test_cutoff_beyond_that_of_the_model():
    with pytest.raises(ValueError, match="'prior' must end within"):
        Potential(VectorSAKE(8, num_layers=1, num_rbf=5, cutoff=2.0),
                  prior=ZBLRepulsion(2.5))
    with pytest.raises(TypeError, match="'prior' must be a torch.nn.Module"):
        Potential(VectorSAKE(8, num_layers=1, num_rbf=5), prior=lambda z: z)


def test_padding_has_no_nucleus():
    potential = Potential(VectorSAKE(8, num_layers=1, num_rbf=5),
                          prior=ZBLRepulsion())
    energy, forces, _ = potential(torch.tensor([0, 0, 1]), torch.rand(3, 3))
    assert energy.isfinite().all() and forces.isfinite().all()
