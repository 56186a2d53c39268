import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from torch_sake import SAKE, neighbor_list
from torch_sake.transforms import NeighborList


def test_precomputed_lists_in_batches():
    transform = NeighborList(2.0)
    assert str(transform) == 'NeighborList(cutoff=2.0)'
    data = [
        transform(Data(z=torch.full((size, ), 6), pos=torch.randn(size, 3),
                       edge_attr=torch.zeros(7, 1))) for size in (3, 5)
    ]
    assert data[0].edge_attr is None
    batch = next(iter(DataLoader(data, batch_size=2)))
    expected, _ = neighbor_list(batch.pos, 2.0, batch.batch)
    assert torch.equal(batch.edge_index, expected)
    model = SAKE(8, num_layers=1, cutoff=2.0)
    assert torch.equal(model(batch.z, batch.pos, batch.batch),
                       model(batch.z, batch.pos, batch.batch,
                             edge_index=batch.edge_index))


def test_periodic_lists_in_batches():
    transform = NeighborList(2.0)
    data = [
        transform(Data(z=torch.full((size, ), 6), pos=2 * torch.rand(size, 3),
                       cell=2.0 * torch.eye(3).unsqueeze(0),
                       pbc=torch.tensor([[True, size == 3, False]])))
        for size in (3, 5)
    ]
    batch = next(iter(DataLoader(data, batch_size=2)))
    model = SAKE(8, num_layers=1, cutoff=2.0)
    energy = model(batch.z, batch.pos, batch.batch, cell=batch.cell,
                   pbc=batch.pbc)
    assert torch.equal(energy, model(batch.z, batch.pos, batch.batch,
                                     edge_index=batch.edge_index,
                                     edge_shift=batch.edge_shift))
    assert not torch.allclose(energy, model(batch.z, batch.pos, batch.batch))


def test_wrong_arguments():
    with pytest.raises(ValueError, match="'cutoff' must be positive"):
        NeighborList(0.0)
    with pytest.raises(ValueError, match="must have positions"):
        NeighborList()(Data(x=torch.zeros(3, 1)))
