"""An isolated atom has exactly its reference energy, in every model."""

import copy
import pickle
from contextlib import nullcontext

import pytest
import torch
from torch.optim.swa_utils import AveragedModel
from torch_geometric.nn.models import SchNet

from torch_sake import (
    SAKE,
    BondEnergy,
    Ensemble,
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    ZBLRepulsion,
    neighbor_list,
)
from torch_sake.testing import (
    assert_batch_independent,
    assert_equivariant_forces,
    assert_extensive,
    assert_forces_match_energy,
    assert_smooth_at_cutoff,
    assert_stress_matches_energy,
)

CUTOFF = 2.5
Z = torch.tensor([8, 1, 1, 6, 1, 1, 1, 1])
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
ELEMENTS = [1, 6, 8]
ENERGIES = -13.6 * torch.arange(100.0).double()**2


class OwnModel(torch.nn.Module):
    """A model of a user, which finds its edges by itself."""
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(100, 8)
        self.mlp = torch.nn.Sequential(
            torch.nn.Linear(9, 8), torch.nn.SiLU(), torch.nn.Linear(8, 1))

    def forward(self, z, pos, batch, charge=None):
        row, col = neighbor_list(pos, CUTOFF, batch)[0]
        dist = (pos[row] - pos[col]).norm(dim=1) / CUTOFF
        weight = (1 - dist.square()).clamp(min=0)**3
        around = torch.zeros_like(pos[:, 0]).index_add(0, col, weight)
        out = self.mlp(torch.cat([self.embedding(z), around[:, None]], 1))
        out = out.new_zeros(int(batch.max()) + 1, 1).index_add(0, batch, out)
        return out if charge is None else out * (1 + charge.view(-1, 1))


def sake(**options):
    return SAKE(8, num_layers=2, heads=2, num_rbf=5, cutoff=CUTOFF, **options)


def vector_sake(**options):
    return VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=CUTOFF, **options)


def schnet():
    return SchNet(8, 8, 2, 5,
                  interaction_graph=RadiusInteractionGraph(CUTOFF),
                  atomref=torch.randn(100, 1), mean=-1.0, std=2.0)


def build(kind, elements=ELEMENTS, **options):
    return Potential(kind(), 2.0, ENERGIES, isolated_atoms=elements,
                     **options).double()


@pytest.fixture(params=[sake, vector_sake, schnet, OwnModel],
                ids=lambda kind: kind.__name__)
def potential(request):
    return build(request.param)


@pytest.fixture
def pos():
    return 1.2 * torch.randn(8, 3).double()


def assert_exact(potential, elements=ELEMENTS, atol=1e-10):
    """Alone, several alone, and together but out of reach."""
    z = torch.tensor(elements)
    pos = 50 * torch.randn(len(z), 3).double().to(
        next(potential.parameters()).dtype)
    references = ENERGIES[z]
    for context in (nullcontext(), torch.no_grad(), torch.inference_mode()):
        with context:
            for number in range(len(z)):
                one = z[number:number + 1], pos[number:number + 1]
                for energy in (potential(*one)[0], potential.energy(*one)):
                    assert abs(energy - references[number]) <= atol
                assert not potential(*one)[1].any()
            energy = potential.energy(z, pos, torch.arange(len(z)))
            assert (energy - references).abs().max() <= atol
            far = torch.arange(len(z))[:, None] * torch.tensor(
                [[10.0 * CUTOFF, 0, 0]]).to(pos)
            energy, forces, _ = potential(z, far)
            assert abs(energy - references.sum()) <= atol
            assert not forces.any()


def test_isolated_atoms(potential):
    plain = Potential(potential.model, 2.0, ENERGIES).double()
    with pytest.raises(AssertionError):
        assert_exact(plain)
    assert_exact(potential)


@pytest.mark.parametrize('kind', [sake, vector_sake, schnet, OwnModel])
def test_single_precision(kind):
    potential = build(kind).float()
    assert_exact(potential, atol=2e-5)
    assert potential.atomic_energies.dtype == torch.double


def test_formula(potential, pos):
    model = potential.model
    expected = 2.0 * model(Z, pos, BATCH).squeeze(1) + torch.tensor(
        [ENERGIES[Z[:3]].sum(), ENERGIES[Z[3:]].sum()])
    for index, number in enumerate(Z.tolist()):
        alone = model(torch.tensor([number]), torch.zeros(1, 3).double(),
                      torch.tensor([0])).squeeze()
        expected[BATCH[index]] -= 2.0 * alone
    energy, forces, _ = potential(Z, pos, BATCH)
    assert torch.allclose(energy, expected, rtol=0, atol=1e-9)
    # A constant has no forces:
    plain = Potential(model, 2.0, ENERGIES).double()
    assert torch.allclose(forces, plain(Z, pos, BATCH)[1], atol=1e-12)
    with torch.no_grad():
        assert torch.allclose(potential(Z, pos, BATCH)[0], energy)
        assert torch.allclose(potential(Z, pos, BATCH)[1], forces)
        assert torch.allclose(potential.energy(Z, pos, BATCH), energy)
    references = potential.references(Z, pos, BATCH, 2)
    assert torch.equal(references, plain.references(Z, pos, BATCH, 2))


def test_other_elements_are_as_before(potential, pos):
    plain = Potential(potential.model, 2.0, ENERGIES).double()
    z = torch.tensor([7, 9])
    assert torch.allclose(potential.energy(z, pos[:2]),
                          plain.energy(z, pos[:2]), rtol=0, atol=1e-9)
    z = torch.tensor([7, 1])
    change = potential.energy(z, pos[:2]) - plain.energy(z, pos[:2])
    hydrogen = plain.energy(z[1:], pos[:1]) - ENERGIES[1]
    assert torch.allclose(change, -hydrogen, rtol=0, atol=1e-9)


def test_assertions(potential, pos):
    assert_equivariant_forces(potential, Z, pos, BATCH)
    assert_forces_match_energy(potential, Z, pos, BATCH)
    assert_batch_independent(potential, [
        (Z[:3], pos[:3]), (Z[3:], pos[3:]), (Z[:1], pos[:1])])
    assert_extensive(potential, Z[:3], pos[:3], Z[3:], pos[3:],
                     atol=1e-9)
    assert_extensive(potential, Z[:1], pos[:1], Z[3:], pos[3:], atol=1e-9)


@pytest.mark.parametrize('kind', [sake, vector_sake])
def test_last_neighbor(kind):
    """Smooth, up to what is left: the references."""
    for seed in range(3):
        torch.manual_seed(seed)
        potential = build(kind)
        z, pos = torch.tensor([8, 1]), torch.zeros(2, 3).double()
        pos[1, 0] = 1.0
        assert_smooth_at_cutoff(potential, z, pos, cutoff=CUTOFF)
        pos[1, 0] = CUTOFF + 1e-3
        assert abs(potential.energy(z, pos) - ENERGIES[z].sum()) < 1e-9
        pos[1, 0] = CUTOFF - 1e-3
        assert abs(potential.energy(z, pos) - ENERGIES[z].sum()) < 1e-6
        pos[1, 0] = 0.5 * CUTOFF
        assert abs(potential.energy(z, pos) - ENERGIES[z].sum()) > 1e-6


@pytest.mark.parametrize('kind', [sake, vector_sake, schnet])
def test_energies_of_atoms(kind, pos):
    potential = build(kind)
    sites = potential.site_energies(Z, pos, BATCH)
    energy = potential.energy(Z, pos, BATCH)
    assert sites.shape == (8, )
    assert torch.allclose(sites[:3].sum(), energy[0], rtol=0, atol=1e-9)
    assert torch.allclose(sites[3:].sum(), energy[1], rtol=0, atol=1e-9)
    far = 10 * CUTOFF * torch.arange(8.0).double()[:, None] * torch.ones(3)
    assert torch.allclose(potential.site_energies(Z, far), ENERGIES[Z],
                          rtol=0, atol=1e-9)


@pytest.mark.parametrize('kind', [sake, vector_sake, schnet])
def test_cells(kind, pos):
    potential = build(kind)
    cell = 4.0 * torch.eye(3).double() + 0.2 * torch.randn(3, 3).double()
    assert_stress_matches_energy(potential, Z, pos, cell)
    cells = torch.stack([cell, torch.zeros_like(cell), 9 * cell, 9 * cell])
    pbc = torch.tensor([[True] * 3, [False] * 3, [True] * 3, [True] * 3])
    z = torch.cat([Z, Z[:1]])
    pos = torch.cat([pos, pos[:1]])
    batch = torch.cat([BATCH, torch.tensor([2])])
    # The third is one atom, the last one has none:
    if kind is schnet:  # which does not see the last one
        cells, pbc = cells[:3], pbc[:3]
    energy, forces, stress = potential(z, pos, batch, cells, pbc, True)
    assert len(energy) == len(stress) == len(cells)
    assert abs(energy[2] - ENERGIES[8]) < 1e-9 and not energy[3:].any()
    assert not forces[8].any() and not stress[1:].any()
    single = potential(Z[:3], pos[:3], None, cell, None, True)
    assert torch.allclose(energy[:1], single[0], rtol=0, atol=1e-9)
    assert torch.allclose(forces[:3], single[1])
    assert torch.allclose(stress[:1], single[2])


def test_nothing(potential):
    if isinstance(potential.model, OwnModel):
        return
    none = torch.empty(0, dtype=torch.long), torch.empty(0, 3).double()
    assert potential.energy(*none).tolist() == [0]


def test_derivatives(potential, pos):
    """Of energies and forces, with respect to parameters, and once more."""
    if isinstance(potential.model, OwnModel):
        pos = 0.5 * pos  # within reach of each other
    parameters = [parameter for name, parameter in
                  potential.named_parameters() if 'bias' in name][-3:]
    before = [parameter.detach().clone() for parameter in parameters]

    def loss(*values):
        named = dict(potential.named_parameters())
        values = {name: value for name, parameter in named.items()
                  for value, own in zip(values, parameters)
                  if own is parameter}
        energy, forces, _ = torch.func.functional_call(
            potential, values, (Z, pos, BATCH))
        return energy / 10, forces

    assert torch.autograd.gradcheck(loss, parameters)
    assert torch.autograd.gradgradcheck(loss, parameters)
    assert all(map(torch.equal, before, parameters))

    def by_position(pos):
        energy, forces, _ = potential(Z, pos, BATCH)
        return energy, forces

    pos = pos.clone().requires_grad_()
    assert torch.autograd.gradcheck(by_position, pos)


def test_a_constant_is_not_learned(potential, pos):
    """What a model says of every atom, it says of those alone."""
    if isinstance(potential.model, (SAKE, VectorSAKE)):
        bias = potential.model.mlp_out[-1].bias
    elif isinstance(potential.model, OwnModel):
        bias = potential.model.mlp[-1].bias
    else:
        bias = potential.model.lin2.bias
    energy = potential.energy(Z, pos, BATCH)
    (gradient, ) = torch.autograd.grad(energy.sum(), bias)
    assert gradient.abs().max() < 1e-10


def changes():
    def data(potential):
        for parameter in potential.model.parameters():
            parameter.data.mul_(1.1).add_(0.05)
        return potential

    def in_place(potential):
        with torch.no_grad():
            for parameter in potential.model.parameters():
                parameter.mul_(1.1).add_(0.05)
        return potential

    def by_numpy(potential):
        for parameter in potential.model.parameters():
            parameter.detach().numpy()[...] *= 1.1
        return potential

    def step(potential):
        optimizer = torch.optim.Adam(potential.parameters(), lr=1e-2)
        potential.energy(Z[:3], torch.randn(3, 3).double()).sum().backward()
        optimizer.step()
        return potential

    def load(potential):
        state = {name: value * 1.1 if 'model' in name else value
                 for name, value in potential.state_dict().items()}
        potential.load_state_dict(state)
        return potential

    def assign(potential):
        state = {name: value * 1.1 if 'model' in name else value
                 for name, value in potential.state_dict().items()}
        potential.load_state_dict(state, assign=True)
        return potential

    def inference(potential):
        with torch.inference_mode():
            return in_place(potential)

    def average(potential):
        average = AveragedModel(potential, avg_fn=lambda mean, value, number:
                                0.5 * mean + value)
        for _ in range(3):
            average.update_parameters(potential)
        return average.module

    def copies(potential):
        return data(copy.deepcopy(potential))

    def replaced(potential):
        potential.model = copy.deepcopy(potential.model)
        return data(potential)

    def pickled(potential):
        return data(pickle.loads(pickle.dumps(potential)))

    def types(potential):
        return potential.float().double()

    return [data, in_place, by_numpy, step, load, assign, inference, average,
            copies, replaced, pickled, types]


@pytest.mark.parametrize('change', changes(), ids=lambda call: call.__name__)
@pytest.mark.parametrize('kind', [vector_sake, schnet])
def test_weights_that_change(kind, change, pos):
    """Nothing of the weights before is left, however they change."""
    potential = build(kind)
    assert_exact(potential)
    with torch.no_grad():
        before = potential.energy(Z, pos, BATCH)
    changed = change(potential)
    assert_exact(changed)
    fresh = build(kind)
    fresh.load_state_dict(changed.state_dict())
    with torch.no_grad():
        energy = changed.energy(Z, pos, BATCH)
        assert torch.equal(energy, fresh.energy(Z, pos, BATCH))
    if change.__name__ != 'types':
        assert not torch.allclose(energy, before, rtol=0, atol=1e-8)


def test_many_elements():
    elements = list(range(1, 60))
    potential = build(vector_sake, elements)
    assert potential.isolated_atoms == elements
    assert potential.isolated.choose(Z).tolist() == [1, 2, 6, 8]
    assert potential.isolated.choose(torch.tensor([70])).tolist() == [1, 2]
    assert potential.isolated.choose(Z[:0]).tolist() == elements
    assert_exact(potential, [1, 30, 59])
    few = build(vector_sake)
    few.load_state_dict(potential.state_dict())
    pos = torch.randn(8, 3).double()
    assert torch.allclose(few.energy(Z, pos, BATCH),
                          potential.energy(Z, pos, BATCH), rtol=0, atol=1e-9)
    assert few.isolated.choose(Z).tolist() == ELEMENTS


def test_only_one_element():
    potential = build(vector_sake, [1])
    assert_exact(potential, [1])


def test_integers_of_another_type(pos):
    potential = build(vector_sake)
    energy = potential.energy(Z.int(), pos, BATCH.int())
    assert torch.allclose(energy, potential.energy(Z, pos, BATCH))


def test_prior(pos):
    potential = build(vector_sake, prior=ZBLRepulsion(CUTOFF))
    assert_exact(potential)
    plain = build(vector_sake)
    plain.load_state_dict(potential.state_dict())
    pos = 0.5 * pos
    repulsion = potential.energy(Z, pos, BATCH) - plain.energy(Z, pos, BATCH)
    assert (repulsion > 0).any()


def test_layers_are_computed_again(pos):
    potential = build(vector_sake)
    with torch.no_grad():
        expected = potential(Z, pos, BATCH)
        potential.recompute = True
        assert_exact(potential)
        for value, other in zip(potential(Z, pos, BATCH)[:2], expected):
            assert torch.allclose(value, other, rtol=0, atol=1e-10)


def test_ensemble():
    ensemble = Ensemble([build(vector_sake) for _ in range(2)])
    assert_exact(ensemble)


def test_further_arguments(pos):
    """Those are not for the atoms alone, whose number is not theirs."""
    potential = build(OwnModel)
    charge = torch.tensor([0.5, -2.0])
    energy = potential.energy(Z, pos, BATCH, charge=charge)
    difference = (potential.energy(Z, pos, BATCH)
                  - potential.references(Z, pos, BATCH, 2))
    alone = potential.model(Z, torch.zeros_like(pos), torch.arange(8))
    charged = 2.0 * torch.zeros(2).double().index_add(
        0, BATCH, alone.squeeze(1)) * charge
    expected = (difference * (1 + charge) + charged
                + potential.references(Z, pos, BATCH, 2))
    assert torch.allclose(energy, expected, rtol=0, atol=1e-9)
    # A graph of edges, which the model of the user takes from elsewhere:
    potential = build(schnet)
    index, shift = neighbor_list(pos, CUTOFF, BATCH)
    assert torch.allclose(
        potential.energy(Z, pos, BATCH, edge_index=index, edge_shift=shift),
        potential.energy(Z, pos, BATCH))


def test_vmap_over_positions():
    potential = build(lambda: VectorSAKE(8, num_layers=2, cutoff=None))
    many = torch.randn(5, 8, 3).double()
    energies = torch.func.vmap(
        lambda pos: potential.energy(Z, pos))(many).squeeze(1)
    assert torch.allclose(energies, torch.cat(
        [potential.energy(Z, pos) for pos in many]))


def test_without_memory():
    with torch.device('meta'):
        potential = build(vector_sake)
    potential.to_empty(device='cpu')
    potential.load_state_dict(build(vector_sake).state_dict())
    assert_exact(potential)


def test_memory_of_loaded_weights():
    potential = build(vector_sake)
    empty = copy.deepcopy(potential).to('meta')
    empty.load_state_dict(potential.state_dict(), assign=True)
    state = {'charge': torch.zeros(1), 'spin': torch.ones(1)}
    empty.energy(Z[:1], torch.zeros(1, 3).double(), **state)
    assert_exact(empty)


@pytest.mark.parametrize('options, error, match', [
    (dict(isolated_atoms=[]), ValueError, "'isolated_atoms' must be atomic"),
    (dict(isolated_atoms=[0]), ValueError, "'isolated_atoms' must be atomic"),
    (dict(isolated_atoms=[100]), ValueError, 'numbers from 1 to 99'),
    (dict(isolated_atoms=['H']), TypeError, "'isolated_atoms' must be integ"),
    (dict(isolated_atoms=[1.0]), TypeError, "'isolated_atoms' must be integ"),
    (dict(isolated_atoms=[1], atomic_energies=None), ValueError,
     "'isolated_atoms' needs 'atomic_energies'"),
    (dict(isolated_atoms=[1], model=sake(readout='mean')), ValueError,
     "'isolated_atoms' needs a model that sums over atoms"),
    (dict(isolated_atoms=[1], model=sake(readout='dipole')), ValueError,
     "'isolated_atoms' needs a model that sums over atoms"),
    (dict(isolated_atoms=[1], model=SchNet(8, 8, 2, 5, readout='mean')),
     ValueError, "'isolated_atoms' needs a model that sums over atoms"),
    (dict(isolated_atoms=[1], model=SchNet(8, 8, 2, 5, dipole=True)),
     ValueError, "'isolated_atoms' needs a model that sums over atoms"),
], ids=str)
def test_wrong_arguments(options, error, match):
    with pytest.raises(error, match=match):
        Potential(**{**dict(model=sake(), atomic_energies=ENERGIES),
                     **options})


def test_models_that_forget_graphs():
    potential = Potential(
        lambda z, pos, batch: pos.square().sum().view(1), 1.0, ENERGIES,
        isolated_atoms=[1])
    with pytest.raises(ValueError, match="'model' must return 2 energies"):
        potential.energy(Z[1:2], torch.zeros(1, 3))


@pytest.mark.compile
@pytest.mark.slow
def test_compiled(pos, recwarn):
    """Of many elements, of which those are chosen that are there, and with
    the energies of bonds.
    """
    eager = build(vector_sake, list(range(1, 20)),
                  prior=BondEnergy(0.1 * ENERGIES, CUTOFF))
    compiled = copy.deepcopy(eager)
    compiled.compile()

    def results(potential, z):
        potential.zero_grad()
        energy, forces, _ = potential(z, pos, BATCH)
        (energy.sum() / 100 + forces.square().sum()).backward()
        yield from (energy, forces)
        yield from (parameter.grad for parameter in potential.parameters()
                    if parameter.grad is not None)
        with torch.no_grad():
            yield from potential(z, pos, BATCH)[:2]

    for _ in range(2):
        for z in (Z, torch.tensor([7, 9, 7, 1, 1, 3, 3, 1])):
            for value, expected in zip(list(results(compiled, z)),
                                       list(results(eager, z))):
                assert torch.allclose(value, expected, rtol=1e-9, atol=1e-9)
        # Weights that change are those of the next call:
        for potential in (eager, compiled):
            for parameter in potential.model.parameters():
                parameter.data.mul_(1.05).add_(0.01)
    with torch.no_grad():
        energy, forces, _ = compiled(torch.tensor(ELEMENTS), pos[:3],
                                     torch.arange(3))
    assert torch.allclose(energy, ENERGIES[ELEMENTS], rtol=0, atol=1e-9)
    assert not forces.any()
    assert compiled.compiled and not [
        one for one in recwarn if 'Compilation failed' in str(one.message)]


def test_calculators():
    ase = pytest.importorskip('ase')
    from torch_sake.calculators import SAKECalculator
    potential = build(vector_sake).float()
    calculator = SAKECalculator(potential)
    for number in ELEMENTS:
        atoms = ase.Atoms([number], [[1.0, 2.0, 3.0]], calculator=calculator)
        assert abs(atoms.get_potential_energy() - ENERGIES[number]) < 1e-4
    atoms = ase.Atoms('OH', [[0, 0, 0], [0, 0, 2 * CUTOFF]],
                      calculator=calculator)
    expected = float(ENERGIES[8] + ENERGIES[1])
    assert abs(atoms.get_potential_energy() - expected) < 1e-4
    # The weights change, and so does nothing here:
    for parameter in potential.model.parameters():
        parameter.data.add_(0.1)
    atoms.positions += 1e-3
    assert abs(atoms.get_potential_energy() - expected) < 1e-4
