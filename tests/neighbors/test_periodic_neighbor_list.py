import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import torch_sake.neighbors.pairs as pairs_module
from torch_sake import neighbor_list
from torch_sake.neighbors import SkinNeighborList
from torch_sake.testing import random_orthogonal


def random_cells(num_graphs, num_dimensions):
    """Skewed, but not flat, cells of all sizes."""
    cells = []
    for _ in range(num_graphs):
        stretch = torch.empty(num_dimensions, dtype=torch.double).uniform_(
            0.8, 3.0)
        cell = torch.eye(num_dimensions, dtype=torch.double) * stretch
        cell = cell + torch.rand_like(cell).tril(-1)
        cells.append(cell @ random_orthogonal(num_dimensions))
    return torch.stack(cells)


def brute_force(pos, cutoff, batch, cell, pbc):
    """All images of all nodes far beyond the cutoff, one after the other."""
    edges, shifts = [], []
    for target in range(pos.size(0)):
        for source in range(pos.size(0)):
            graph = int(batch[target])
            if batch[source] != graph:
                continue
            ranges = [range(-12, 13) if periodic else [0]
                      for periodic in pbc[graph].tolist()]
            for image in itertools.product(*ranges):
                if source == target and not any(image):
                    continue
                shift = torch.tensor(image, dtype=pos.dtype) @ cell[graph]
                if (pos[source] - pos[target] + shift).norm() < cutoff:
                    edges.append((source, target))
                    shifts.append(shift)
    return (torch.tensor(edges, dtype=torch.long).view(-1, 2).t(),
            torch.stack(shifts) if shifts else pos.new_zeros(0, pos.size(1)))


@given(num_nodes=st.integers(0, 5), num_graphs=st.integers(1, 3),
       num_dimensions=st.integers(1, 2), seed=st.integers(0, 10**6),
       cutoff=st.sampled_from([0.4, 1.1, 2.5]),
       backend=st.sampled_from(['auto', 'pairs', 'vesin']),
       block=st.sampled_from([1, 50, 1 << 22]))
def test_all_backends_find_all_images(num_nodes, num_graphs, num_dimensions,
                                      seed, cutoff, backend, block):
    torch.manual_seed(seed)
    pos = 2 * torch.randn(num_nodes, num_dimensions, dtype=torch.double)
    batch = torch.randint(num_graphs, (num_nodes, ))  # in any order
    cell = random_cells(num_graphs, num_dimensions)
    pbc = torch.rand(num_graphs, num_dimensions) < 0.6
    cell[~pbc.any(dim=1)] = 0.0  # free graphs need none
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs_module, 'MAX_PAIRS', block)
        edge_index, edge_shift = neighbor_list(pos, cutoff, batch, cell, pbc,
                                               backend)
    expected, expected_shift = brute_force(pos, cutoff, batch, cell, pbc)
    assert torch.equal(edge_index, expected)
    assert torch.allclose(edge_shift, expected_shift, rtol=0, atol=1e-12)


@given(num_nodes=st.integers(1, 12), seed=st.integers(0, 10**6),
       cutoff=st.floats(0.5, 6.0), spread=st.sampled_from([1.0, 30.0]),
       backend=st.sampled_from(['pairs', 'vesin']))
def test_same_as_ase(num_nodes, seed, cutoff, spread, backend):
    neighborlist = pytest.importorskip('ase.neighborlist')
    torch.manual_seed(seed)
    pos = spread * torch.randn(num_nodes, 3, dtype=torch.double)
    cell, pbc = random_cells(1, 3), torch.rand(1, 3) < 0.6
    edge_index, edge_shift = neighbor_list(pos, cutoff, None, cell, pbc,
                                           backend)
    target, source, images = neighborlist.primitive_neighbor_list(
        'ijS', pbc[0].numpy(), cell[0].numpy(), pos.numpy(), cutoff)
    expected = torch.tensor(images, dtype=torch.double).view(-1, 3) @ cell[0]

    def rows(edge_index, shift):
        table = torch.cat([edge_index.t(), (shift / 1e-6).round()], dim=1)
        return table.unique(dim=0), len(table)

    table, count = rows(edge_index, edge_shift)
    other, other_count = rows(torch.stack([torch.tensor(source),
                                           torch.tensor(target)]), expected)
    assert count == other_count
    assert torch.equal(table, other)


@pytest.mark.parametrize('dtype', [torch.float, torch.double])
def test_backends_agree_to_the_last_digit(dtype):
    pos = torch.rand(60, 3, dtype=dtype) * 20 - 5
    batch = torch.arange(3).repeat_interleave(20)
    cell = (3 * torch.eye(3) + torch.rand(3, 3, 3)).to(dtype)
    pbc = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 0]]).bool()
    lists = [neighbor_list(pos, 4.0, batch, cell, pbc, backend)
             for backend in ('pairs', 'vesin')]
    assert lists[0][0].size(1) > 1000
    for one, other in zip(*lists):
        assert torch.equal(one, other)


def test_lattice_sites_on_the_cutoff_are_the_same_for_all():
    # A simple cubic lattice has neighbors at exactly the cutoff.
    pos, cell = torch.zeros(1, 3), torch.eye(3)
    for backend in ('pairs', 'vesin'):
        for cutoff, number in ((1.0, 0), (1.0001, 6), (1.5, 18)):
            edge_index, _ = neighbor_list(pos, cutoff, cell=cell,
                                          backend=backend)
            assert edge_index.size(1) == number


def test_oblique_cells():
    cell = torch.tensor([[90.0, 0, 0], [90, 0.5, 0], [0, 0, 9]])
    edge_index, shift = neighbor_list(torch.zeros(1, 3), 0.8, cell=cell)
    assert edge_index.size(1) == 2
    assert torch.equal(shift.abs(), torch.tensor([[0, 0.5, 0]] * 2))


def test_four_dimensions():
    edge_index, edge_shift = neighbor_list(torch.zeros(1, 4), 1.2, cell=torch
                                           .eye(4))
    assert edge_index.size(1) == 8
    assert edge_shift.norm(dim=1).eq(1).all()


def test_shifts_follow_the_cell():
    pos = torch.rand(4, 3, dtype=torch.double)
    cell = (2 * torch.eye(3, dtype=torch.double)).requires_grad_()
    _, shift = neighbor_list(pos, 2.0, cell=cell)
    gradient, = torch.autograd.grad(shift.square().sum(), cell)
    assert torch.allclose((gradient * cell).sum(), 2 * shift.square().sum())


def rattle(pos, generator):
    return pos + 0.05 * torch.randn(pos.shape, generator=generator,
                                    dtype=pos.dtype)


@pytest.mark.parametrize('case', ['free', 'periodic', 'strained', 'batch'])
def test_skin_gives_identical_results(case):
    generator = torch.Generator().manual_seed(0)
    pos = 6 * torch.rand(40, 3, dtype=torch.double, generator=generator)
    cell = pbc = batch = None
    if case != 'free':
        cell = 6 * torch.eye(3, dtype=torch.double)
        cell[1, 0] = 1.5
    if case == 'batch':
        batch = torch.arange(40) % 2
        cell = torch.stack([cell, 0 * cell])
        pbc = torch.tensor([[True, True, False], [False, False, False]])
    neighbors = SkinNeighborList(2.5, 0.6)
    for _step in range(60):
        expected = neighbor_list(pos, 2.5, batch, cell, pbc)
        found = neighbors(pos, batch, cell, pbc)
        assert torch.equal(found[0], expected[0])
        assert torch.allclose(found[1], expected[1], rtol=0, atol=1e-12)
        pos = rattle(pos, generator)
        if case == 'strained':
            strain = torch.eye(3, dtype=torch.double) + 0.01 * torch.randn(
                3, 3, dtype=torch.double, generator=generator)
            pos, cell = pos @ strain, cell @ strain
    assert 3 < neighbors.num_searches < 40


def test_skin_searches_when_half_of_it_is_gone():
    pos = torch.zeros(2, 3, dtype=torch.double)
    pos[1, 0] = 3.05
    neighbors = SkinNeighborList(2.0, 1.0)
    assert neighbors(pos)[0].size(1) == 0
    pos[0, 0], pos[1, 0] = 0.49, 2.56
    assert neighbors(pos)[0].size(1) == 0
    assert neighbors.num_searches == 1
    pos[0, 0], pos[1, 0] = 0.6, 2.45
    assert neighbors(pos)[0].size(1) == 2
    assert neighbors.num_searches == 2


def test_skin_searches_when_the_cell_shrinks():
    """Atoms move with the cell only, but come closer than the cutoff."""
    pos, cell = torch.zeros(2, 3).double(), 20 * torch.eye(3).double()
    pos[1, 0] = 3.05
    neighbors = SkinNeighborList(2.0, 1.0)
    assert neighbors(pos, cell=cell)[0].size(1) == 0
    for scale, edges in ((0.7, 0), (0.65, 2)):
        assert neighbors(scale * pos, cell=scale * cell)[0].size(1) == edges
    assert neighbors.num_searches == 2


def test_images_just_within_the_cutoff():
    cell = torch.diag(torch.tensor([1.0, 9.0, 9.0])).double()
    pos = torch.tensor([[0.0, 0, 0], [0.999999, 0, 0]]).double()
    for backend in ('pairs', 'vesin'):
        edge_index, shift = neighbor_list(pos, 1.000005, cell=cell,
                                          backend=backend)
        assert edge_index.tolist() == [[0, 0, 1, 1, 1, 0, 0, 0, 1, 1],
                                       [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]]
        assert shift[:, 0].tolist() == [-1, 1, -2, -1, 0, 0, 1, 2, -1, 1]


def test_skin_notices_other_types_and_periodic_directions():
    pos, cell = 3 * torch.rand(6, 3).double(), 3.1 * torch.eye(3).double()
    neighbors = SkinNeighborList(2.0, 0.5)
    for dtype, pbc in ((torch.float, [True, True, False]),
                       (torch.double, [True, True, False]),
                       (torch.double, [True, True, True]),
                       (torch.double, [False, True, True])):
        arguments = pos.to(dtype), None, cell.to(dtype), torch.tensor(pbc)
        expected = neighbor_list(pos.to(dtype), 2.0, *arguments[1:])
        for value, other in zip(neighbors(*arguments), expected):
            assert value.dtype == other.dtype and torch.equal(value, other)


def test_skin_searches_when_atoms_stay_behind_the_cell():
    pos, cell = torch.zeros(2, 3).double(), 10 * torch.eye(3).double()
    pos[1, 0] = 53.05
    neighbors = SkinNeighborList(2.0, 1.0)
    assert neighbors(pos, cell=cell)[0].size(1) == 0
    cell[0, 0] = 10.22
    assert neighbors(pos, cell=cell)[0].size(1) == 2


def test_skin_does_not_depend_on_tensors_of_the_caller():
    pos, batch = torch.rand(4, 3), torch.tensor([0, 0, 1, 1])
    neighbors = SkinNeighborList(2.0, 0.5)
    neighbors(pos, batch)
    batch[1] = 1
    assert torch.equal(neighbors(pos, batch)[0],
                       neighbor_list(pos, 2.0, batch)[0])
    pos[3] += 5.0
    assert torch.equal(neighbors(pos, batch)[0],
                       neighbor_list(pos, 2.0, batch)[0])


def test_skin_notices_other_graphs():
    pos = torch.rand(4, 3)
    neighbors = SkinNeighborList(2.0, 0.5)
    for batch in (None, torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, 1]),
                  None):
        assert torch.equal(neighbors(pos, batch)[0],
                           neighbor_list(pos, 2.0, batch)[0])
    for cell in (3 * torch.eye(3), None, 4 * torch.eye(3)):
        assert torch.equal(neighbors(pos, cell=cell)[0],
                           neighbor_list(pos, 2.0, cell=cell)[0])


def test_bad_input():
    pos, cell = torch.rand(3, 3), torch.eye(3)
    with pytest.raises(ValueError, match="'pbc' needs a 'cell'"):
        neighbor_list(pos, 1.0, pbc=torch.tensor([True, False, False]))
    with pytest.raises(ValueError, match="'cell' must have a volume"):
        neighbor_list(pos, 1.0, cell=torch.zeros(3, 3))
    flat = torch.tensor([[1.0, 0, 0], [2, 0, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="'cell' must have a volume"):
        neighbor_list(pos, 1.0, cell=flat)
    neighbor_list(pos, 1.0, cell=flat, pbc=torch.tensor([True, False, True]))
    with pytest.raises(ValueError, match="'cell' must have shape"):
        neighbor_list(pos, 1.0, cell=torch.eye(2))
    with pytest.raises(TypeError, match="'cell' must be of the type"):
        neighbor_list(pos, 1.0, cell=cell.double())
    with pytest.raises(TypeError, match="'cell' must be a tensor"):
        neighbor_list(pos, 1.0, cell=cell.tolist())
    with pytest.raises(ValueError, match="'pbc' must have shape"):
        neighbor_list(pos, 1.0, cell=cell, pbc=torch.tensor([True, False]))
    with pytest.raises(TypeError, match="'pbc' must be of type torch.bool"):
        neighbor_list(pos, 1.0, cell=cell, pbc=torch.ones(3))
    with pytest.raises(ValueError, match="'cutoff' must be given"):
        neighbor_list(pos, None, cell=cell)
    with pytest.raises(ValueError, match="one matrix per graph"):
        neighbor_list(pos, 1.0, torch.tensor([0, 1, 1]), cell=cell)
    with pytest.raises(ValueError, match="'backend' must be 'pairs' or"):
        neighbor_list(pos, 1.0, cell=cell, backend='torch_cluster')
    with pytest.raises(ValueError, match="'cell' must be finite"):
        neighbor_list(pos, 1.0, cell=cell * float('nan'))


def test_bad_input_with_a_skin():
    pos, neighbors = torch.rand(5, 3), SkinNeighborList(2.0, 0.5)
    for batch, error, match in [
            (torch.zeros(4).long(), ValueError, "'batch' must have shape"),
            (torch.zeros(5), TypeError, "'batch' must be of integer type"),
            (torch.full((5, ), -1), ValueError, "must not be negative")]:
        with pytest.raises(error, match=match):
            neighbors(pos, batch)
    with pytest.raises(TypeError, match="'pos' must be of floating"):
        neighbors(pos.long())
