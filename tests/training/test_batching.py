import torch

from torch_sake.datasets import read_frames
from torch_sake.neighbors import neighbor_list
from torch_sake.training.batching import BatchLimit, count_edges, share


def test_cut():
    sizes = torch.tensor([2, 3, 4, 9, 1, 1])
    assert BatchLimit(5).cut(sizes) == [0, 2, 3, 4, 6]
    assert BatchLimit(1).cut(sizes) == [0, 1, 2, 3, 4, 5, 6]
    assert BatchLimit(20).cut(sizes) == [0, 6]
    assert BatchLimit(4).cut(torch.ones(10).long()) == [0, 4, 8, 10]
    assert BatchLimit(5).cut(sizes[:0]) == [0]


def test_share():
    sizes = torch.tensor([0, 3, 1, 4, 1, 5])
    batch = [1, 5, 2, 3, 4]
    assert share(batch, sizes, 0, 1) == batch
    assert [share(batch, sizes, rank, 2) for rank in range(2)] == [
        [5, 2, 4], [1, 3]]
    assert [share(batch, torch.ones(6), rank, 3) for rank in range(3)] == [
        [1, 3], [5, 4], [2]]
    sizes = torch.tensor([10, 0, 0, 0])  # each of them gets a frame
    assert [share([0, 1, 2, 3], sizes, rank, 3) for rank in range(3)] == [
        [0], [1, 3], [2]]


def test_sizes(copper_file):
    frames = read_frames(copper_file)
    edges = [neighbor_list(data.pos, 4.0, cell=data.cell, pbc=data.pbc)[0]
             for data in frames]
    expected = [edge_index.size(1) for edge_index in edges]
    assert len(set(expected)) > 1
    assert count_edges(frames, 4.0).tolist() == expected
    limit = BatchLimit(2 * max(expected), 'edges', 4.0)
    assert limit.sizes(frames).tolist() == expected
    atoms = BatchLimit(10, 'atoms').sizes(frames[2:5])
    assert atoms.tolist() == [4, 2, 4]
    assert BatchLimit(10).sizes(frames[2:5]).tolist() == [1, 1, 1]
    batches = list(limit.batches(frames))
    assert torch.cat([data.energy for data in batches]).equal(
        torch.cat([data.energy for data in frames]))
    assert len(batches) < len(frames)
    assert [data.num_graphs for data in BatchLimit(9, 'atoms').batches(
        frames[1:5])] == [2, 2]
