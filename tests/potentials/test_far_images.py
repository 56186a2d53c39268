"""Single precision wherever atoms are: many cells away from each other, or on
both sides of a large box."""
import numpy
import pytest
import torch
from torch_geometric.data import Batch, Data
from torch_geometric.nn.models import SchNet

from torch_sake import (
    SAKE,
    Ensemble,
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    ZBLRepulsion,
)
from torch_sake.evaluation.metrics import predict_batch

CUTOFF = 4.0
TOLERANCE = 2e-6
ETHANOL = torch.tensor([
    [1.17, -0.40, 0.00], [0.00, 0.56, 0.00], [-1.19, -0.22, 0.00],
    [-1.94, 0.39, 0.00], [2.11, 0.15, 0.00], [1.13, -1.04, 0.89],
    [1.13, -1.04, -0.89], [0.04, 1.20, 0.89], [0.04, 1.20, -0.89]],
    dtype=torch.double)


def schnet():
    return SchNet(32, 32, 2, 20, CUTOFF,
                  interaction_graph=RadiusInteractionGraph(CUTOFF))


MODELS = {
    'VectorSAKE': lambda: VectorSAKE(32, num_layers=2, cutoff=CUTOFF),
    # Its layers move the atoms:
    'SAKE': lambda: SAKE(32, num_layers=3, cutoff=CUTOFF),
    'SchNet': schnet,
}


def silicon():
    """A skewed cell of atoms out of place."""
    generator = torch.Generator().manual_seed(0)
    cell = torch.tensor([[5.4, 0, 0], [0.5, 5.3, 0], [0, -0.3, 5.5]],
                        dtype=torch.double)
    pos = torch.rand(8, 3, generator=generator).double() @ cell
    return torch.full((8, ), 14), pos, cell


def moved(pos, cell, cells):
    """The same atoms, each a number of lattice vectors away."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(-cells, cells + 1, pos.shape, generator=generator)
    return pos + images.double() @ cell


def ethanol_in_box(wrapped):
    z = torch.tensor([6, 6, 8, 1, 1, 1, 1, 1, 1])
    cell = 4000.0 * torch.eye(3, dtype=torch.double)
    return z, ETHANOL % 4000.0 if wrapped else ETHANOL + 100.0, cell


PAIRS = {
    'cells': (silicon(), (*silicon()[:1], moved(*silicon()[1:], 3000),
                          silicon()[2])),
    'many cells': (silicon(), (*silicon()[:1], moved(*silicon()[1:], 10**5),
                               silicon()[2])),
    'box': (ethanol_in_box(False), ethanol_in_box(True)),
}


def assert_same(outputs, expected):
    for value, other in zip(outputs, expected):
        assert (value - other).abs().max() < TOLERANCE
    assert expected[1].abs().max() > 1e-3  # there is something to see


@pytest.mark.parametrize('prior', [False, True])
@pytest.mark.parametrize('pair', PAIRS)
@pytest.mark.parametrize('model', MODELS)
def test_potential(model, pair, prior):
    potential = Potential(MODELS[model](),
                          prior=ZBLRepulsion(CUTOFF) if prior else None)
    outputs, exact = [], []
    for z, pos, cell in PAIRS[pair]:
        for out, dtype in ((exact, torch.double), (outputs, torch.float)):
            out.append(potential.to(dtype)(z, pos, cell=cell,
                                           compute_stress=True))
    scale = max(1.0, exact[0][1].abs().max().item())  # ZBL is steep
    assert_same([value / scale for value in outputs[1]],
                [value / scale for value in outputs[0]])
    assert (outputs[0][1] - exact[0][1]).abs().max() < 1e-5 * scale
    for z, pos, cell in PAIRS[pair][1:]:
        sites = potential.site_energies(z, pos, cell=cell)
        assert sites.sum().item() == pytest.approx(
            outputs[1][0].item(), abs=1e-5 * scale)


def test_molecule_far_away():
    # Without a cell, and a model that has its neighbor list of its own:
    z = ethanol_in_box(False)[0]
    for model in (MODELS['VectorSAKE'](), MODELS['SAKE'](), schnet(),
                  SAKE(32, num_layers=2, cutoff=None)):
        potential = Potential(model)
        assert_same(potential(z, ETHANOL + 1e6)[:2],
                    potential(z, ETHANOL)[:2])


@pytest.mark.parametrize('moment', [dict(dipole=True),
                                    dict(readout='extent')])
def test_moments_far_away(moment):
    model = SAKE(32, num_layers=2, cutoff=CUTOFF, **moment)
    z = ethanol_in_box(False)[0]
    near, far = (model(z, ETHANOL + shift) for shift in (0.0, 1e6))
    assert near.dtype == torch.float and abs(float(near)) > 1e-3
    assert abs(float(near - far)) < 1e-4 * abs(float(near))


@pytest.mark.parametrize('model', ['VectorSAKE', 'SAKE'])
def test_training_batches(model):
    # Losses of batches, and their derivatives with respect to weights:
    potential = Potential(MODELS[model]())
    results = []
    for index in (0, 1):
        batch = Batch.from_data_list([
            Data(z=z, pos=pos, cell=cell[None], energy=torch.zeros(1),
                 pbc=torch.ones(1, 3, dtype=torch.bool),
                 force=torch.zeros_like(pos),
                 stress=torch.zeros(1, 3, 3, dtype=torch.double))
            for z, pos, cell in (PAIRS[name][index] for name in PAIRS)])
        outputs = predict_batch(potential, batch)
        loss = sum(value.square().sum() for value in outputs.values())
        gradients = torch.autograd.grad(loss, list(potential.parameters()),
                                        materialize_grads=True)
        results.append((list(outputs.values()), gradients))
    (outputs, gradients), (expected, expected_gradients) = results
    assert_same(outputs, expected)
    for value, other in zip(gradients, expected_gradients):
        assert (value - other).abs().max() <= 1e-4 * max(
            1.0, other.abs().max())


@pytest.mark.compile
@pytest.mark.slow
def test_compiled():
    potential = Potential(MODELS['VectorSAKE']())
    potential.compile()
    with torch.no_grad():
        for _name, (near, far) in PAIRS.items():
            (z, pos, cell), (_, other, _) = near, far
            assert_same(potential(z, other, cell=cell, compute_stress=True),
                        potential(z, pos, cell=cell, compute_stress=True))
    assert potential.compiled


def test_derivatives_with_respect_to_positions():
    # Those of double positions come through in single precision, too.
    potential = Potential(MODELS['VectorSAKE']())
    z, pos, cell = PAIRS['cells'][1]
    pos = pos.clone().requires_grad_()
    energy, forces, _ = potential(z, pos, cell=cell)
    gradient, = torch.autograd.grad(energy.sum(), pos, retain_graph=True)
    assert gradient.dtype == torch.double
    assert (gradient + forces).abs().max() < TOLERANCE
    hessian, = torch.autograd.grad(forces[0, 0], pos)
    assert hessian.sum(dim=0).abs().max() < 1e-5 < hessian.abs().max()


def test_calculators():
    pytest.importorskip('ase')
    from ase import Atoms

    from torch_sake.calculators import SAKECalculator
    potentials = [Potential(MODELS['VectorSAKE']()) for _ in range(2)]
    for potential in (*potentials, Ensemble(potentials)):
        calculator = SAKECalculator(potential, dtype=torch.float)
        for pair in PAIRS.values():
            results = []
            for z, pos, cell in pair:
                atoms = Atoms(z.numpy(), pos.numpy(), cell=cell.numpy(),
                              pbc=True, calculator=calculator)
                results.append((atoms.get_forces(), atoms.get_stress()))
            (forces, stress), (expected, other) = results
            assert numpy.abs(forces - expected).max() < TOLERANCE
            assert numpy.abs(stress - other).max() < TOLERANCE
