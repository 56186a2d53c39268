import pytest
import torch
from torch.func import functional_call

from torch_sake import SAKE, VectorSAKE
from torch_sake.models.electronic import NumberEmbedding

Z = torch.tensor([8, 1, 1, 6, 1, 1, 1, 1])
BATCH = torch.tensor([0, 0, 0, 1, 1, 1, 1, 1])
CHARGE, SPIN = torch.tensor([1.0, -2.0]), torch.tensor([2, 3])

MODELS = pytest.mark.parametrize('model_class', [SAKE, VectorSAKE])


def build(model_class=VectorSAKE, dtype=torch.double, **options):
    torch.manual_seed(0)
    model = model_class(8, num_layers=2, num_rbf=5, embed_charge=True,
                        **options)
    return model.to(dtype), 2 * torch.randn(8, 3, dtype=dtype)


@MODELS
def test_neutral_singlets_stay_as_they_are(model_class):
    model, pos = build(model_class)
    expected = model(Z, pos, BATCH)
    state = model.state_dict()
    plain = model_class(8, num_layers=2, num_rbf=5).double()
    assert plain.electronic is None
    plain.load_state_dict({key: value for key, value in state.items()
                           if not key.startswith('electronic.')})
    assert torch.equal(plain(Z, pos, BATCH), expected)
    neutral = dict(charge=torch.zeros(2), spin=torch.ones(2))
    assert torch.equal(model(Z, pos, BATCH, **neutral), expected)
    assert torch.equal(plain(Z, pos, BATCH, **neutral), expected)


@MODELS
def test_plain_models_draw_what_they_drew(model_class):
    """The same weights follow from the same seed."""
    torch.manual_seed(3)
    model = model_class(8, num_layers=1, num_rbf=5)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    other = model_class(8, num_layers=1, num_rbf=5, embed_charge=False)
    assert torch.equal(torch.rand(1), drawn)
    assert model.state_dict().keys() == other.state_dict().keys()
    assert not any('electronic' in name for name in model.state_dict())


@MODELS
def test_every_state_differs(model_class):
    model, pos = build(model_class)
    outputs = [model(Z[:3], pos[:3], charge=charge, spin=spin).item()
               for charge, spin in [(0, 1), (1, 1), (-1, 1), (2, 1), (0, 2),
                                    (0, 3), (1, 2), (-1, 2)]]
    outputs.sort()
    assert all(b - a > 1e-4 for a, b in zip(outputs, outputs[1:]))


def test_formula():
    torch.manual_seed(0)
    embedding = NumberEmbedding(4).double()
    x = torch.randn(5, 4, dtype=torch.double)
    batch = torch.tensor([0, 1, 1, 0, 1])
    number = torch.tensor([-3.0, 2.0], dtype=torch.double)
    out = embedding(x, number, batch)
    for graph, sign in ((0, 1), (1, 0)):
        atoms = batch == graph
        query = x[atoms] @ embedding.lin_query.weight.t() + (
            embedding.lin_query.bias)
        weight = torch.log(1 + torch.exp(
            query @ embedding.key[sign] / 2)) + 1e-6
        share = number[graph].abs() * weight / weight.sum()
        first = share[:, None] * embedding.value[sign]
        hidden = first @ embedding.mlp[0].weight.t()
        expected = first + hidden * torch.sigmoid(hidden) @ (
            embedding.mlp[2].weight.t())
        assert torch.allclose(out[atoms], expected, atol=1e-12)
    # However far apart the weights are:
    with torch.no_grad():
        embedding.key.mul_(1e6)
    assert embedding(x, number, batch).isfinite().all()


@MODELS
def test_batches_are_single_graphs(model_class):
    model, pos = build(model_class)
    out = model(Z, pos, BATCH, charge=CHARGE, spin=SPIN)
    singles = torch.cat([
        model(Z[BATCH == graph], pos[BATCH == graph],
              charge=float(CHARGE[graph]), spin=int(SPIN[graph]))
        for graph in range(2)])
    assert torch.allclose(out, singles, atol=1e-12)
    order = torch.randperm(8)
    mixed = model(Z[order], pos[order], BATCH[order], charge=CHARGE, spin=SPIN)
    assert torch.allclose(out, mixed, atol=1e-12)
    swapped = model(Z, pos, 1 - BATCH, charge=CHARGE.flip(0),
                    spin=SPIN.flip(0))
    assert torch.allclose(out, swapped.flip(0), atol=1e-12)
    # With graphs without atoms, too:
    more = model(Z, pos, 2 * BATCH, batch_size=4,
                 charge=torch.tensor([1.0, 5.0, -2.0, 1.0]),
                 spin=torch.tensor([2, 1, 3, 1]))
    assert torch.allclose(more[::2], out, atol=1e-12)
    assert not more[1::2].any()


@MODELS
def test_derivatives(model_class):
    """Up to the second, with respect to positions, charges and weights."""
    model, pos = build(model_class)
    weights = {name: value for name, value in model.named_parameters()
               if 'electronic' in name}
    names = list(weights)

    def function(pos, charge, *values):
        return functional_call(
            model, dict(zip(names, values)), (Z[:4], pos, BATCH[:4]),
            dict(charge=charge, spin=SPIN.double()))

    inputs = (pos[:4].requires_grad_(), CHARGE.double().requires_grad_(),
              *weights.values())
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


@MODELS
def test_parameters_all_take_part(model_class):
    """For neutral singlets, too, as processes wait for all of them."""
    model, pos = build(model_class)
    model(Z, pos, BATCH, charge=torch.zeros(2)).sum().backward()
    assert [name for name, parameter in model.named_parameters()
            if parameter.grad is None or not parameter.grad.isfinite().all()
            ] == []


@pytest.mark.parametrize('dtype', [torch.float, torch.double])
def test_types(dtype):
    model, pos = build(dtype=dtype)
    out = model(Z, pos, BATCH, charge=CHARGE, spin=SPIN)
    assert out.dtype == dtype
    for other in (torch.int32, torch.long, torch.float, torch.double):
        assert torch.equal(out, model(Z, pos, BATCH, charge=CHARGE.to(other),
                                      spin=SPIN.to(other)))
    assert torch.equal(out, model(Z, pos.double(), BATCH, charge=CHARGE,
                                  spin=SPIN).to(dtype)) or dtype == torch.float


def test_equal_to_a_copy_after_reset():
    model, pos = build()
    torch.manual_seed(1)
    model.reset_parameters()
    other, _ = build()
    torch.manual_seed(1)
    other.reset_parameters()
    assert all(map(torch.equal, model.parameters(), other.parameters()))
    assert 'NumberEmbedding(8, signed=False)' in str(model.electronic)


@pytest.mark.parametrize('given, error, message', [
    (dict(charge=torch.zeros(3)), ValueError, r"'charge' must have shape \[2"),
    (dict(charge=1), ValueError, r"'charge' must have shape \[2"),
    (dict(charge='1'), TypeError, "'charge' must be a number"),
    (dict(spin=True), TypeError, "'spin' must be a number"),
    (dict(charge=torch.tensor([True, True])), TypeError,
     "'charge' must be numbers"),
    (dict(spin=torch.tensor([1j, 1j])), TypeError, "'spin' must be numbers"),
    (dict(charge=torch.tensor([0.0, torch.nan])), ValueError,
     "'charge' must be finite"),
    (dict(spin=torch.tensor([1, 0])), ValueError,
     r"'spin' must be multiplicities 2S \+ 1, from 1 on \(got 0\)"),
    (dict(charge=torch.zeros(2, device='meta')), ValueError,
     "'charge' must be on cpu"),
], ids=str)
def test_wrong_states(given, error, message):
    model, pos = build()
    with pytest.raises(error, match=message):
        model(Z, pos, BATCH, **given)


@MODELS
def test_models_without_an_embedding(model_class):
    model, pos = model_class(8, num_layers=1, num_rbf=5), torch.randn(8, 3)
    for given, got in ((dict(charge=CHARGE), 1), (dict(spin=SPIN), 2)):
        with pytest.raises(ValueError, match=f"'{[*given][0]}' must be . for "
                           f"a model without .* 'embed_charge' "
                           rf"\(got {got}\)"):
            model(Z, pos, BATCH, **given)
    with pytest.raises(TypeError, match="'embed_charge' must be a bool"):
        model_class(8, embed_charge=1)


def test_layers_on_features():
    model, pos = build()
    x = model.encode(Z, pos, BATCH, charge=CHARGE)
    assert x.shape == (8, 8)
    assert not torch.allclose(x, model.encode(Z, pos, BATCH))
