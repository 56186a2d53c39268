"""The models of other packages that the learning benchmark trains."""

import pytest
import torch

from torch_sake import Potential
from torch_sake.benchmark import cases, peers
from torch_sake.testing import (
    assert_batch_independent,
    assert_equivariant_forces,
    assert_forces_match_energy,
)

PARAMETERS = {
    'SchNet': 455_809, 'ViSNet': 1_687_398, 'PaiNN': 589_057,
    'TensorNet': 766_337, 'ET': 1_339_906, 'NequIP': 417_920,
    'NequIP-l2': 765_056, 'EGNN': 810_632,
    'MACE-64x0e': 135_952, 'MACE-128x0e+128x1o': 604_432,
}


def graph(elements, spread=1.2):
    """Returns atoms near the points of a grid, so that none are too close."""
    z = torch.tensor(elements)
    grid = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.double)] * 3)
    pos = spread * grid[:z.numel()] + 0.2 * torch.rand(z.numel(), 3,
                                                       dtype=torch.double)
    return z, pos


def installed(name):
    """Returns the peer, or skips the test where it is not installed."""
    try:
        peers.peer_versions(name)
    except ImportError as error:
        pytest.skip(str(error))
    return peers.PEERS[name]


@pytest.fixture(params=list(peers.PEERS))
def potential(request):
    """A potential in float64 with a largest force of about one."""
    peer = installed(request.param)
    inputs = peers.PeerInputs(peer.settings['cutoff'], [1, 6, 8], 6.0)
    dtype = torch.get_default_dtype()
    # Constants that are computed while a model is built are as exact as this;
    # schnetpack builds in float32 only, but has no constants that matter.
    build_dtype = dtype if request.param == 'PaiNN' else torch.double
    torch.set_default_dtype(build_dtype)
    try:
        model = peer.build(inputs).double()
        assert torch.get_default_dtype() == build_dtype
        torch.set_default_dtype(torch.double)
        _, forces, _ = Potential(model)(*graph([6, 8, 1, 1, 6, 1]))
        scale = 1 / float(forces.detach().abs().max())
        yield Potential(model, energy_scale=scale)
    finally:
        torch.set_default_dtype(dtype)


def test_forces_match_energy(potential):
    assert_forces_match_energy(potential, *graph([6, 8, 1, 1, 6, 1]),
                               atol=1e-6)


def test_equivariance(potential):
    assert_equivariant_forces(potential, *graph([6, 8, 1, 1, 6, 1]),
                              atol=1e-8)


def test_batch_independence(potential):
    assert_batch_independent(
        potential, [graph([6, 8, 1, 1, 6, 1]), graph([8, 1, 1]),
                    graph([6, 6, 6, 1, 1, 8, 8, 1], spread=2.5)], atol=1e-8)


def test_forces_can_be_trained(potential):
    z, pos = graph([6, 8, 1, 1, 6, 1])
    weight = torch.rand_like(pos)
    parameters = [p for p in potential.parameters() if p.requires_grad]
    steps = [torch.randn_like(p) * p.detach().abs().mean().clamp(min=0.01)
             for p in parameters]

    def loss():
        return (potential(z, pos)[1] * weight).sum()

    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    slope = sum(float((gradient * step).sum())
                for gradient, step in zip(gradients, steps)
                if gradient is not None)
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, step in zip(parameters, steps):
                parameter += sign * 1e-5 * step
        values.append(float(loss().detach()))
    assert slope != 0
    assert abs((values[0] - values[1]) / 2e-5 - slope) <= 1e-4 * max(
        1, abs(slope))


@pytest.mark.parametrize('name', list(peers.PEERS))
def test_parameters_and_versions(name):
    peer = installed(name)
    model = peer.build(peers.PeerInputs(peer.settings['cutoff'], [1, 6, 8],
                                        6.0))
    assert torch.get_default_dtype() == torch.float
    # Other versions may differ a little.
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(
        PARAMETERS[name], rel=0.02)
    assert list(peers.peer_versions(name)) == list(peer.packages)


def test_missing_peer(monkeypatch):
    monkeypatch.setattr(peers.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match='NequIP needs nequip.*pip install'):
        peers.peer_versions('NequIP')


def test_folder_that_is_no_package(monkeypatch, tmp_path):
    (tmp_path / 'no_such_peer').mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(peers.PEERS, 'NoSuch', peers.Peer(
        lambda inputs: None, 'no_such_peer', ('no-such-peer', ), 'pip', {}))
    assert 'NoSuch' not in cases.installed_models()
    with pytest.raises(ImportError, match='NoSuch needs no_such_peer'):
        peers.peer_versions('NoSuch')
