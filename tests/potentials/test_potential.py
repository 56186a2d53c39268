import contextlib
import copy
import inspect
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn.models import SchNet

import torch_sake.ops.linear
import torch_sake.ops.segments
from torch_sake import (
    SAKE,
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    neighbor_list,
)
from torch_sake.benchmark.work import peak_memory
from torch_sake.ops import compilation
from torch_sake.potentials import derivatives
from torch_sake.testing import (
    assert_batch_independent,
    assert_equivariant_forces,
    assert_forces_match_energy,
)

Z = torch.tensor([8, 1, 1, 6, 1, 1, 1, 1])
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])


def sake():
    return SAKE(8, num_layers=2, heads=2, num_rbf=5, cutoff=2.5)


def vector_sake():
    return VectorSAKE(8, num_layers=2, num_rbf=5, cutoff=2.5)


def schnet():
    return SchNet(8, 8, 2, 5, interaction_graph=RadiusInteractionGraph(2.5))


@pytest.fixture(params=[sake, vector_sake, schnet],
                ids=lambda build: build.__name__)
def potential(request):
    atomic_energies = -torch.arange(100.0)
    return Potential(request.param(), 2.0, atomic_energies).double()


@pytest.fixture
def pos():
    return 1.5 * torch.randn(8, 3).double()


def test_assertions(potential, pos):
    assert_equivariant_forces(potential, Z, pos, BATCH)
    assert_forces_match_energy(potential, Z, pos, BATCH)
    assert_batch_independent(potential, [(Z[:3], pos[:3]), (Z[3:], pos[3:])])


def test_energy_is_scaled_and_shifted(potential, pos):
    energy, forces, stress = potential(Z, pos, BATCH)
    expected = 2.0 * potential.model(Z, pos, BATCH).squeeze(1)
    assert torch.allclose(energy, expected + torch.tensor([-10.0, -10.0]))
    assert energy.shape == (2, ) and forces.shape == (8, 3)
    assert stress is None
    single, _, _ = potential(Z[:3], pos[:3])
    assert torch.allclose(single, energy[:1])


def test_forces_can_be_trained_on(potential, pos):
    parameter = dict(potential.named_parameters())['model.embedding.weight']

    def loss():
        return potential(Z, pos, BATCH)[1].square().sum()

    gradient, = torch.autograd.grad(loss(), parameter)
    with torch.no_grad():
        values = []
        for sign in (1, -1):
            parameter[6, 2] += sign * 1e-5
            values.append(loss())
            parameter[6, 2] -= sign * 1e-5
    slope = (values[0] - values[1]) / 2e-5
    assert torch.allclose(gradient[6, 2], slope, rtol=1e-5)


def test_hessian_with_respect_to_given_positions(potential, pos):
    pos.requires_grad_()
    _, forces, _ = potential(Z, pos, BATCH)
    row, = torch.autograd.grad(forces[4, 1], pos)
    with torch.no_grad():
        step = torch.zeros(8, 3).double()
        step[4, 1] = 1e-5
        column = (potential(Z, pos + step, BATCH)[1] -
                  potential(Z, pos - step, BATCH)[1]) / 2e-5
    assert torch.allclose(row, column, atol=1e-6)
    assert pos.grad is None


@pytest.mark.parametrize('mode', [torch.no_grad, torch.inference_mode])
def test_without_gradients(potential, pos, mode):
    energy, forces, _ = potential(Z, pos, BATCH)
    assert energy.requires_grad and forces.requires_grad
    with mode():
        z, other, batch = Z.clone(), pos.clone(), BATCH.clone()
        outputs = potential(z, other, batch)
    for value, expected in zip(outputs, (energy, forces)):
        assert not value.requires_grad
        assert torch.allclose(value, expected)


@pytest.mark.parametrize('mode', [torch.enable_grad, torch.no_grad,
                                  torch.inference_mode])
def test_energies_alone(potential, pos, mode):
    with mode():
        energy = potential.energy(Z, pos, BATCH)
        assert torch.equal(energy, potential(Z, pos, BATCH)[0])
        single = potential.energy(Z[:3], pos[:3].clone())
        assert torch.allclose(single, energy[:1])
    assert energy.requires_grad == (mode is torch.enable_grad)
    empty = potential.energy(Z[:0], pos[:0])
    assert empty.tolist() == [0.0]
    assert potential.energy(Z[:0], pos[:0], BATCH[:0]).shape == (0, )


def test_forces_are_the_slope_of_energies_alone(potential, pos):
    pos.requires_grad_()
    slope, = torch.autograd.grad(potential.energy(Z, pos, BATCH).sum(), pos)
    assert torch.allclose(-slope, potential(Z, pos, BATCH)[1])


def test_tensors_of_the_caller_stay_as_they_are(potential, pos):
    z, batch, before = Z.clone(), BATCH.clone(), pos.clone()
    potential(z, pos, batch)[1].sum().backward()
    assert not pos.requires_grad and pos.grad is None and pos.is_leaf
    assert torch.equal(pos, before)
    assert torch.equal(z, Z) and torch.equal(batch, BATCH)
    moved = pos.requires_grad_() + 1.0
    moved.retain_grad()
    potential(z, moved, batch)
    assert moved.grad is None


def test_references_keep_their_digits():
    references = torch.zeros(100).double()
    references[6] = -1027.592489146  # eV
    potential = Potential(sake(), atomic_energies=references)
    potential = copy.deepcopy(potential.double().float())
    energy, forces, _ = potential(torch.tensor([6]), torch.zeros(1, 3))
    assert energy.dtype == torch.double and forces.dtype == torch.float
    shift = potential.model(torch.tensor([6]), torch.zeros(1, 3)).double()
    assert abs(float(energy - shift) + 1027.592489146) < 1e-9
    assert 'atomic_energies' in potential.state_dict()


def test_references_are_a_copy_in_double_precision():
    for references in (torch.full((100, ), -0.1),
                       torch.full((100, ), -0.1).double()):
        potential = Potential(sake(), atomic_energies=references)
        expected = 3 * references[:1].double()
        references += 1.0
        out = potential.references(Z[:3], torch.randn(3, 3), BATCH[:3], 1)
        assert out.dtype == torch.double
        assert torch.allclose(out, expected, rtol=1e-15)
    out = Potential(sake()).references(Z, torch.randn(8, 3), BATCH, 2)
    assert out.dtype == torch.double and out.tolist() == [0.0, 0.0]


def test_energies_that_do_not_depend_on_positions():
    potential = Potential(
        lambda z, pos, batch: z.new_zeros(1, 1, dtype=torch.float))
    energy, forces, _ = potential(Z[:3], torch.randn(3, 3))
    assert energy.tolist() == [0.0] and not forces.any()
    energy, forces, _ = Potential(sake())(Z[:1], torch.randn(1, 3))
    assert not forces.any()
    energy, forces, _ = Potential(sake())(Z[:0], torch.randn(0, 3))
    assert energy.tolist() == [0.0] and forces.shape == (0, 3)
    embedding = torch.nn.Embedding(10, 1)
    energy, forces, _ = Potential(lambda z, pos, batch: embedding(z).sum(
        dim=0))(Z[:3], torch.randn(3, 3))
    assert energy.requires_grad and not forces.any()


def test_data_loader():
    data = [Data(z=Z[:3], pos=torch.randn(3, 3)),
            Data(z=Z[3:], pos=torch.randn(5, 3))]
    potential = Potential(sake())
    batch = next(iter(DataLoader(data, batch_size=2)))
    energy, _, _ = potential(batch.z, batch.pos, batch.batch)
    expected = [potential(item.z, item.pos)[0] for item in data]
    assert torch.allclose(energy, torch.cat(expected), atol=1e-6)


def random_batch(num_graphs):
    sizes = torch.randint(4, 9, (num_graphs, ))
    batch = torch.arange(num_graphs).repeat_interleave(sizes)
    z = torch.randint(1, 9, batch.shape)
    return z, 2 * torch.randn(len(z), 3).double(), batch


@pytest.mark.compile
@pytest.mark.slow
def test_compiled_is_eager():
    eager = Potential(vector_sake(), 2.0, torch.randn(100)).double()
    compiled = copy.deepcopy(eager)
    compiled.compile()
    compiled = pickle.loads(pickle.dumps(compiled))
    for number, num_graphs in enumerate((8, 11, 9, 15)):
        inputs = random_batch(num_graphs)
        # Other numbers of atoms, edges and graphs need no further compilation
        # (except for very small ones, below 25 atoms):
        with torch.compiler.set_stance('fail_on_recompile'
                                       if number else 'default'):
            energy, forces, _ = compiled(*inputs)
        expected = eager(*inputs)
        assert torch.allclose(energy, expected[0], rtol=1e-12)
        assert torch.allclose(forces, expected[1], rtol=1e-9, atol=1e-9)
        for potential, outputs in ((eager, expected),
                                   (compiled, (energy, forces))):
            potential.zero_grad()
            (outputs[0].sum() + outputs[1].square().sum()).backward()
        for value, other in zip(compiled.parameters(), eager.parameters()):
            assert torch.allclose(value.grad, other.grad, rtol=1e-7, atol=1e-7)
    assert compiled.compiled and not eager.compiled

    z, pos, _ = inputs
    with torch.no_grad():
        assert torch.allclose(compiled(z, pos)[1], eager(z, pos)[1])
        assert torch.allclose(compiled.energy(*inputs), eager.energy(*inputs))
        assert not compiled(z, pos)[1].requires_grad
    # Second derivatives with respect to positions are for the eager path:
    pos.requires_grad_()
    slope, = torch.autograd.grad(compiled(z, pos)[1].square().sum(), pos)
    expected, = torch.autograd.grad(eager(z, pos)[1].square().sum(), pos)
    assert torch.allclose(slope, expected)


def dense_batch():
    """Enough edges for all that is done to many only."""
    batch = torch.arange(40).repeat_interleave(8)
    return torch.randint(1, 9, (320, )), torch.randn(320, 3).double(), batch


@pytest.mark.parametrize('build', [sake, vector_sake])
def test_layers_are_computed_again(build):
    plain = Potential(build(), 2.0, torch.randn(100)).double()
    again = copy.deepcopy(plain)
    again.recompute = True
    z, pos, batch = dense_batch()
    cell = 9 * torch.eye(3).double().repeat(40, 1, 1)
    pbc = torch.tensor([True, False, True]).expand(40, 3)
    arguments = (z, pos, batch, cell, pbc, True)
    memory = []
    for potential in (plain, again):
        with torch.no_grad():
            outputs = potential(*arguments)
            memory.append(peak_memory(partial(potential, *arguments),
                                      torch.device('cpu')))
        for value, expected in zip(outputs, plain(*arguments)):
            assert torch.allclose(value, expected, rtol=1e-12)
            assert not value.requires_grad
    assert memory[1] < 0.75 * memory[0]

    # It is for plain numbers, and for first derivatives of models:
    for loss in (lambda potential: potential(*arguments)[1].square().sum(),
                 lambda potential: potential.model(
                     z, pos, batch, recompute=potential.recompute).sum()):
        expected, gradients = (
            torch.autograd.grad(loss(potential), potential.parameters(),
                                materialize_grads=True)
            for potential in (plain, again))
        for value, other in zip(gradients, expected):
            assert torch.allclose(value, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize('build', [sake, vector_sake])
def test_layers_are_computed_again_by_other_threads(monkeypatch, build):
    """As those of GPUs are."""
    grad = torch.autograd.grad

    def grad_of_a_thread(*args, **kwargs):
        with ThreadPoolExecutor() as pool:
            return pool.submit(grad, *args, **kwargs).result()

    potential = Potential(build(), recompute=True).double()
    inputs = dense_batch()
    with torch.no_grad():
        _, expected, _ = potential(*inputs)
        monkeypatch.setattr(torch.autograd, 'grad', grad_of_a_thread)
        _, forces, _ = potential(*inputs)
    assert torch.allclose(forces, expected, rtol=1e-12)


def test_layers_are_computed_again_twice(pos):
    model = vector_sake().double()
    pos.requires_grad_()
    out = model(Z, pos, BATCH, recompute=True).sum()
    first, second = (torch.autograd.grad(out, pos, retain_graph=True)[0]
                     for _ in range(2))
    assert torch.equal(first, second)


def test_edges_are_those_of_a_thread(pos):
    graph, other = RadiusInteractionGraph(2.5), RadiusInteractionGraph(1.0)
    edge_index = torch.tensor([[0], [1]])
    expected = graph(pos, BATCH)[0]
    assert expected.size(1) > 1
    with graph.fixed(edge_index), other.fixed(edge_index.flip(0)):
        assert torch.equal(graph(pos, BATCH)[0], edge_index)
        assert torch.equal(other(pos, BATCH)[0], edge_index.flip(0))
        with ThreadPoolExecutor() as pool:
            found, _ = pool.submit(graph, pos, BATCH).result()
    assert torch.equal(found, expected)
    assert torch.equal(graph(pos, BATCH)[0], expected)


def test_edges_of_an_interaction_graph_of_the_user(pos):
    class Half(RadiusInteractionGraph):
        def forward(self, pos, batch=None):
            return tuple(value[..., ::2] for value in super().forward(
                pos, batch))

    options = dict(hidden_channels=8, num_layers=2, num_rbf=5, cutoff=2.5)
    graph = RadiusInteractionGraph(2.5)
    edge_index, _ = graph(pos, BATCH)
    model = VectorSAKE(**options, interaction_graph=Half(2.5)).double()
    plain = VectorSAKE(**options).double()
    plain.load_state_dict(model.state_dict())
    expected = plain(Z, pos, BATCH, edge_index=edge_index[:, ::2])
    assert torch.equal(model(Z, pos, BATCH), expected)
    with pytest.raises(ValueError, match="'cell' must not be given"):
        model(Z, pos, cell=4 * torch.eye(3).double())
    fixed = VectorSAKE(**options, interaction_graph=graph).double()
    fixed.load_state_dict(model.state_dict())
    with graph.fixed(edge_index[:, ::2]):
        assert torch.equal(fixed(Z, pos, BATCH), expected)


@pytest.mark.compile
def test_fixed_edges_that_are_compiled(pos):
    graph = RadiusInteractionGraph(2.5)
    edge_index = neighbor_list(pos, 2.5, BATCH)[0][:, ::2]
    compiled = torch.compile(graph, fullgraph=True, backend='eager')
    with graph.fixed(edge_index):
        for value, other in zip(compiled(pos, BATCH), graph(pos, BATCH)):
            assert torch.equal(value, other)


def test_edges_made_in_inference_mode(pos):
    potential = Potential(vector_sake()).double()
    with torch.inference_mode():
        edge_index, edge_shift = neighbor_list(pos, 2.5, BATCH)
        potential(Z, pos, BATCH, edge_index=edge_index, edge_shift=edge_shift)
    inputs = dict(edge_index=edge_index, edge_shift=edge_shift)
    energy, forces, _ = potential(Z, pos, BATCH, **inputs)
    assert torch.equal(potential.energy(Z, pos, BATCH, **inputs), energy)
    assert torch.equal(forces, potential(Z, pos, BATCH)[1])


def test_cutoff_is_that_of_the_interaction_graph():
    options = dict(hidden_channels=8, num_layers=1, cutoff=2.5)
    assert Potential(SAKE(**options)).cutoff == 2.5
    graph = RadiusInteractionGraph(2.0)
    assert Potential(SAKE(**options, interaction_graph=graph)).cutoff == 2.0
    model = SAKE(**options, interaction_graph=lambda pos, batch: neighbor_list(
        pos, 2.0, batch))
    assert Potential(model).cutoff is None


def test_prior_without_a_cutoff(pos):
    class Confinement(torch.nn.Module):
        def forward(self, z, pos, batch, edge_index, edge_shift, batch_size):
            return pos.new_zeros(batch_size).index_add(
                0, batch, pos.square().sum(dim=1))

    model = sake()
    potential = Potential(model, prior=Confinement()).double()
    _, forces, _ = potential(Z, pos, BATCH)
    _, without, _ = Potential(model)(Z, pos, BATCH)
    assert torch.allclose(forces - without, -2 * pos)


@pytest.mark.parametrize('build', [SAKE, VectorSAKE])
def test_interaction_graph_in_periodic_cells(pos, build):
    torch.manual_seed(0)
    options = dict(hidden_channels=8, num_layers=2, num_rbf=5, cutoff=2.5)
    model = build(**options)
    graph = build(**options, interaction_graph=RadiusInteractionGraph(2.5))
    graph.load_state_dict(model.state_dict())
    cell = 4 * torch.eye(3).double()
    outputs, expected = (
        Potential(model).double()(Z, pos, cell=cell, compute_stress=True)
        for model in (graph, model))
    for value, other in zip(outputs, expected):
        assert torch.equal(value, other)


@pytest.mark.parametrize('num_atoms', [8, 40])
@pytest.mark.parametrize('build', [SAKE, VectorSAKE])
@pytest.mark.parametrize('dtype', [torch.float, torch.double])
def test_hessian_of_batched_gradients(monkeypatch, build, num_atoms, dtype):
    """As torch.autograd.functional.hessian(vectorize=True) has it."""
    monkeypatch.setattr('torch_sake.ops.onednn.is_faster',
                        torch.backends.mkldnn.is_available)
    monkeypatch.setattr(torch_sake.ops.linear, 'MIN_MULTIPLICATIONS', 0)
    monkeypatch.setattr(torch_sake.ops.segments, 'MIN_EDGES', 0)
    potential = Potential(build(16, num_layers=2, cutoff=None)).to(dtype)
    z = torch.randint(1, 9, (num_atoms, ))
    pos = 2 * torch.randn(num_atoms, 3, dtype=dtype)
    pos.requires_grad_()
    _, forces, _ = potential(z, pos)
    rows = torch.eye(forces.numel(), dtype=dtype)[:20].view(20, -1, 3)
    hessian, = torch.autograd.grad(forces, pos, rows, is_grads_batched=True,
                                   retain_graph=True)
    expected = torch.stack([
        torch.autograd.grad(forces, pos, row, retain_graph=True)[0]
        for row in rows])
    tolerance = 100 * torch.finfo(dtype).eps * float(expected.abs().max())
    assert torch.allclose(hessian, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize('build', [SAKE, VectorSAKE])
def test_vmap_over_positions(build):
    model = build(8, num_layers=2, cutoff=None).double()
    many = torch.randn(5, 8, 3).double()
    energies = torch.func.vmap(lambda pos: model(Z, pos))(many)
    assert torch.allclose(energies,
                          torch.stack([model(Z, pos) for pos in many]))


@pytest.mark.compile
@pytest.mark.slow
def test_compiled_layers_are_computed_again():
    potential = Potential(vector_sake(), recompute=True).double()
    inputs = dense_batch()
    energy, forces, _ = potential(*inputs)
    potential.compile()
    with torch.no_grad():
        outputs = potential(*inputs)
    assert potential.compiled
    assert torch.allclose(outputs[0], energy, rtol=1e-12)
    assert torch.allclose(outputs[1], forces, rtol=1e-9, atol=1e-9)
    assert all(value.requires_grad for value in potential.parameters())


def test_compiled_layers_that_are_computed_again_can_be_trained(monkeypatch,
                                                                pos):
    for module in (compilation, derivatives):
        monkeypatch.setattr(module, 'compile_function',
                            lambda function: function)
    potential = Potential(vector_sake(), recompute=True).double()
    potential.model.embedding.requires_grad_(False)
    expected = potential(Z, pos, BATCH)
    potential.compile()
    with torch.no_grad():
        potential(Z, pos, BATCH)
    assert not potential.model.embedding.weight.requires_grad
    assert potential.model.mlp_out[0].weight.requires_grad
    outputs = potential(Z, pos, BATCH)
    assert potential.compiled
    for value, other in zip(outputs[:2], expected):
        assert value.requires_grad and torch.allclose(value, other)


def test_only_own_layers_are_computed_again():
    with pytest.raises(TypeError, match="'model' must be SAKE or VectorSAKE"):
        Potential(schnet(), recompute=True)
    with pytest.raises(TypeError, match="'recompute' must be a bool"):
        Potential(sake()).recompute = 'yes'


def power(value, exponent):
    return value**int(exponent)


@pytest.mark.skipif(
    'recompile_limit' not in inspect.signature(torch.compile).parameters,
    reason='This torch has one limit for everything')
@pytest.mark.compile
@pytest.mark.slow
def test_more_versions_than_torch_allows():
    function = compilation.compile_function(power)
    value = torch.rand(5)
    for exponent in range(1, torch._dynamo.config.recompile_limit + 3):
        # The number is made part of the code, as sizes of layers are.
        assert torch.allclose(function(value, str(exponent)),
                              value**exponent)


def wide_sums(x, index, values):
    return x.index_add(0, index, values.sin())


@pytest.mark.compile
@pytest.mark.slow
def test_compiled_sums_have_an_order():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        function = compilation.compile_function(wide_sums)
        inputs = (torch.zeros(4, 64), torch.randint(4, (20000, )),
                  torch.randn(20000, 64))
        results = [function(*inputs) for _ in range(10)]
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(results[0], wide_sums(*inputs), atol=1e-3)
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_compilation_that_fails(monkeypatch):
    def compiled(*args, **kwargs):
        raise RuntimeError('no compiler')

    monkeypatch.setattr(compilation, 'compile_function',
                        lambda _: compiled)
    potential = Potential(vector_sake()).double()
    inputs = random_batch(3)
    expected = potential(*inputs)
    potential.compile()
    with pytest.warns(UserWarning, match='no compiler'):
        outputs = potential(*inputs)
    assert torch.equal(outputs[0], expected[0])
    assert torch.equal(outputs[1], expected[1])
    with warnings.catch_warnings():
        warnings.simplefilter('error')  # once is enough
        potential(*inputs)


def test_selection_by_indexing():
    # Which is what versions of torch before 2.13 compile.
    def select(x, index):
        rows = x.index_select(0, index)
        return rows.index_select(dim=-1, index=index)

    x, index = torch.randn(6, 5, 7), torch.tensor([4, 0, 0, 3])
    by_indexing = compilation.by_indexing(select)
    assert torch.equal(by_indexing(x, index), select(x, index))
    for function, expected in ((by_indexing, 0), (select, 2)):
        nodes = make_fx(function)(x, index).graph.nodes
        targets = [node.target for node in nodes]
        assert targets.count(
            torch.ops.aten.index_select.default) == expected


@pytest.mark.parametrize('fault', ['forces', 'gradients'])
def test_compilers_with_bugs(monkeypatch, fault):
    def compile_wrongly(function):
        def wrong(*args, **kwargs):
            energy, forces = function(*args, **kwargs)
            if fault == 'forces':
                return energy, 1.001 * forces
            return energy, forces + 0.01 * (forces - forces.detach())
        return wrong

    monkeypatch.setattr(compilation, 'compile_function',
                        compile_wrongly)
    potential = Potential(vector_sake()).double()
    inputs = random_batch(3)
    expected = potential(*inputs)
    potential.compile()
    with pytest.warns(UserWarning, match='the compiled function differs'):
        outputs = potential(*inputs)
    assert torch.equal(outputs[1], expected[1])
    assert not potential.compiled


def test_models_that_cannot_be_compiled():
    with pytest.raises(TypeError, match="'model' must be SAKE or VectorSAKE"):
        Potential(schnet()).compile()


@pytest.mark.parametrize('change, error, match', [
    (dict(z=Z[:7]), ValueError, "'pos' must have shape"),
    (dict(z=-Z), ValueError, "'z' must not be negative"),
    (dict(z=119 * Z), ValueError, "'z' must be smaller than 119"),
    (dict(pos=torch.full((8, 3), torch.inf)), ValueError, "must be finite"),
    (dict(batch=BATCH[:7]), ValueError, "'batch' must have shape"),
    (dict(edge_index=torch.tensor([[0], [8]])), ValueError,
     "'edge_index' must be smaller than 8"),
    (dict(edge_index=torch.tensor([[0, 1], [1, 0]]),
          edge_shift=torch.zeros(1, 3)), ValueError, "'edge_shift' must have"),
    (dict(edge_shift=torch.zeros(2, 3)), ValueError, "needs 'edge_index'"),
    (dict(edge_index=torch.tensor([[0], [1]]), pbc=torch.ones(2, 3).bool(),
          cell=torch.eye(3).repeat(2, 1, 1)), ValueError,
     "'edge_index' needs 'edge_shift' in a periodic cell"),
    (dict(z=Z.to('meta')), ValueError, "'z' must be on cpu, as 'pos'"),
    (dict(batch=BATCH.to('meta')), ValueError, "'batch' must be on cpu"),
    (dict(cell=torch.eye(3, device='meta')), ValueError,
     "'cell' must be on cpu, as 'pos' \\(got meta\\)"),
], ids=lambda value: str(value)[:40].replace('\n', ' '))
def test_wrong_inputs(change, error, match):
    inputs = dict(dict(z=Z, pos=torch.randn(8, 3), batch=BATCH), **change)
    for model in (sake(), schnet(), lambda z, pos, batch: pos.sum().view(1)):
        potential = Potential(model)
        for call in (potential, potential.energy):
            with pytest.raises(error, match=match):
                call(**inputs)


def test_wrong_options():
    with pytest.raises(TypeError, match="'model' must be callable"):
        Potential('sake')
    with pytest.raises(ValueError, match="'energy_scale' must be positive"):
        Potential(sake(), energy_scale=0.0)
    with pytest.raises(ValueError, match="'atomic_energies' must have"):
        Potential(sake(), atomic_energies=torch.zeros(100, 1))
    with pytest.raises(ValueError, match="'model' must return energies"):
        Potential(lambda z, pos, batch: pos)(Z, torch.randn(8, 3))


def test_parameters_without_memory():
    with torch.device('meta'):
        potential = Potential(sake(), atomic_energies=torch.zeros(100))
    potential.to_empty(device='cpu')
    assert potential.atomic_energies.dtype == torch.double
    other = Potential(sake(), atomic_energies=torch.randn(100))
    potential.load_state_dict(other.state_dict())
    pos = torch.randn(8, 3)
    assert torch.equal(potential.energy(Z, pos), other.energy(Z, pos))


@pytest.mark.parametrize('build', [sake, vector_sake])
def test_replicas(pos, build, replica):
    potential = Potential(build()).double()
    assert not list(replica(potential).parameters())
    for context in (contextlib.nullcontext(), torch.autocast('cpu')):
        with context:
            for value, expected in zip(replica(potential)(Z, pos, BATCH)[:2],
                                       potential(Z, pos, BATCH)):
                assert value.dtype == torch.double
                assert torch.equal(value, expected)


def test_energies_of_atoms_from_tensors_made_in_inference_mode(pos):
    potential = Potential(vector_sake()).double()
    expected = potential.site_energies(Z, pos, BATCH)
    with torch.inference_mode():
        inputs = Z.clone(), pos.clone(), BATCH.clone()
    assert torch.equal(potential.site_energies(*inputs), expected)
    assert torch.equal(potential(*inputs)[0], potential.energy(*inputs))
