"""Potentials are smooth as atoms come and go at the cutoff, and extensive."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch_geometric.nn.models import SchNet

from torch_sake import (
    SAKE,
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    neighbor_list,
)
from torch_sake.nn import PolynomialEnvelope
from torch_sake.nn.attention import normalize_attention
from torch_sake.ops.segments import Segments
from torch_sake.testing import (
    assert_batch_independent,
    assert_equivariant_forces,
    assert_extensive,
    assert_forces_match_energy,
    assert_smooth_at_cutoff,
    assert_stress_matches_energy,
)

CUTOFF = 3.0
SEEDS = range(3)
ROOT = Path(__file__).parent.parent


class HardCut(torch.nn.Module):
    """The layers of the paper on a radius graph."""
    def __init__(self):
        super().__init__()
        self.model = SAKE(8, num_layers=3, heads=2, num_rbf=10, cutoff=None)

    def forward(self, z, pos, batch):
        edge_index, _ = neighbor_list(pos, CUTOFF, batch)
        return self.model(z, pos, batch, edge_index=edge_index)


def build(name, seed=0, **options):
    torch.manual_seed(seed)
    if name == 'SAKE':
        model, gain = SAKE(8, num_layers=3, heads=2, num_rbf=10,
                           cutoff=CUTOFF, **options), 1.5
    elif name == 'VectorSAKE':
        model, gain = VectorSAKE(8, num_layers=3, num_rbf=10, cutoff=CUTOFF,
                                 **options), 1.1
    elif name == 'SchNet':
        model, gain = SchNet(8, 8, 3, 10, cutoff=CUTOFF, interaction_graph=(
            RadiusInteractionGraph(CUTOFF))), 1.0
    else:
        model, gain = HardCut(), 1.0
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight *= gain
    return Potential(model.double())


def pair():
    return dict(z=torch.tensor([8, 1]),
                pos=torch.tensor([[0.0, 0, 0], [1, 0, 0]]).double())


def last_neighbor():
    """An atom that leaves two others, one after the other."""
    return dict(z=torch.tensor([6, 8, 1]), pos=torch.tensor(
        [[0.0, 0, 0], [-1.2, 0.1, 0], [0.8, 0.7, 0]]).double())


def group():
    pos = torch.cartesian_prod(*3 * [torch.arange(2.0)]).double()
    pos = 1.2 * pos + 0.3 * torch.rand(
        8, 3, generator=torch.Generator().manual_seed(0)).double()
    return dict(z=torch.tensor([6, 1, 8, 7, 6, 1, 9, 8]), pos=pos)


def leaves_the_middle():
    """An atom in the middle of others, which it leaves one by one."""
    inputs = group()
    direction = torch.tensor([0.1, 0.2, 1.0]).double()
    middle = inputs['pos'].mean(dim=0) + 0.1
    return dict(z=torch.cat([inputs['z'], torch.tensor([1])]),
                pos=torch.cat([inputs['pos'], middle.view(1, 3)]),
                direction=direction)


def crystal(**options):
    cell = torch.tensor([[3.8, 0.1, 0.0], [0.2, 3.7, -0.1], [0.0, 0.3, 3.9]])
    sites = torch.tensor([[0.02, 0, 0], [0.5, 0.53, 0], [0.5, 0, 0.49],
                          [0, 0.5, 0.52]])
    return dict(z=torch.tensor([8, 1, 6, 1]), pos=(sites @ cell).double(),
                cell=cell.double(), **options)


def slab():
    return crystal(pbc=torch.tensor([True, True, False]))


PLACES = [pair, last_neighbor, group, leaves_the_middle, crystal, slab]


def crossing(potential, place, step, atom=-1):
    """Returns largest second differences of the energy and of forces where the
    atom crosses the cutoff of the first one.
    """
    z, pos = place['z'], place['pos']
    vec = pos[atom] - pos[0]
    # Where the smoothed lengths of our layers are at the cutoff:
    vec = vec / vec.norm() * (CUTOFF**2 - 1e-5)**0.5
    energies, forces = [], []
    for k in range(-5, 6):
        moved = pos.clone()
        moved[atom] = pos[0] + vec * (1 + k * step / vec.norm())
        with torch.no_grad():
            outputs = potential(z, moved)
        energies.append(outputs[0])
        forces.append(outputs[1])
    return [float(torch.stack(values).diff(n=2, dim=0).abs().max())
            for values in (energies, forces)]


@pytest.mark.parametrize('update_pos', [True, False])
@pytest.mark.parametrize('place', PLACES)
@pytest.mark.parametrize('name', ['SAKE', 'VectorSAKE'])
def test_smooth(name, place, update_pos):
    # Without a bound of the logits, SAKE fails for seeds 6, 10, 12, 15 and 16.
    seeds = SEEDS
    if name == 'SAKE' and place in (last_neighbor, group):
        seeds = range(17)
    for seed in seeds:
        potential = build(name, seed, update_pos=update_pos)
        assert_smooth_at_cutoff(potential, cutoff=CUTOFF, **place())


@pytest.mark.parametrize('name', ['SAKE', 'VectorSAKE'])
def test_no_cusp_at_symmetric_structures(name):
    """The force on an atom of a crystal is proportional to its way."""
    cell = 3.2 * torch.eye(3).double()
    sites = torch.tensor([[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0],
                          [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]) / 4.0
    z, pos = torch.full((8, ), 14), sites.double() @ cell
    for seed in SEEDS:
        potential = build(name, seed)
        slopes = []
        for way in (3e-2, 1e-2, 1e-3, 1e-4):
            moved = pos.clone()
            moved[0, 0] += way
            _, forces, _ = potential(z, moved, None, cell)
            slopes.append(float(forces[0, 0].detach()) / way)
        assert abs(slopes[0]) > 1e-3
        assert slopes[0] == pytest.approx(slopes[-1], rel=0.2)
        assert slopes[1] == pytest.approx(slopes[-1], rel=0.05)
        assert slopes[2] == pytest.approx(slopes[-1], rel=0.02)


@pytest.mark.parametrize('name', ['SAKE', 'VectorSAKE'])
def test_envelopes_of_another_order(name):
    envelope = PolynomialEnvelope(CUTOFF, exponent=3)
    potential = build(name, envelope=envelope)
    assert_smooth_at_cutoff(potential, cutoff=CUTOFF, **pair())
    energy = potential.energy(**pair())
    assert not torch.allclose(energy, build(name).energy(**pair()))


@pytest.mark.parametrize('dtype', [torch.float, torch.double])
def test_large_logits_of_edges_without_weight(dtype):
    logits = torch.tensor([[2000.0], [-3.0], [1500.0]], dtype=dtype)
    weight = torch.tensor([[0.0], [1.0], [0.0]], dtype=dtype)
    attention = normalize_attention(
        logits, Segments(torch.tensor([0, 0, 1]), 2), weight)
    assert attention.isfinite().all()
    assert attention[0] == 0 == attention[2] and 0 < attention[1] < 0.1


@pytest.mark.parametrize('options', [
    dict(semantic_attention=False), dict(spatial_attention=False),
    dict(readout='mean'), dict(num_layers=1)], ids=str)
def test_smooth_variants(options):
    torch.manual_seed(0)
    model = SAKE(8, heads=2, num_rbf=10, cutoff=CUTOFF,
                 **dict(dict(num_layers=2), **options))
    assert_smooth_at_cutoff(Potential(model.double()), cutoff=CUTOFF,
                            **last_neighbor())


@pytest.mark.parametrize('place', PLACES)
def test_schnet_has_smooth_energies_and_continuous_forces(place):
    for seed in SEEDS:
        assert_smooth_at_cutoff(build('SchNet', seed), cutoff=CUTOFF,
                                force_tol=1e-3, **place())


@pytest.mark.parametrize('name, options, shrinks', [
    ('SAKE', {}, (50, math.inf)), ('VectorSAKE', {}, (50, math.inf)),
    # Forces have kinks,
    ('SAKE', dict(envelope='cosine'), (9, 11)),
    ('VectorSAKE', dict(envelope='cosine'), (9, 11)), ('SchNet', {}, (9, 13)),
    # and here energies and forces jump.
    ('HardCut', {}, (0.9, 1.1))], ids=str)
def test_second_differences_of_forces_shrink_with_the_step(name, options,
                                                           shrinks):
    for seed in SEEDS:
        potential = build(name, seed, **options)
        for place in (pair(), last_neighbor()):
            energy, forces = crossing(potential, place, 1e-4)
            energy_after, forces_after = crossing(potential, place, 1e-5)
            assert shrinks[0] < forces / forces_after < shrinks[1]
            if name == 'HardCut':
                assert 0.9 < energy / energy_after < 1.1
            else:
                assert energy / energy_after > 50


@pytest.mark.parametrize('place', [pair, last_neighbor, group])
def test_the_layer_of_the_paper_is_caught(place):
    for seed in SEEDS:
        with pytest.raises(AssertionError, match="'energy' where"):
            assert_smooth_at_cutoff(build('HardCut', seed), cutoff=CUTOFF,
                                    **place())


@pytest.mark.parametrize('name', ['SAKE', 'VectorSAKE'])
def test_cosine_envelopes_are_caught(name):
    for seed in SEEDS:
        potential = build(name, seed, envelope='cosine')
        assert_smooth_at_cutoff(potential, cutoff=CUTOFF, energy_tol=1e-5,
                                force_tol=1e-2, **last_neighbor())
        with pytest.raises(AssertionError, match="'forces' where"):
            assert_smooth_at_cutoff(potential, cutoff=CUTOFF, energy_tol=1e-5,
                                    force_tol=1e-6, **last_neighbor())


@pytest.mark.parametrize('name', ['SAKE', 'VectorSAKE', 'SchNet'])
def test_extensive(name):
    for seed in SEEDS:
        potential = build(name, seed)
        for first, second in [(group(), last_neighbor()), (pair(), pair())]:
            assert_extensive(potential, first['z'], first['pos'], second['z'],
                             second['pos'], distance=1.001 * CUTOFF)
    if name != 'SchNet':
        with pytest.raises(AssertionError, match='two systems far apart'):
            assert_extensive(build(name, readout='mean'), *group().values(),
                             *pair().values())


@pytest.mark.parametrize('name', ['SAKE', 'VectorSAKE', 'SchNet'])
def test_crystals(name):
    potential = build(name)
    z, pos, cell = crystal().values()
    pbc = slab()['pbc']
    for periodic in (None, pbc):
        assert_equivariant_forces(potential, z, pos, None, cell, periodic)
        assert_forces_match_energy(potential, z, pos, None, cell, periodic)
        assert_stress_matches_energy(potential, z, pos, cell, periodic)
    assert_batch_independent(potential, [
        (z, pos, cell), tuple(group().values()), (z[1:], pos[1:], cell, pbc)])


@pytest.mark.parametrize('name, options', [
    ('SAKE', {}), ('SAKE', dict(update_pos=False)), ('VectorSAKE', {}),
    ('VectorSAKE', dict(update_pos=False)), ('SchNet', {})], ids=str)
@pytest.mark.parametrize('num_atoms', [1, 3])
def test_isolated_atoms(name, options, num_atoms):
    potential = build(name, **options)
    z = torch.tensor([8, 1, 6])[:num_atoms]
    pos = CUTOFF * torch.arange(num_atoms).double().view(-1, 1) * 1.0001
    pos = pos * torch.tensor([0.6, 0.0, 0.8]).double()
    energy, forces, _ = potential(z, pos)
    assert energy.isfinite().all() and not forces.any()
    singles = [potential.energy(z[i:i + 1], pos[:1]) for i in range(num_atoms)]
    assert torch.allclose(energy, torch.cat(singles).sum())

    # Gradients of a loss of energies and forces, with one isolated atom alone
    # and one beside others:
    inputs = group()
    z = torch.cat([z, inputs['z']])
    pos = torch.cat([pos - 10, inputs['pos']])
    for batch in (None, torch.tensor([0] * num_atoms + [1] * 8)):
        potential.zero_grad()
        energy, forces, _ = potential(z, pos, batch)
        assert not forces[:num_atoms].any() and forces[num_atoms:].all()
        (energy.sum() + forces.square().sum()).backward()
        gradients = [parameter.grad for parameter in potential.parameters()
                     if parameter.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert sum(bool(gradient.any()) for gradient in gradients) > 10


@pytest.mark.slow
def test_benchmark(tmp_path):
    pytest.importorskip('matplotlib')
    process = subprocess.run(
        [sys.executable, str(ROOT / 'examples/benchmarks/smoothness.py'),
         '--hidden_channels', '8', '--num_layers', '2', '--start', '4.5',
         '--cutoff', '5.5', '--step', '2e-4', '--seeds', '0', '1', '--out',
         str(tmp_path)],
        env=dict(os.environ, OMP_NUM_THREADS='1'), capture_output=True,
        text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    printed = process.stdout
    assert printed == (tmp_path / 'smoothness.md').read_text()
    assert 0 < (tmp_path / 'smoothness.png').stat().st_size < 60_000
    rows = {name: (float(energy), float(force)) for name, energy, force in
            re.findall(r'^\| ([^|\n]+) \| .*? \| (\S+) \| .*? \| (\S+) \|$',
                       printed, re.M)}
    assert len(rows) == 6
    for name in ('SAKE', 'VectorSAKE'):
        assert rows[name][0] < 1e-6 and rows[name][1] < 1e-5
        assert rows[f'{name}, cosine'][1] > 10 * rows[name][1]
    assert min(rows["paper's layer, radius graph"]) > 1e-2
