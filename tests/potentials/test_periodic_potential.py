import copy

import pytest
import torch
from torch_geometric.nn.models import SchNet

from torch_sake import (
    SAKE,
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    ZBLRepulsion,
    neighbor_list,
)
from torch_sake.testing import random_orthogonal


def sake():
    return Potential(SAKE(8, num_layers=2, heads=2, num_rbf=5, cutoff=2.5))


def vector_sake():
    return Potential(VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=2.5))


def schnet():
    return Potential(SchNet(8, 8, 2, 5,
                            interaction_graph=RadiusInteractionGraph(2.5)))


def with_prior():
    return Potential(VectorSAKE(8, num_layers=1, num_rbf=5, cutoff=2.5),
                     prior=ZBLRepulsion(2.5))


@pytest.fixture(params=[sake, vector_sake, schnet, with_prior],
                ids=lambda build: build.__name__)
def potential(request):
    potential = request.param()
    potential.energy_scale = 3.0
    return potential.double()


def crystal(num_atoms=5, pbc=(True, True, True)):
    torch.manual_seed(num_atoms)
    cell = 3 * torch.eye(3, dtype=torch.double)
    cell = cell + 0.4 * torch.rand(3, 3, dtype=torch.double)
    pos = 5 * torch.rand(num_atoms, 3, dtype=torch.double)  # partly outside
    z = torch.randint(1, 9, (num_atoms, ))
    return z, pos, cell, torch.tensor(pbc)


@pytest.mark.parametrize('pbc', [(True, True, True), (True, False, True),
                                 (False, False, True)])
def test_supercells_have_as_much_energy_per_atom(potential, pbc):
    z, pos, cell, pbc = crystal(pbc=pbc)
    energy, forces, stress = potential(z, pos, None, cell, pbc, True)
    repeats = torch.where(pbc, 2, 1)
    offsets = torch.cartesian_prod(*(torch.arange(int(n)) for n in repeats))
    copies = len(offsets)
    shifts = offsets.double() @ cell
    big = (pos.unsqueeze(0) + shifts.unsqueeze(1)).view(-1, 3)
    outputs = potential(z.repeat(copies), big, None,
                        cell * repeats.view(3, 1), pbc, True)
    assert abs(float(outputs[0] / copies - energy)) < 1e-9 * len(z)
    assert torch.allclose(outputs[1], forces.repeat(copies, 1), atol=1e-9)
    assert torch.allclose(outputs[2], stress, atol=1e-9)


def test_images_of_atoms_are_the_same(potential):
    z, pos, cell, pbc = crystal()
    expected = potential(z, pos, None, cell, pbc, True)
    moved = pos + torch.randint(-3, 4, (5, 3)).double() @ cell
    for value, other in zip(expected, potential(z, moved, None, cell, pbc,
                                                True)):
        assert torch.allclose(value, other, atol=1e-10)


def test_stress_is_the_slope_of_the_energy(potential):
    z, pos, cell, pbc = crystal()
    _, _, stress = potential(z, pos, None, cell, pbc, compute_stress=True)
    assert stress.shape == (1, 3, 3) and float(stress.detach().abs().max()) > (
        1e-3)
    assert torch.allclose(stress, stress.mT, atol=1e-12)
    volume, step = torch.linalg.det(cell).abs(), 1e-5
    for i in range(3):
        for j in range(3):
            energies = []
            for sign in (1, -1):
                strain = torch.eye(3, dtype=torch.double)
                strain[i, j] += sign * step / 2
                strain[j, i] += sign * step / 2
                energies.append(potential.energy(z, pos @ strain, None,
                                                 cell @ strain, pbc))
            slope = (energies[0] - energies[1]) / (2 * step) / volume
            assert abs(float(slope - stress[0, i, j])) < 1e-6


def test_forces_are_the_slope_of_the_energy(potential):
    z, pos, cell, pbc = crystal()
    _, forces, stress = potential(z, pos, None, cell, pbc)
    assert stress is None
    pos.requires_grad_()
    slope, = torch.autograd.grad(
        potential.energy(z, pos, None, cell, pbc).sum(), pos)
    assert torch.allclose(forces, -slope)


def test_rotations(potential):
    z, pos, cell, pbc = crystal()
    q = random_orthogonal(3)
    energy, forces, stress = potential(z, pos, None, cell, pbc, True)
    outputs = potential(z, pos @ q, None, cell @ q, pbc, True)
    assert torch.allclose(outputs[0], energy)
    assert torch.allclose(outputs[1], forces @ q, atol=1e-10)
    assert torch.allclose(outputs[2], q.t() @ stress @ q, atol=1e-10)


def test_batches_of_crystals_and_molecules(potential):
    graphs = [crystal(5), crystal(4, (True, False, False)), crystal(3)]
    graphs[2] = (*graphs[2][:2], torch.zeros(3, 3).double(),
                 torch.zeros(3, dtype=torch.bool))
    z = torch.cat([graph[0] for graph in graphs])
    pos = torch.cat([graph[1] for graph in graphs])
    batch = torch.tensor([0] * 5 + [1] * 4 + [2] * 3)
    cell = torch.stack([graph[2] for graph in graphs])
    pbc = torch.stack([graph[3] for graph in graphs])
    order = torch.randperm(12)
    energy, forces, stress = potential(z[order], pos[order], batch[order],
                                       cell, pbc, True)
    singles = [potential(*graph[:2], None, *graph[2:], index < 2)
               for index, graph in enumerate(graphs)]
    assert torch.allclose(energy, torch.cat([single[0] for single in singles]))
    expected = torch.cat([single[1] for single in singles])[order]
    assert torch.allclose(forces, expected, atol=1e-10)
    for index in range(2):
        assert torch.allclose(stress[index], singles[index][2][0], atol=1e-10)
    assert not stress[2].any()
    assert torch.allclose(potential.energy(z, pos, batch, cell, pbc), energy)
    # A molecule is the same with and without a cell that is not periodic:
    alone = potential(*graphs[2][:2])
    assert torch.allclose(alone[0], singles[2][0])


def test_energies_of_atoms(potential):
    z, pos, cell, pbc = crystal()
    sites = potential.site_energies(z, pos, None, cell, pbc)
    assert sites.shape == (5, )
    assert torch.allclose(sites.sum(), potential.energy(z, pos, None, cell,
                                                        pbc))
    batch = torch.tensor([0, 1, 0, 1, 1])
    sites = potential.site_energies(z, pos, batch)
    sums = torch.stack([sites[batch == 0].sum(), sites[batch == 1].sum()])
    assert torch.allclose(sums, potential.energy(z, pos, batch))


def test_neighbor_lists_that_are_known(potential):
    z, pos, cell, pbc = crystal()
    edge_index, edge_shift = neighbor_list(pos, 2.5, None, cell, pbc)
    expected = potential(z, pos, None, cell, pbc, True)
    outputs = potential(z, pos, None, cell, pbc, True, edge_index=edge_index,
                        edge_shift=edge_shift)
    for value, other in zip(outputs, expected):
        assert torch.equal(value, other)


def test_stress_can_be_trained_on(potential):
    z, pos, cell, pbc = crystal()
    parameter = dict(potential.named_parameters())['model.embedding.weight']
    row = int(z[1])

    def loss():
        energy, forces, stress = potential(z, pos, None, cell, pbc, True)
        return stress.square().sum() + forces[0, 0] + energy.sum()

    gradient, = torch.autograd.grad(loss(), parameter)
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            parameter[row, 2] += sign * 1e-5
            values.append(loss())
            parameter[row, 2] -= sign * 1e-5
    slope = (values[0] - values[1]) / 2e-5
    assert torch.allclose(gradient[row, 2], slope, rtol=1e-5, atol=1e-8)


@pytest.mark.compile
@pytest.mark.slow
def test_compiled_stress_is_eager_stress():
    eager = vector_sake().double()
    compiled = copy.deepcopy(eager)
    compiled.compile()
    for num_atoms in (30, 40):
        z, pos, cell, pbc = crystal(num_atoms)
        cell, pos = 2 * cell, 2 * pos
        outputs = compiled(z, pos, None, cell, pbc, True)
        expected = eager(z, pos, None, cell, pbc, True)
        for value, other in zip(outputs, expected):
            assert torch.allclose(value, other, rtol=1e-9, atol=1e-9)
        for potential, values in ((eager, expected), (compiled, outputs)):
            potential.zero_grad()
            (values[0].sum() + values[1].square().sum() +
             values[2].square().sum()).backward()
        for value, other in zip(compiled.parameters(), eager.parameters()):
            assert torch.allclose(value.grad, other.grad, rtol=1e-7, atol=1e-7)
    assert compiled.compiled


def test_gradient_with_respect_to_the_cell():
    z, pos, cell, pbc = crystal()
    potential = vector_sake().double()
    _, _, stress = potential(z, pos, None, cell, pbc, True)
    # With fractional coordinates held fixed:
    fractional = pos @ torch.linalg.inv(cell)
    cell.requires_grad_()
    slope, = torch.autograd.grad(
        potential.energy(z, fractional @ cell, None, cell, pbc).sum(), cell)
    virial = stress[0] * torch.linalg.det(cell.detach()).abs()
    assert torch.allclose(cell.detach().t() @ slope, virial, atol=1e-10)


def test_bad_input():
    z, pos, cell, pbc = crystal()
    potential = vector_sake().double()
    with pytest.raises(ValueError, match="'compute_stress' needs a 'cell'"):
        potential(z, pos, compute_stress=True)
    with pytest.raises(ValueError, match="'pbc' needs a 'cell'"):
        potential(z, pos, pbc=pbc)
    with pytest.raises(ValueError, match="'cell' must have a volume"):
        potential(z, pos, None, 0 * cell, pbc)
    cell[2] = 0.0
    open_pbc = torch.tensor([True, True, False])
    potential(z, pos, None, cell, open_pbc)
    with pytest.raises(ValueError, match="must have a volume for the stress"):
        potential(z, pos, None, cell, open_pbc, compute_stress=True)
    with pytest.raises(ValueError, match="must have a volume for the stress"):
        potential(z, pos, None, 0 * cell, ~pbc, compute_stress=True)
    _, _, cell, _ = crystal()
    with pytest.raises(ValueError, match="'cell' must have shape"):
        potential(z, pos, None, cell.expand(2, 3, 3), pbc)
    other = Potential(SchNet(8, 8, 1, 5, interaction_graph=lambda pos, batch: (
        None, None)))
    with pytest.raises(TypeError, match='RadiusInteractionGraph'):
        other(z, pos, None, cell, pbc)
    own_graph = SAKE(8, num_layers=1,
                     interaction_graph=lambda pos, batch: (None, None))
    with pytest.raises(ValueError, match="'interaction_graph' of its own"):
        Potential(own_graph.double())(z, pos, None, cell, pbc)
    with pytest.raises(ValueError, match="'cutoff' must be given"):
        Potential(SAKE(8, num_layers=1, cutoff=None).double())(
            z, pos, None, cell, pbc)
    with pytest.raises(ValueError, match="must sum over atoms"):
        Potential(SAKE(8, num_layers=1, readout='mean').double()
                  ).site_energies(z, pos)


def test_models_take_cells():
    z, pos, cell, pbc = crystal()
    model = VectorSAKE(8, num_layers=1, num_rbf=5, cutoff=2.5).double()
    energy = Potential(model).energy(z, pos, None, cell, pbc)
    assert torch.equal(model(z, pos, cell=cell, pbc=pbc).squeeze(1), energy)


def test_derivatives_of_the_stress_with_respect_to_the_cell(potential):
    z, pos, cell, pbc = crystal()
    fractional = pos @ torch.linalg.inv(cell)

    def stress(cell):
        return potential(z, fractional @ cell, None, cell, pbc,
                         compute_stress=True)[2][0]

    slopes = torch.autograd.functional.jacobian(stress, cell)
    assert slopes.abs().max() > 1e-3
    for i, j in ((0, 0), (1, 2), (2, 2)):
        step = torch.zeros_like(cell)
        step[i, j] = 1e-5
        expected = (stress(cell + step) - stress(cell - step)) / 2e-5
        assert torch.allclose(slopes[..., i, j], expected, atol=1e-7)
    with torch.no_grad():
        assert not stress(cell.requires_grad_()).requires_grad


@pytest.mark.parametrize('build', [sake, vector_sake])
@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_half_precision_in_a_cell(build, dtype):
    z, pos, cell, pbc = crystal()
    potential = build()
    expected = potential.energy(z, pos.float(), None, cell.float(), pbc)
    energy = potential.to(dtype).energy(z, pos.to(dtype), None,
                                        cell.to(dtype), pbc)
    assert energy.dtype == dtype
    assert torch.allclose(energy.float(), expected, rtol=0.1, atol=0.1)
    stress = potential(z, pos.to(dtype), None, cell.to(dtype), pbc,
                       compute_stress=True)[2]
    assert stress.dtype == dtype and stress.isfinite().all()
