r"""Compiled functions against the plain ones, on many systems."""

import copy

import pytest
import torch

from torch_sake import SAKE, Potential, VectorSAKE, neighbor_list
from torch_sake.ops.geometry import edge_vectors

pytestmark = [pytest.mark.compile, pytest.mark.slow]

# The model, its layers, the type of positions (calculators and training have
# double precision), the number of systems and of graphs of each: code for
# single graphs, single atoms and no edges is compiled separately, which takes
# longer than all the rest.
CASES = {
    'VectorSAKE in batches': (VectorSAKE, 2, torch.double, 100, (2, 3, 5)),
    'VectorSAKE': (VectorSAKE, 1, torch.double, 60, (1, )),
    'SAKE in batches': (SAKE, 1, torch.float, 40, (2, 3, 5)),
}
# Of the graphs of a system, around what loops take at once:
SIZES = [1, 1, 2, 2, 3, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 63, 64,
         65]
CUTOFF = 2.5
EPS = torch.finfo(torch.float).eps
# How many times a number is rounded, each time by no more than :obj:`EPS` of
# the terms that make it up: in about ten operations one after the other in
# each of two layers, which are passed forwards, backwards for forces, and
# backwards again for the loss.
ROUNDINGS = 64


@pytest.fixture(scope='module', params=CASES)
def case(request):
    """The same potential as it is, compiled, and in double precision, and its
    systems."""
    build, num_layers, dtype, num_systems, num_graphs = CASES[request.param]
    torch.manual_seed(0)
    options = dict(num_layers=num_layers, num_rbf=5, cutoff=CUTOFF)
    if build is SAKE:
        options['heads'] = 2
    plain = Potential(build(8, **options), 2.0, torch.randn(100))
    compiled, exact = copy.deepcopy(plain), copy.deepcopy(plain).double()
    compiled.compile()
    systems = [draw_system(number, num_graphs, dtype)
               for number in range(num_systems)]
    return plain, compiled, exact, systems


def draw_graph(size, kind):
    """Atoms of a liquid in a cell or as a molecule, or far from each other."""
    side = 1.6 * size**(1 / 3) + 0.6
    if kind == 'far':
        pos = 20.0 * torch.arange(size).unsqueeze(1) + torch.rand(size, 3)
        return pos, torch.zeros(3, 3)
    if kind == 'molecule':
        return side * torch.rand(size, 3), torch.zeros(3, 3)
    cell = side * torch.eye(3) + 0.2 * torch.randn(3, 3)
    return torch.rand(size, 3) @ cell, cell


def draw_well_conditioned(size, kind):
    """Close to the cutoff, an envelope is a small difference of large numbers:
    of few edges, none is to be there, as nothing else would count."""
    while True:
        pos, cell = draw_graph(size, kind)
        index, shift = neighbor_list(pos, CUTOFF, None, cell.view(1, 3, 3),
                                     torch.tensor([3 * [kind == 'cell']]))
        length = edge_vectors(pos, index, shift).norm(dim=1)
        if size > 3 or not (length > 0.95 * CUTOFF).any():
            return pos, cell


def draw_system(number, num_graphs, dtype):
    r"""Returns one graph or several, with their edges. The size of the first
    one is each in turn; several have at least 25 atoms in all, and edges."""
    torch.manual_seed(number)
    num_graphs = num_graphs[number // len(SIZES) % len(num_graphs)]
    sizes = [SIZES[number % len(SIZES)]]
    while len(sizes) < num_graphs or num_graphs > 1 and sum(sizes) < 25:
        sizes.append(SIZES[int(torch.randint(len(SIZES), ()))])
    num_graphs = len(sizes)
    kinds = [('cell', 'molecule', 'cell', 'far')[i]
             for i in torch.randint(4, (num_graphs, ))]
    if num_graphs > 1:
        kinds[0] = 'cell'  # which has edges
    pos, cell = zip(*map(draw_well_conditioned, sizes, kinds))
    if 'cell' not in kinds:  # stresses need a volume, if an open one
        cell = (50 * torch.eye(3), *cell[1:])
    batch = torch.arange(num_graphs).repeat_interleave(torch.tensor(sizes))
    pbc = torch.tensor([3 * [kind == 'cell'] for kind in kinds])
    z, pos, cell = torch.randint(1, 9, batch.shape), torch.cat(pos), (
        torch.stack(cell))
    edge_index, edge_shift = neighbor_list(pos.double(), CUTOFF, batch,
                                           cell.double(), pbc)
    return dict(z=z, pos=pos, batch=batch if num_graphs > 1 else None,
                cell=cell, pbc=pbc, edge_index=edge_index,
                edge_shift=edge_shift, dtype=dtype)


def permute(system):
    """The atoms of each graph, and the edges, in another order."""
    order = torch.randperm(len(system['z']))
    if system['batch'] is not None:
        order = order[system['batch'][order].argsort(stable=True)]
    edges = torch.randperm(len(system['edge_shift']))
    return order, dict(
        system, z=system['z'][order], pos=system['pos'][order],
        edge_index=order.argsort()[system['edge_index']][:, edges],
        edge_shift=system['edge_shift'][edges])


def results(potential, system, order=None):
    r"""Returns energies, forces, stresses and the gradients of a loss with
    respect to all parameters, in double precision."""
    dtype = torch.promote_types(next(potential.parameters()).dtype,
                                system['dtype'])
    energy, forces, stress = potential(compute_stress=True, **{
        key: value.to(dtype) if key in ('pos', 'cell', 'edge_shift') else value
        for key, value in system.items() if key != 'dtype'})
    loss = (energy.square().mean() + forces.square().mean() +
            stress.square().sum())
    gradients = torch.autograd.grad(loss, list(potential.parameters()),
                                    materialize_grads=True)
    if order is not None:
        forces = torch.empty_like(forces).index_copy(0, order, forces)
    return [value.detach().double() for value in (
        energy, forces, stress, *gradients)]


def allowed(exact, expected, system):
    r"""Returns by how much each result may be off: what changes if parameters
    and the vector of each edge are rounded in some way, times the number of
    roundings."""
    change = [EPS * value.abs().max() for value in expected]
    pos = system['pos'].double().abs()
    size = system['edge_shift'].abs() + sum(pos[system['edge_index']])
    for _ in range(3):
        rounded = copy.deepcopy(exact)
        for value in rounded.parameters():
            value.data *= 1 + EPS * (2 * torch.rand_like(value) - 1)
        shift = system['edge_shift'] + EPS * size * (
            2 * torch.rand(size.shape) - 1)
        others = results(rounded, dict(system, edge_shift=shift))
        change = [torch.maximum(largest, (other - value).abs().max())
                  for largest, other, value in zip(change, others, expected)]
    return [ROUNDINGS * largest for largest in change]


def test_compiled_against_double_precision(case):
    plain, compiled, exact, systems = case
    names = ['energy', 'forces', 'stress',
             *(name for name, _ in plain.named_parameters())]
    for number, system in enumerate(systems):
        expected = results(exact, system)
        bounds = allowed(exact, expected, system)
        order, permuted = permute(system)
        for kind, values in (
                ('plain', results(plain, system)),
                ('compiled', results(compiled, system)),
                ('permuted', results(compiled, permuted, order))):
            for name, value, other, bound in zip(names, values, expected,
                                                 bounds):
                error = (value - other).abs().max()
                assert error <= bound, (number, kind, name, float(error),
                                        float(bound))
    assert compiled.compiled
