"""What a single potential says of its own errors."""

import copy
import warnings

import pytest
import torch

from torch_sake import (
    SAKE,
    BondEnergy,
    Ensemble,
    Potential,
    VectorSAKE,
    ZBLRepulsion,
)
from torch_sake.checkpoint import load_checkpoint, save_checkpoint
from torch_sake.potentials.bonds import Priors
from torch_sake.potentials.load import load_potential, load_trained
from torch_sake.potentials.uncertainty import Rigidity, factorize

Z = torch.tensor([8, 1, 1, 6, 1])
BATCH = torch.tensor([0, 0, 0, 1, 1])
ARGUMENTS = {'hidden_channels': 8, 'num_layers': 2, 'num_rbf': 5,
             'cutoff': 2.5}


def random_rigidity(elements=(1, 6, 8), num_features=9, has_forces=True):
    rigidity = Rigidity(list(elements), num_features, has_forces)
    f = torch.randn(len(elements), 20, num_features, dtype=torch.double)
    rigidity.factors = factorize(f.mT @ f, torch.full(
        (len(elements), ), 20.0, dtype=torch.double), 1e-4)
    rigidity.scales = torch.rand(len(elements), 2, dtype=torch.double) + 0.1
    return rigidity


def build(model=VectorSAKE, **settings):
    return Potential(model(**ARGUMENTS), 0.7, torch.randn(100),
                     rigidity=random_rigidity(), **settings)


@pytest.fixture
def pos():
    return 1.2 * torch.randn(5, 3)


def test_dense_computation():
    """Products of matrices, written down as the formulas are."""
    elements, number = [1, 8], 4
    f = torch.randn(2, 30, number, dtype=torch.double)
    counts = torch.tensor([30.0, 5.0], dtype=torch.double)
    f[1, 5:] = 0.0
    moments = f.mT @ f
    rigidity = Rigidity(elements, number)
    rigidity.factors = factorize(moments, counts, 1e-3)
    rigidity.scales = torch.rand(2, 2, dtype=torch.double)
    z = torch.tensor([8, 1, 1, 8, 8])
    x = torch.randn(5, number, dtype=torch.double)
    batch = torch.tensor([0, 0, 1, 1, 1])
    out = rigidity(z, x, batch, 2)
    mean = moments.sum(0) / 35
    for atom in range(5):
        row = elements.index(int(z[atom]))
        c = (moments[row] + number * mean) / (counts[row] + number)
        c = c + 1e-3 * c.trace() / number * torch.eye(number).double()
        q = x[atom] @ torch.linalg.inv(c) @ x[atom]
        assert float(rigidity.distances(z, x)[atom]) == pytest.approx(
            float(q), rel=1e-9)
        assert float(out.atoms[atom]) == pytest.approx(
            float(rigidity.scales[row, 1] * q), rel=1e-9)
        assert float(out.forces[atom]) == pytest.approx(
            float(3**0.5 * rigidity.scales[row, 0] * q), rel=1e-9)
    for graph in range(2):
        assert float(out.energy[graph]) == pytest.approx(
            float(out.atoms[batch == graph].norm()), rel=1e-9)


def test_chunks_are_one_computation(monkeypatch):
    import torch_sake.potentials.uncertainty as module
    rigidity = random_rigidity()
    z, x = Z.repeat(4), torch.randn(20, 9)
    whole = rigidity.distances(z, x)
    monkeypatch.setattr(module, 'CHUNK', 3)
    assert torch.allclose(rigidity.distances(z, x), whole, rtol=1e-12)
    assert rigidity.distances(z[:0], x[:0]).shape == (0, )


def test_unknown_elements_are_infinitely_uncertain():
    out = random_rigidity((1, 6))(Z, torch.randn(5, 9), BATCH, 2)
    assert out.forces.isinf().tolist() == [True, False, False, False, False]
    assert out.energy.isinf().tolist() == [True, False]


def test_unknown_forces():
    out = random_rigidity(has_forces=False)(Z, torch.randn(5, 9), None, 1)
    assert bool(out.forces.isnan().all()) and bool(out.energy.isfinite().all())


def features_of(potential, *inputs):
    """Those of the last layer, and a constant."""
    x = potential.model.encode(*inputs).detach()
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)


@pytest.mark.parametrize('element', [1, 6, 8])
@pytest.mark.parametrize('has_others', [False, True])
def test_isolated_atoms_are_certain(element, has_others):
    """Their energies are exact, alone and far from others, and what is
    about to be alone is almost certain.
    """
    potential = build(isolated_atoms=[1, 6, 8]).double()
    cutoff = ARGUMENTS['cutoff']

    def std(dist):
        z = torch.tensor([element, 8] if has_others else [element])
        pos = torch.zeros(len(z), 3).double()
        pos[1:, 0] = dist
        found = potential.uncertainty(z, pos)
        return float(found.atoms[0]), float(found.forces[0])

    assert max(std(2 * cutoff)) < 1e-12
    if has_others:
        assert min(std(0.5 * cutoff)) > 1e-3
        assert max(std(0.999 * cutoff)) < 1e-4
    plain = build().double().uncertainty(torch.tensor([element]),
                                         torch.zeros(1, 3).double())
    assert float(plain.atoms) > 1e-3


@pytest.mark.parametrize('model', [SAKE, VectorSAKE])
@pytest.mark.parametrize('isolated', [None, [1, 6, 8]])
def test_one_pass_or_several(pos, model, isolated):
    potential = build(model, isolated_atoms=isolated).double()
    pos = pos.double()
    x = features_of(potential, Z, pos, BATCH)
    if isolated:
        x = x - features_of(potential, Z, torch.zeros_like(pos),
                            torch.arange(len(Z)))
    expected = potential.rigidity(Z, x, BATCH, 2)
    apart = potential.uncertainty(Z, pos, BATCH)
    for one, other in zip(apart, expected):
        assert torch.allclose(one, other, rtol=1e-10)
    energy, std = potential.energy_statistics(Z, pos, BATCH)
    assert torch.equal(std, apart.energy)
    for context in (torch.enable_grad(), torch.no_grad(),
                    torch.inference_mode()):
        with context:
            plain = potential(Z, pos, BATCH)
            out = potential.statistics(Z, pos, BATCH)
        assert torch.allclose(out.energy, plain[0], rtol=1e-12)
        assert torch.allclose(out.forces, plain[1], rtol=1e-10, atol=1e-12)
        assert torch.allclose(out.energy, energy, rtol=1e-12)
        assert torch.allclose(out.energy_std, apart.energy, rtol=1e-9)
        assert torch.allclose(out.forces_std.norm(dim=1), apart.forces,
                              rtol=1e-9)
        assert not out.energy_std.requires_grad


def test_single_graph_cell_and_stress(pos):
    potential = build().double()
    cell = 6 * torch.eye(3).double()
    inputs = dict(z=Z, pos=pos.double(), cell=cell, pbc=torch.ones(3).bool())
    out = potential.statistics(**inputs, compute_stress=True)
    energy, forces, stress = potential(**inputs, compute_stress=True)
    assert torch.allclose(out.stress, stress, rtol=1e-10)
    assert torch.allclose(out.energy_std, potential.uncertainty(
        **inputs).energy, rtol=1e-10)
    potential.recompute = True
    with torch.no_grad():
        again = potential.statistics(**inputs, compute_stress=True)
    for one, other in zip(again, out):
        assert torch.allclose(one, other, rtol=1e-8)


def test_single_precision_keeps_digits(pos):
    potential = build()
    exact = copy.deepcopy(potential).double()
    half = copy.deepcopy(exact).float()
    assert half.rigidity.factors.dtype == torch.double
    assert torch.equal(half.rigidity.factors, exact.rigidity.factors)
    out, found = (one.uncertainty(Z, pos.to(dtype), BATCH) for one, dtype in
                  ((half, torch.float), (exact, torch.double)))
    assert torch.allclose(out.energy, found.energy, rtol=1e-3)


def test_none_is_said_in_one_line(pos):
    potential = Potential(VectorSAKE(8, num_layers=1))
    assert not potential.has_uncertainty
    for name in ('statistics', 'uncertainty', 'energy_statistics'):
        with pytest.raises(ValueError, match="no uncertainties, as its "
                           "checkpoint has none: 'torch_sake.fit_"):
            getattr(potential, name)(Z, pos)


def test_models_without_features():
    for model, error, words in (
            (lambda z, pos, batch: pos.sum(), TypeError, 'SAKE or VectorSAKE'),
            (SAKE(8, num_layers=1, readout='mean'), TypeError,
             'with a sum over atoms'),
            (SAKE(16, num_layers=1), ValueError, 'must be of 17 features')):
        with pytest.raises(error, match=words):
            Potential(model, rigidity=random_rigidity())
    with pytest.raises(TypeError, match="'rigidity' must be a Rigidity"):
        Potential(SAKE(8, num_layers=1), rigidity=torch.nn.Linear(1, 1))


def test_ensembles_have_the_same_calls(pos):
    members = [build().double() for _ in range(3)]
    ensemble, pos = Ensemble(members), pos.double()
    assert ensemble.has_uncertainty and ensemble.has_force_uncertainty
    out, found = (ensemble.statistics(Z, pos, BATCH),
                  ensemble.uncertainty(Z, pos, BATCH))
    energies = torch.stack([one.energy(Z, pos, BATCH) for one in members])
    assert torch.allclose(found.energy, energies.std(dim=0), rtol=1e-10)
    assert torch.allclose(found.forces, out.forces_std.norm(dim=1))
    sites = torch.stack([one.site_energies(Z, pos, BATCH) for one in members])
    assert torch.allclose(found.atoms, sites.std(dim=0), rtol=1e-10)
    for one, other in zip(ensemble.energy_statistics(Z, pos, BATCH),
                          (out.energy, out.energy_std)):
        assert torch.allclose(one, other, rtol=1e-10)


class Own(torch.nn.Module):
    def forward(self, z, pos, batch):
        energy = pos.new_zeros(int(batch.max()) + 1)
        return energy.index_add(0, batch, pos.square().sum(dim=1))


def test_ensembles_of_other_models(pos):
    ensemble = Ensemble([Potential(Own()), Potential(Own(), 2.0)])
    found = ensemble.uncertainty(Z, pos, BATCH)
    assert found.atoms is None and bool((found.forces > 0).all())


@pytest.fixture
def checkpoint(tmp_path):
    """Writes a potential, as training runs do."""
    def write(name='a', rigidity=True):
        potential = build()
        path = tmp_path / f'{name}.safetensors'
        description = {
            'kind': 'potential', 'energy_scale': 0.7, 'elements': [1, 6, 8],
            'model': {'name': 'VectorSAKE', 'arguments': ARGUMENTS},
            'units': {'length': 'Angstrom', 'energy': 'eV'}}
        if rigidity:
            description['uncertainty'] = potential.rigidity.description
        else:
            potential.rigidity = None
        save_checkpoint(path, {
            f'potential.{key}': value
            for key, value in potential.state_dict().items()}, description)
        return str(path), potential
    return write


def test_checkpoints(checkpoint, pos):
    path, potential = checkpoint()
    loaded = load_potential(path)
    for one, other in zip(loaded.uncertainty(Z, pos, BATCH),
                          potential.uncertainty(Z, pos, BATCH)):
        assert torch.equal(one, other)
    assert loaded.rigidity.factors.dtype == torch.double
    old, _ = checkpoint('old', rigidity=False)
    assert not load_potential(old).has_uncertainty
    ensemble = load_trained([path, old]).potential
    assert bool((ensemble.uncertainty(Z, pos, BATCH).energy > 0).all())


@pytest.mark.parametrize('change, words', [
    ({'elements': [1, 6]}, 'rigidity.factors'),
    ({'elements': [1] * 10**5}, 'rigidity.factors'),
    ({'elements': [0]}, 'uncertainty.elements'),
    ({'has_forces': 'x'}, 'uncertainty.has_forces'),
])
def test_bad_descriptions(checkpoint, change, words):
    path, _ = checkpoint()
    tensors, description = load_checkpoint(path)
    description['uncertainty'].update(change)
    save_checkpoint(path, tensors, description)
    with pytest.raises((TypeError, ValueError), match=words) as error:
        load_potential(path)
    assert path in str(error.value)


@pytest.mark.slow
@pytest.mark.compile
def test_compiled(pos):
    """The features of a compiled pass are those of the other one."""
    potential = build(isolated_atoms=[1, 6, 8])
    with torch.no_grad():
        expected = potential.statistics(Z, pos, BATCH)
        potential.compile()
        out = potential.statistics(Z, pos, BATCH)
        assert potential.compiled
        for one, other in zip(out[:2] + out[3:], expected[:2] + expected[3:]):
            assert torch.allclose(one.double(), other.double(), rtol=1e-3,
                                  atol=1e-5)
    assert torch.allclose(potential.uncertainty(Z, pos, BATCH).energy,
                          out.energy_std, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.compile
def test_compiled_with_priors(fresh_compiler):
    """All that a potential has which is trained anew, in double precision, as
    a long simulation calls it."""
    torch.set_default_dtype(torch.double)
    try:
        prior = Priors([ZBLRepulsion(2.5, scale=0.7),
                        BondEnergy(torch.randn(100), 2.5)])
        potential = Potential(
            VectorSAKE(8, num_layers=1, num_rbf=5, cutoff=2.5), 0.7,
            torch.randn(100), prior=prior, isolated_atoms=[1, 6, 8],
            rigidity=random_rigidity())
    finally:
        torch.set_default_dtype(torch.float)
    near = 0.5 * torch.randn(5, 3, dtype=torch.double)
    cell = {'cell': 6.0 * torch.eye(3, dtype=torch.double),
            'pbc': torch.tensor(3 * [True]), 'compute_stress': True}
    systems = [(Z, near), (Z[:3], 1.5 * near[:3]), (Z, 40.0 * near)]
    # Nuclei are pressed together in the first one, and far apart in the last.
    batch = torch.zeros_like(Z)
    assert prior[0](Z, near, batch)[0] > 1e-3
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings('error', 'Compilation')
        expected = [potential.statistics(*system, **cell)
                    for system in systems]
        potential.compile()
        for system, one in zip(systems, expected):
            other = potential.statistics(*system, **cell)
            for name, value in one._asdict().items():
                found = getattr(other, name)
                assert torch.allclose(value, found, rtol=1e-8, atol=1e-9), name
    assert potential.compiled
