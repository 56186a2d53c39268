"""Lengths whose powers are no numbers, and cells of too many images."""

import time
import tracemalloc

import pytest
import torch

from torch_sake import SAKE, VectorSAKE, neighbor_list
from torch_sake.models import EGNN
from torch_sake.neighbors.interaction_graph import RadiusInteractionGraph
from torch_sake.neighbors.lattice import MAX_IMAGES
from torch_sake.neighbors.skin import SkinNeighborList
from torch_sake.nn import SAKEConv
from torch_sake.nn.envelope import CosineEnvelope, PolynomialEnvelope
from torch_sake.transforms import NeighborList
from torch_sake.utils.bounds import MAX_LENGTH, MIN_LENGTH


@pytest.mark.parametrize('cutoff', [1e300, 1e-300, 1e10, 1e-10])
@pytest.mark.parametrize('build', [
    lambda cutoff: neighbor_list(torch.rand(2, 3), cutoff),
    lambda cutoff: SkinNeighborList(cutoff, 1.0), RadiusInteractionGraph,
    NeighborList, PolynomialEnvelope, CosineEnvelope,
    lambda cutoff: SAKE(cutoff=cutoff), lambda cutoff: VectorSAKE(
        cutoff=cutoff), lambda cutoff: SAKEConv(4, 4, cutoff=cutoff),
    lambda cutoff: EGNN(4, 4, 4, cutoff=cutoff)])
def test_cutoffs(build, cutoff):
    with pytest.raises(ValueError, match=r"'cutoff' must lie between "
                       r"1e-09 and 1e\+09.*got 1e"):
        build(cutoff)


@pytest.mark.parametrize('model', [SAKE, VectorSAKE])
@pytest.mark.parametrize('cutoff', [MIN_LENGTH, 0.0064, MAX_LENGTH])
@pytest.mark.parametrize('dtype', [torch.float, torch.double])
def test_cutoffs_at_the_bounds(model, cutoff, dtype):
    """Energies and forces are numbers there."""
    model = model(hidden_channels=8, num_layers=2, cutoff=cutoff).to(dtype)
    pos = (cutoff * torch.rand(5, 3, dtype=dtype) / 2).requires_grad_()
    energy = model(torch.tensor([1, 6, 7, 8, 1]), pos)
    force, = torch.autograd.grad(energy.sum(), pos)
    assert energy.isfinite().all() and force.isfinite().all()
    # No distance is below the root of 1e-5: layers have no edges then.
    assert (force.abs().max() > 0) == (cutoff > 0.0032)


@pytest.mark.parametrize('cutoff', [1e-9, 1e-3, 1e5, 3e8])
@pytest.mark.parametrize('backend', ['pairs', 'vesin'])
@pytest.mark.parametrize('periodic', [False, True])
def test_neighbors_at_the_bounds(cutoff, backend, periodic):
    pos = cutoff * torch.tensor([[0, 0, 0], [0.9, 0, 0], [2.5, 0, 0]])
    cell = 3 * cutoff * torch.eye(3) if periodic else None
    edge_index, _ = neighbor_list(pos, cutoff, cell=cell, backend=backend)
    pairs = {(0, 1), (1, 0), *(((0, 2), (2, 0)) if periodic else ())}
    assert set(zip(*edge_index.tolist())) == pairs


@pytest.mark.parametrize('backend', ['auto', 'pairs', 'vesin'])
@pytest.mark.parametrize('length, pbc', [(1e-3, True), (1e-12, True), (
    0.01, [True, True, False]), (1e-7, [False, True, False])])
def test_too_many_images(backend, length, pbc):
    cell = length * torch.eye(3).double()
    cell[0, 1] = 0.3 * length
    pos = torch.rand(3, 3).double()
    tracemalloc.start()
    with pytest.raises(ValueError, match=f"'cell' must not be so small .* "
                       f"{MAX_IMAGES} images .*graph 0"):
        neighbor_list(pos, 8.0, cell=cell, pbc=torch.tensor(pbc),
                      backend=backend)
    assert tracemalloc.get_traced_memory()[1] < 1e7
    tracemalloc.stop()
    batch = torch.tensor([0, 0, 1])
    cells = torch.stack([9 * torch.eye(3).double(), cell])
    with pytest.raises(ValueError, match='graph 1'):
        neighbor_list(pos, 8.0, batch, cells, pbc=torch.tensor(pbc).expand(
            2, 3), backend=backend)


def test_many_images():
    """A fifth of what is allowed, of one atom."""
    edge_index, _ = neighbor_list(torch.zeros(1, 3).double(), 25.0,
                                  cell=torch.eye(3).double())
    assert abs(edge_index.size(1) / (4 / 3 * torch.pi * 25**3) - 1) < 0.01


@pytest.mark.parametrize('backend', ['pairs', 'vesin'])
@pytest.mark.parametrize('value', [1e10, -1e30, float('nan')])
def test_positions(backend, value):
    pos = torch.rand(4, 3)
    pos[2, 1] = value
    with pytest.raises(ValueError, match="'pos' must be .*row 2"):
        neighbor_list(pos, 2.0, backend=backend)
    with pytest.raises(ValueError, match="'cell' must be .*row 0"):
        neighbor_list(pos[:1], 2.0, cell=torch.diag(torch.tensor(
            [3, value, 3])), backend=backend)


@pytest.mark.parametrize('cutoff', [300.0, 1e4, 1e9])
def test_cutoffs_beyond_a_molecule(cutoff):
    """Cell lists take no longer than for all pairs."""
    pos = 10 * torch.rand(100, 3).double()
    begin = time.process_time()
    edge_index, _ = neighbor_list(pos, cutoff, backend='vesin')
    assert time.process_time() - begin < 1
    assert torch.equal(edge_index, neighbor_list(pos, None)[0])
