import warnings

import pytest
import torch
from torch_geometric.nn.models import SchNet

from torch_sake import (
    SAKE,
    Ensemble,
    Potential,
    Property,
    RadiusInteractionGraph,
    VectorSAKE,
)
from torch_sake.testing import (
    assert_batch_independent,
    assert_equivariant_forces,
    assert_extensive,
    assert_forces_match_energy,
    assert_smooth_at_cutoff,
    assert_stress_matches_energy,
)

Z = torch.tensor([8, 1, 1, 6, 1, 1, 1, 1])
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
CHARGE, SPIN = torch.tensor([1.0, -2.0]), torch.tensor([2, 3])
STATE = dict(charge=CHARGE, spin=SPIN)

MODELS = pytest.mark.parametrize('model_class', [SAKE, VectorSAKE])


def build(model_class=VectorSAKE, dtype=torch.double, embed_charge=True,
          seed=0, num_layers=2, **options):
    torch.manual_seed(seed)
    model = model_class(8, num_layers=num_layers, num_rbf=5, cutoff=4.0,
                        embed_charge=embed_charge)
    potential = Potential(model, 2.0, -torch.arange(100.0), **options)
    torch.manual_seed(0)
    return potential.to(dtype), 2 * torch.randn(8, 3, dtype=dtype)


def of_state(potential, charge, spin):
    """As a potential of graphs that all have one state."""
    def call(z, pos, batch=None, *args, **kwargs):
        number = 1 if batch is None else int(batch.max()) + 1
        return potential(z, pos, batch, *args,
                         charge=torch.full((number, ), charge),
                         spin=torch.full((number, ), spin), **kwargs)
    return call


@MODELS
def test_all_that_holds_for_potentials(model_class):
    potential, pos = build(model_class)
    ion = of_state(potential, -1, 2)
    water = Z[:3], pos[:3]
    methane = Z[3:], pos[3:]
    assert_forces_match_energy(ion, *water)
    assert_equivariant_forces(ion, *methane)
    assert_batch_independent(ion, [water, methane])
    assert_smooth_at_cutoff(ion, *methane, cutoff=4.0)
    cell = torch.eye(3, dtype=torch.double) * 5
    assert_stress_matches_energy(ion, *water, cell)
    assert_extensive(of_state(potential, 0, 1), *water, *methane)
    with pytest.raises(AssertionError):
        assert_extensive(ion, *water, *methane)


@MODELS
def test_energies_and_parts_of_atoms(model_class):
    potential, pos = build(model_class)
    energy, forces, _ = potential(Z, pos, BATCH, **STATE)
    assert not torch.allclose(energy, potential(Z, pos, BATCH)[0])
    assert torch.allclose(potential.energy(Z, pos, BATCH, **STATE), energy)
    parts = potential.site_energies(Z, pos, BATCH, **STATE)
    sums = torch.zeros(2, dtype=torch.double).index_add(0, BATCH, parts)
    assert torch.allclose(sums, energy, atol=1e-12)
    sizes = dict(charge=torch.tensor([1, -2, 1]), batch_size=3)
    parts = potential.site_energies(Z, pos, BATCH, **sizes)
    sums = torch.zeros(3, dtype=torch.double).index_add(0, BATCH, parts)
    assert torch.allclose(sums, potential.energy(Z, pos, BATCH, **sizes),
                          atol=1e-12)
    one = potential.site_energies(Z[:3], pos[:3], charge=1, spin=2)
    assert torch.allclose(one.sum(), energy[0], atol=1e-12)
    # The same as plain numbers, from layers computed again:
    potential.recompute = True
    with torch.no_grad():
        plain = potential(Z, pos, BATCH, **STATE)
    assert torch.allclose(plain[0], energy, atol=1e-12)
    assert torch.allclose(plain[1], forces, atol=1e-12)


def test_cells():
    potential, pos = build()
    cell = 6 * torch.eye(3, dtype=torch.double).repeat(2, 1, 1)
    energy, _, stress = potential(Z, pos, BATCH, cell, compute_stress=True,
                                  **STATE)
    for graph in range(2):
        atoms = BATCH == graph
        single = potential(Z[atoms], pos[atoms], cell=cell[graph],
                           compute_stress=True, charge=CHARGE[graph].item(),
                           spin=SPIN[graph].item())
        assert torch.allclose(single[0], energy[graph])
        assert torch.allclose(single[2], stress[graph])


@MODELS
def test_isolated_atoms(model_class):
    """They are neutral singlets in whatever ion they stand beside."""
    potential, pos = build(model_class, isolated_atoms=[1, 6, 8])
    plain, _ = build(model_class)
    alone = sum(plain.energy(z.view(1), pos[:1]) + z for z in Z[:3])
    energy = potential(Z, pos, BATCH, **STATE)[0]
    expected = plain(Z, pos, BATCH, **STATE)[0]
    assert torch.allclose(energy[0], expected[0] - alone[0], atol=1e-12)
    parts = potential.site_energies(Z, pos, BATCH, **STATE)
    sums = torch.zeros(2, dtype=torch.double).index_add(0, BATCH, parts)
    assert torch.allclose(sums, energy, atol=1e-12)
    one = potential.energy(Z[:1], pos[:1])
    assert torch.allclose(one, torch.full_like(one, -8.0), atol=1e-12)
    ion = potential.energy(Z[:1], pos[:1], charge=1, spin=2)
    assert not torch.allclose(ion, one)
    # Whatever spin they have, if there is nothing else and no charge:
    assert torch.equal(potential.energy(Z[:1], pos[:1], spin=3), one)
    batch = torch.tensor([0, 1, 1])
    energy = potential.energy(Z[:3], pos[:3], batch,
                              spin=torch.tensor([3, 3]))
    assert torch.allclose(energy[0], one[0])
    pair = potential.energy(Z[1:3], pos[1:3])
    assert not torch.allclose(energy[1], pair[0])
    others, _ = build(model_class, isolated_atoms=[1, 6])
    assert not torch.allclose(others.energy(Z[:1], pos[:1], spin=3),
                              others.energy(Z[:1], pos[:1]))


def test_ensembles_and_properties():
    members = [build(seed=seed)[0] for seed in range(2)]
    pos = build()[1]
    energies = [member.energy(Z, pos, BATCH, **STATE) for member in members]
    ensemble = Ensemble(members)
    mean = torch.stack(energies).mean(dim=0)
    assert torch.allclose(ensemble(Z, pos, BATCH, **STATE)[0], mean)
    assert torch.allclose(ensemble.energy(Z, pos, BATCH, **STATE), mean)
    parts = ensemble.site_energies(Z, pos, BATCH, **STATE)
    assert torch.allclose(parts.sum(), mean.sum())
    gap = Property(members[0].model, name='gap')
    assert torch.allclose(
        gap(Z, pos, BATCH, **STATE),
        members[0].model(Z, pos, BATCH, **STATE).squeeze(1))


def test_inference_mode():
    potential, pos = build()
    with torch.inference_mode():
        state = dict(charge=CHARGE.clone(), spin=SPIN.clone())
        energy = potential(Z, pos.clone(), BATCH, **state)[0]
    assert torch.allclose(energy, potential.energy(Z, pos, BATCH, **STATE))


@MODELS
def test_potentials_without_an_embedding(model_class):
    potential, pos = build(model_class, embed_charge=False)
    expected = potential(Z, pos, BATCH)
    neutral = dict(charge=torch.zeros(2), spin=torch.ones(2))
    for call in (potential, potential.energy, potential.site_energies):
        call(Z, pos, BATCH, **neutral)
        with pytest.raises(ValueError, match=r"'charge' must be 0 .*"
                           r"'embed_charge' \(got 1\)"):
            call(Z, pos, BATCH, **STATE)
        with pytest.raises(ValueError, match=r"'spin' must be 1 .*got 2"):
            call(Z, pos, BATCH, spin=SPIN)
        with pytest.raises(ValueError, match=r"'charge' must have shape \[2"):
            call(Z, pos, BATCH, charge=torch.zeros(3))
    assert all(map(torch.equal, potential(Z, pos, BATCH, **neutral)[:2],
                   expected))


def test_models_of_others():
    """Those that take charges get them, others need not know of any."""
    class Charged(torch.nn.Module):
        def forward(self, z, pos, batch, charge=None):
            return charge * pos.new_zeros(2).index_add(
                0, batch, pos.square().sum(dim=1))

    pos = build()[1].float()
    other = Potential(SchNet(8, 8, 1, 5,
                             interaction_graph=RadiusInteractionGraph()))
    expected = other.energy(Z, pos, BATCH)
    assert torch.equal(other.energy(Z, pos, BATCH, charge=torch.zeros(2)),
                       expected)
    with pytest.raises(ValueError, match="'charge' must be 0 for a model"):
        other(Z, pos, BATCH, charge=CHARGE)
    charged = Potential(Charged())
    energy = charged.energy(Z, pos, BATCH, charge=CHARGE)
    assert energy[0] > 0 > energy[1]
    with pytest.raises(ValueError, match="'spin' must be 1 for a model"):
        charged(Z, pos, BATCH, charge=CHARGE, spin=SPIN)


@pytest.mark.slow
@pytest.mark.compile
@MODELS
def test_compiled(model_class):
    """The same as without, and again for other values, with derivatives with
    respect to parameters."""
    potential, pos = build(model_class, num_layers=1)
    other, _ = build(model_class, num_layers=1)
    other.compile()
    with warnings.catch_warnings():
        warnings.filterwarnings('error', 'Compilation')
        for state in (STATE, dict(charge=torch.tensor([-1, 0]),
                                  spin=torch.tensor([1, 4]))):
            results = []
            for call in (potential, other):
                energy, forces, _ = call(Z, pos, BATCH, **state)
                results.append((energy, forces, *torch.autograd.grad(
                    energy.sum() + forces.square().sum(),
                    list(call.parameters()), materialize_grads=True,
                    allow_unused=True)))
            assert all(torch.allclose(a, b, atol=1e-9)
                       for a, b in zip(*results))
            assert results[1][-1].any()  # of the last map of the embedding
    assert other.compiled
