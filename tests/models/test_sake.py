import copy

import pytest
import torch
from torch_geometric.nn.aggr import SumAggregation
from torch_geometric.nn.models import SchNet

from torch_sake import (
    SAKE,
    Potential,
    RadiusInteractionGraph,
    VectorSAKE,
    neighbor_list,
)
from torch_sake.models.readout import Readout

Z = torch.tensor([8, 1, 1, 6, 1, 1, 1, 1])
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
ATOMREF = torch.arange(100.0).view(-1, 1)


MODELS = pytest.mark.parametrize('model_class', [SAKE, VectorSAKE])


def build(model_class=SAKE, seed=0, **options):
    torch.manual_seed(seed)
    model = model_class(8, num_layers=2, num_rbf=5, **options)
    return model, torch.randn(8, 3)


@pytest.mark.parametrize('options', [
    dict(), dict(cutoff=None), dict(readout='mean'), dict(dipole=True),
    dict(mean=2.0, std=3.0), dict(atomref=ATOMREF),
    dict(dipole=True, mean=2.0, std=3.0, atomref=ATOMREF),
    dict(mean=2.0, std=3.0, atomref=ATOMREF, readout='mean'),
], ids=lambda options: '-'.join(options) or 'default')
def test_readout_is_that_of_schnet(options):
    """With PyG's SchNet around the same atomic outputs."""
    if options.get('dipole'):
        pytest.importorskip('ase')
    model, pos = build(**options)
    schnet = SchNet(8, 8, 0, 5, interaction_graph=RadiusInteractionGraph(),
                    **{key: value for key, value in options.items()
                       if key != 'cutoff'})
    atoms = []
    model.mlp_out[-1].register_forward_hook(
        lambda module, args, out: atoms.append(out))
    out = model(Z, pos, BATCH)
    schnet.lin2.register_forward_hook(lambda module, args, out: atoms[0])
    assert out.shape == (2, 1) and out.dtype == torch.float
    assert torch.allclose(out, schnet(Z, pos, BATCH).to(out.dtype),
                          atol=1e-5)


def test_interaction_graph():
    model, pos = build()
    expected = model(Z, pos, BATCH)
    edge_index, edge_shift = neighbor_list(pos, 5.0, BATCH)
    assert torch.equal(model(Z, pos, BATCH, edge_index=edge_index,
                             edge_shift=edge_shift, batch_size=2), expected)
    other = build(interaction_graph=RadiusInteractionGraph(5.0))[0]
    assert torch.equal(other(Z, pos, BATCH), expected)
    other = build(interaction_graph=RadiusInteractionGraph(1.0))[0]
    assert not torch.allclose(other(Z, pos, BATCH), expected)
    other = build(interaction_graph=lambda pos, batch: (edge_index.t(), 0))[0]
    with pytest.raises(ValueError, match=r"'edge_index' must have shape \[2"):
        other(Z, pos, BATCH)


@MODELS
def test_any_order_of_atoms(model_class):
    model, pos = build(model_class)
    order = torch.randperm(8)
    assert torch.allclose(model(Z[order], pos[order], BATCH[order]),
                          model(Z, pos, BATCH), atol=1e-5)


@MODELS
@pytest.mark.parametrize('cutoff', [None, 5.0])
def test_small_and_empty_graphs(model_class, cutoff):
    model, _ = build(model_class, cutoff=cutoff)
    empty, one = torch.zeros(0, 3), torch.zeros(1, 3, requires_grad=True)
    out = model(torch.tensor([6]), one)
    gradient, = torch.autograd.grad(out.sum(), one)
    assert out.isfinite().all() and not gradient.any()
    none = torch.zeros(0, dtype=torch.long)
    assert torch.equal(model(none, empty), torch.zeros(1, 1))
    out = model(Z, torch.zeros(8, 3), BATCH, batch_size=3)
    assert out.shape == (3, 1) and out[2] == 0 and out.isfinite().all()


def test_padding():
    """Atoms of number 0 have an embedding of zeros that is not trained."""
    model, pos = build()
    model(torch.zeros_like(Z), pos, BATCH).sum().backward()
    assert not model.embedding.weight[0].any()
    assert not model.embedding.weight.grad.any()


@MODELS
@pytest.mark.parametrize('update_pos', [True, False])
def test_parameters_all_take_part(model_class, update_pos):
    model, pos = build(model_class, update_pos=update_pos)
    model(Z, pos, BATCH).sum().backward()
    unused = [name for name, parameter in model.named_parameters()
              if parameter.grad is None]
    assert unused == []


@MODELS
def test_pyg_features(model_class):
    model, pos = build(model_class, atomref=ATOMREF)
    out = model(Z, pos, BATCH)
    assert str(model) == (f'{model_class.__name__}(hidden_channels=8, '
                          f'num_layers=2, cutoff=5.0)')
    assert torch.equal(copy.deepcopy(model)(Z, pos, BATCH), out)
    other = build(model_class, seed=1, atomref=ATOMREF)[0]
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(Z, pos, BATCH), out)
    with torch.no_grad():
        other.atomref.weight.zero_()
    other.reset_parameters()
    assert torch.equal(other.atomref.weight, ATOMREF)
    assert model.double()(Z, pos.double(), BATCH).dtype == torch.double


def test_references_of_atoms_are_a_copy():
    atomref = ATOMREF.clone().requires_grad_()
    model, _ = build(atomref=atomref)
    with torch.no_grad():
        atomref.zero_()
    model.reset_parameters()
    assert torch.equal(model.atomref.weight, ATOMREF)
    assert torch.equal(copy.deepcopy(model).initial_atomref, ATOMREF)


class Largest(Readout):
    """One of a user: the largest part, times the square of a number."""
    name = 'largest'

    def __init__(self):
        super().__init__('max')
        self.gain = torch.nn.Parameter(torch.tensor(2.0))

    def reset_parameters(self):
        torch.nn.init.constant_(self.gain, 2.0)

    def forward(self, parts, z, pos, batch, batch_size):
        out = super().forward(parts, z, pos, batch, batch_size)
        return self.gain.square() * out


@MODELS
def test_readout_of_a_user(model_class):
    model, pos = build(model_class, readout=Largest())
    other, _ = build(model_class, readout='max')
    other.load_state_dict(model.state_dict(), strict=False)
    out = model(Z, pos, BATCH)
    assert torch.equal(out, 4 * other(Z, pos, BATCH))
    out.sum().backward()
    assert model.readout.gain.grad is not None
    with torch.no_grad():
        model.readout.gain.fill_(7.0)
    model.reset_parameters()
    assert model.readout.gain == 2.0
    potential = Potential(model)
    with pytest.raises(ValueError, match="'model' must sum over atoms"):
        potential.site_energies(Z, pos, BATCH)
    assert Potential(build(model_class, readout=SumAggregation())[0]
                     ).site_energies(Z, pos, BATCH).shape == (8, )


@MODELS
@pytest.mark.parametrize('options', [
    dict(readout='dipole'), dict(readout='extent'), dict(readout='mean')],
    ids=str)
def test_names_of_readouts(model_class, options):
    pytest.importorskip('ase')
    model, pos = build(model_class, **options, mean=2.0, std=3.0,
                       atomref=ATOMREF)
    masses = {'atomic_mass'} if options['readout'] != 'mean' else set()
    assert {key for key in model.state_dict() if 'mass' in key} == masses
    if options['readout'] == 'dipole':
        same, _ = build(model_class, dipole=True)
        assert same.dipole and model.dipole
        same.load_state_dict(model.state_dict(), strict=False)
        assert torch.equal(same(Z, pos, BATCH), model(Z, pos, BATCH))
    with pytest.raises(ValueError, match="'readout' must not be .*Largest"):
        build(model_class, readout=Largest(), dipole=True)


@MODELS
def test_encode(model_class):
    """What the readout is made of."""
    model, pos = build(model_class)
    edge_index, edge_shift = neighbor_list(pos, 5.0, BATCH)
    x = model.encode(Z, pos, BATCH)
    assert x.shape == (8, 8)
    for options in (dict(batch_size=2), dict(cell=10 * torch.eye(3).expand(
            2, 3, 3), pbc=torch.zeros(2, 3).bool()),
            dict(edge_index=edge_index, edge_shift=edge_shift)):
        assert torch.equal(model.encode(Z, pos, BATCH, **options), x)
    out = torch.zeros(2, 1).index_add(0, BATCH, model.mlp_out(x))
    assert torch.allclose(out, model(Z, pos, BATCH), atol=1e-6)
    gradient, = torch.autograd.grad(model.encode(
        Z, pos.requires_grad_(), BATCH).sum(), pos)
    assert gradient.any()
    with pytest.raises(ValueError, match="'z' must be smaller than 100"):
        model.encode(100 * Z, pos)
    with pytest.raises(ValueError, match="'batch_size' must be 1"):
        model.encode(Z, pos, batch_size=3)


def test_defaults():
    model = SAKE()
    assert str(model) == ('SAKE(hidden_channels=64, num_layers=6, '
                          'cutoff=5.0)')
    assert [conv.update_pos for conv in model.stack.convs] == [True] * 5 + [
        False]
    model = VectorSAKE()
    assert str(model) == ('VectorSAKE(hidden_channels=64, num_layers=3, '
                          'cutoff=5.0)')
    assert not any(conv.update_pos for conv in model.stack.convs)


@MODELS
@pytest.mark.compile
@pytest.mark.slow
def test_compile(model_class):
    model, pos = build(model_class)
    edge_index, _ = neighbor_list(pos, 5.0, BATCH)
    # The layers' own test goes all the way to machine code.
    compiled = torch.compile(model, fullgraph=True, backend='aot_eager')
    assert torch.allclose(
        compiled(Z, pos, BATCH, batch_size=2, edge_index=edge_index),
        model(Z, pos, BATCH), atol=1e-5)
    pairs, _ = build(model_class, cutoff=None)
    compiled = torch.compile(pairs, fullgraph=True, backend='aot_eager')
    assert torch.allclose(compiled(Z, pos), pairs(Z, pos), atol=1e-5)


@pytest.mark.parametrize('options, error, match', [
    (dict(cutoff=-1.0), ValueError, "'cutoff' must be positive"),
    (dict(mean=1.0), ValueError, "'mean' and 'std' must be given together"),
    (dict(mean=1.0, std=0.0), ValueError, "'std' must be positive"),
    (dict(mean=float('nan'), std=1.0), ValueError, "'mean' must be finite"),
    (dict(mean='a', std=1.0), TypeError, "'mean' must be a number"),
    (dict(dipole='yes'), TypeError, "'dipole' must be a bool"),
    (dict(atomref=torch.zeros(5)), ValueError, "'atomref' must have shape"),
    (dict(atomref=torch.zeros(1, 100)), ValueError, "'atomref' must have"),
    (dict(interaction_graph=3), TypeError, "'interaction_graph' must be"),
    (dict(readout='best'), ValueError, "best"),
    (dict(no_such=1), TypeError, "no_such"),
    (dict(readout=['mean', 'max']), ValueError, "'readout' must be"),
    (dict(edge_dim=3), TypeError, r"\['edge_dim'\] must not be given to"),
    (dict(vel_input=True), TypeError, r"\['vel_input'\] must not be given"),
    (dict(out_channels=3), TypeError, r"\['out_channels'\] must not be"),
], ids=str)
def test_wrong_options(options, error, match):
    with pytest.raises(error, match=match):
        build(**options)


@pytest.mark.parametrize('change, error, match', [
    (dict(z=Z[:7]), ValueError, "'pos' must have shape"),
    (dict(z=Z.float()), TypeError, "'z' must be of integer type"),
    (dict(z=-Z), ValueError, "'z' must not be negative"),
    (dict(z=100 * Z), ValueError, "'z' must be smaller than 100"),
    (dict(pos=torch.zeros(8, 2)), ValueError, "'pos' must have shape"),
    (dict(pos=torch.zeros(8, 3).long()), TypeError, "'pos' must be of float"),
    (dict(pos=torch.zeros(8, 3).half()), TypeError, "'pos' must be of type"),
    (dict(pos=torch.full((8, 3), torch.nan)), ValueError, "must be finite"),
    (dict(batch=BATCH[:7]), ValueError, "'batch' must have shape"),
    (dict(edge_index=torch.tensor([[0], [8]])), ValueError, "smaller than 8"),
    (dict(edge_index=torch.tensor([[0], [1]]), batch=BATCH - 1), ValueError,
     "'batch' must not be negative"),
    (dict(z=Z.to(torch.uint8)), TypeError, "'z' must be of integer type"),
    (dict(batch=BATCH.short()), TypeError, "'batch' must be of integer type"),
    (dict(edge_shift=torch.zeros(1, 3)), ValueError, "needs 'edge_index'"),
    (dict(edge_index=torch.tensor([[0], [1]]), cell=torch.eye(3)), ValueError,
     "'edge_index' needs 'edge_shift'"),
    (dict(batch_size=1), ValueError, "'batch' must be smaller than 1"),
    (dict(batch=None, batch_size=2), ValueError, "'batch_size' must be 1"),
    (dict(edge_index=torch.zeros(2, 1).long().to('meta')), ValueError,
     "'edge_index' must be on cpu"),
    (dict(edge_index=torch.tensor([[0], [1]]), edge_shift=torch.zeros(2, 3)),
     ValueError, r"'edge_shift' must have shape \[1, 3\]"),
], ids=lambda value: str(value)[:40].replace('\n', ' '))
def test_wrong_inputs(change, error, match):
    model, pos = build()
    with pytest.raises(error, match=match):
        model(**dict(dict(z=Z, pos=pos, batch=BATCH), **change))


@pytest.mark.parametrize('model_class', [SAKE, VectorSAKE])
def test_arguments_of_schnet_and_typing_errors(model_class):
    with pytest.raises(TypeError, match="'num_interactions' is 'num_layers', "
                       "'max_num_neighbors' is not there"):
        model_class(hidden_channels=8, num_interactions=2,
                    max_num_neighbors=32)
    with pytest.raises(TypeError, match=r"Conv has no arguments "
                       r"\['depth', 'hidden_chanels'\]"):
        model_class(hidden_chanels=8, depth=2)
    with pytest.raises(ValueError, match="'readout' must be 'add', 'mean', "
                       ".*got 'foo'"):
        model_class(8, readout='foo')
