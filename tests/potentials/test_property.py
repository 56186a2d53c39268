import copy

import pytest
import torch
from torch_geometric.nn.models import SchNet

import torch_sake.ops.compilation
from torch_sake import (
    SAKE,
    Potential,
    Property,
    RadiusInteractionGraph,
    VectorSAKE,
)
from torch_sake.models.readout import READOUTS
from torch_sake.testing import assert_equivariant

ase_data = pytest.importorskip('ase.data')

Z = torch.tensor([8, 1, 1, 6, 1, 1, 1, 1, 9])
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1, 2])
REFERENCES = torch.linspace(-5, 5, 100, dtype=torch.double)

ALL = pytest.mark.parametrize('readout', READOUTS)
MODELS = pytest.mark.parametrize('model_class', [SAKE, VectorSAKE])


def build(readout, model_class=SAKE, cutoff=None, scale=3.0):
    """A property in float64, with random weights."""
    options = dict(dipole=True) if readout == 'dipole' else dict(
        readout=readout)
    model = model_class(8, num_layers=2, num_rbf=5, cutoff=cutoff, **options)
    references = None if readout == 'dipole' else REFERENCES
    return Property(model, scale, references, readout, 'y').double()


def positions():
    return 1.5 * torch.randn(9, 3, dtype=torch.double)


def distances(z, pos):
    """Vectors from the center of mass of one molecule."""
    mass = torch.tensor(ase_data.atomic_masses)[z]
    return pos - (mass @ pos / mass.sum())


@ALL
@MODELS
def test_formula(readout, model_class):
    """One molecule at a time, written out."""
    model = build(readout, model_class)
    parts = []
    model.model.mlp_out[-1].register_forward_hook(
        lambda module, args, out: parts.append(out[:, 0].detach()))
    pos = positions()
    out = model(Z, pos, BATCH).detach()
    for graph in range(3):
        chosen = BATCH == graph
        z, q = Z[chosen], parts[0][chosen]
        arm = distances(z, pos[chosen])
        if readout == 'dipole':
            expected = 3 * (q @ arm).norm()
        else:
            value = 3 * q + REFERENCES[z]
            expected = {'add': value.sum(), 'mean': value.mean(),
                        'extent': value @ arm.square().sum(dim=1)}[readout]
        assert torch.isclose(out[graph], expected, rtol=1e-12, atol=1e-12)


@ALL
@MODELS
@pytest.mark.parametrize('cutoff', [None, 3.0])
def test_invariance(readout, model_class, cutoff):
    model, z = build(readout, model_class, cutoff), Z
    pos = positions()
    assert_equivariant(lambda pos, vel: (model(z, pos, BATCH), None, None),
                       pos, atol=1e-9)
    order = torch.randperm(9)
    expected = model(z, pos, BATCH)
    assert torch.allclose(model(z[order], pos[order], BATCH[order]), expected,
                          rtol=0, atol=1e-9)
    alone = [model(z[BATCH == graph], pos[BATCH == graph])
             for graph in range(3)]
    assert torch.allclose(torch.cat(alone), expected, rtol=0, atol=1e-9)


@ALL
@MODELS
def test_gradients(readout, model_class):
    model = build(readout, model_class)
    # Charges and arms of a single atom are zero, and so is its dipole.
    pos = positions()[:8].requires_grad_()
    assert torch.autograd.gradcheck(
        lambda pos: model(Z[:8], pos, BATCH[:8]), pos, atol=1e-6)
    single = torch.zeros(1, 3, dtype=torch.double, requires_grad=True)
    gradient, = torch.autograd.grad(model(Z[8:], single).sum(), single)
    assert not gradient.any()


@pytest.mark.parametrize('readout, factor', [('add', 2), ('mean', 1)])
def test_two_molecules_far_from_each_other(readout, factor):
    z, pos = Z[:3], positions()[:3]
    model = build(readout, cutoff=3.0)
    both = model(torch.cat([z, z]), torch.cat([pos, pos + 100.0]))
    assert torch.allclose(both, factor * model(z, pos), rtol=1e-10)


def test_references_are_what_is_left_without_the_model():
    pos = positions()
    for readout in READOUTS:
        model = build(readout)
        with torch.no_grad():
            for parameter in model.model.mlp_out.parameters():
                parameter.zero_()
        assert torch.equal(model(Z, pos, BATCH),
                           model.references(Z, pos, BATCH, 3))
        rounded = pos.float()
        assert torch.equal(model.references(Z, rounded, BATCH, 3),
                           model.references(Z, rounded.double(), BATCH, 3))


def test_numbers_of_float32_keep_the_digits_of_the_references():
    model = build('add').float()
    model.atomic_energies.fill_(-1e6 + 1e-3)
    with torch.no_grad():
        for parameter in model.model.mlp_out.parameters():
            parameter.zero_()
    out = model(Z[:3], torch.randn(3, 3))
    assert out.dtype == torch.double
    assert float(out) == pytest.approx(-3e6 + 3e-3, rel=1e-15)


@pytest.mark.compile
@pytest.mark.slow
def test_compiled(monkeypatch):
    # Tests of potentials go all the way to machine code.
    monkeypatch.setattr(
        torch_sake.ops.compilation, 'compile_function',
        lambda function: torch.compile(function, dynamic=True, fullgraph=True,
                                       backend='aot_eager'))
    model = build('extent', VectorSAKE)
    pos = positions()
    expected = model(Z, pos, BATCH)
    expected.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    model.compile()
    out = model(Z, pos, BATCH)
    assert model.compiled and torch.allclose(out, expected, atol=1e-10)
    out.sum().backward()
    for parameter, gradient in zip(model.parameters(), gradients):
        assert torch.allclose(parameter.grad, gradient, atol=1e-9)


def test_models_of_others():
    schnet = SchNet(8, 8, 1, 5, dipole=True,
                    interaction_graph=RadiusInteractionGraph())
    model = Property(schnet, 2.0, readout='dipole', name='mu')
    pos = torch.randn(9, 3)
    assert torch.equal(model(Z, pos, BATCH),
                       2 * schnet(Z, pos, BATCH)[:, 0])


def test_pyg_features():
    model = build('extent')
    pos = positions()
    out = model(Z, pos, BATCH)
    assert torch.equal(copy.deepcopy(model)(Z, pos, BATCH), out)
    other = build('extent')
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(Z, pos, BATCH), out)
    assert "y, readout='extent'" in str(model)


def test_moments_have_no_parts_of_atoms():
    for options in (dict(readout='extent'), dict(dipole=True)):
        potential = Potential(SAKE(8, num_layers=1, **options))
        with pytest.raises(ValueError, match="'model' must sum over atoms"):
            potential.site_energies(Z[:3], torch.randn(3, 3))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="'readout' must be one of .*'extent'"
                       r".*\(got 'max'\)"):
        Property(SAKE(8), readout='max')
    with pytest.raises(ValueError, match="'references' must not be given"):
        Property(SAKE(8, dipole=True), 1.0, REFERENCES, 'dipole')
    with pytest.raises(ValueError, match="'readout' must not be 'extent'"):
        SAKE(8, readout='extent', dipole=True)
    with pytest.raises(ValueError, match="'pos' must be finite"):
        build('add')(Z, torch.full((9, 3), torch.nan).double(), BATCH)
