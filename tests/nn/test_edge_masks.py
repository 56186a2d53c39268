"""Masks of the explainers of torch_geometric.explain: an edge without a mask
is there, one whose mask is zero is not."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch_geometric.explain import Explainer, GNNExplainer
from torch_geometric.explain.algorithm.utils import clear_masks, set_masks

from torch_sake import SAKEConv, SAKENet, VectorSAKEConv
from torch_sake.models import EGNN
from torch_sake.nn import EGNNConv

KINETIC = [
    (conv, dict(cutoff=cutoff, update_pos=update_pos, **options))
    for cutoff in (None, 2.5) for update_pos in (True, False)
    for conv, options in (
        (SAKEConv, {}), (SAKEConv, dict(semantic_attention=False)),
        (SAKEConv, dict(spatial_attention=False)), (VectorSAKEConv, {}))
]


def build(case, flow, num_edges, has_vel):
    """A layer and inputs: a graph that has any edges, loops and the same edge
    twice among them."""
    conv_class, options = case
    if conv_class is EGNNConv:
        conv = EGNNConv(3, 2, flow=flow).double()
        with torch.no_grad():
            conv.mlp_pos[-1].weight *= 1000
    else:
        conv = conv_class(3, 3, 4, num_rbf=5, edge_dim=2, flow=flow,
                          **options).double()
    inputs = dict(x=torch.randn(5, 3), pos=torch.randn(5, 3),
                  edge_attr=torch.randn(num_edges, 2))
    if has_vel and options.get('update_pos', True):
        inputs['vel'] = torch.randn(5, 3)
    inputs = {key: value.double() for key, value in inputs.items()}
    return conv, inputs, torch.randint(5, (2, num_edges))


def assert_equal(outputs, expected, tolerance):
    for value, other in zip(outputs, expected, strict=True):
        if value is not None:
            assert torch.allclose(value, other, atol=tolerance, rtol=0)


@pytest.mark.parametrize('case', [(EGNNConv, {}), *KINETIC], ids=str)
@given(seed=st.integers(0, 2**31), num_edges=st.integers(0, 14),
       flow=st.sampled_from(['source_to_target', 'target_to_source']),
       has_vel=st.booleans(), apply_sigmoid=st.booleans())
def test_masked_edges_are_not_there(case, seed, num_edges, flow, has_vel,
                                    apply_sigmoid):
    torch.manual_seed(seed)
    conv, inputs, edge_index = build(case, flow, num_edges, has_vel)
    expected = conv(edge_index=edge_index, **inputs)
    there = torch.rand(num_edges) < torch.rand(())
    rest = conv(edge_index=edge_index[:, there],
                **dict(inputs, edge_attr=inputs['edge_attr'][there]))

    mask = torch.full((num_edges, ), 1.0).double()
    set_masks(conv, torch.where(mask > 0, 800.0, 0.0) if apply_sigmoid
              else mask, edge_index, apply_sigmoid)
    assert_equal(conv(edge_index=edge_index, **inputs), expected, 1e-12)
    for value, tolerance in ((0.0, 1e-12), (1e-9, 1e-6)):
        mask[~there] = value
        set_masks(conv, mask.logit() if apply_sigmoid else mask, edge_index,
                  apply_sigmoid)
        assert_equal(conv(edge_index=edge_index, **inputs), rest, tolerance)
    clear_masks(conv)
    assert_equal(conv(edge_index=edge_index, **inputs), expected, 0)


@pytest.mark.parametrize('case', [(EGNNConv, {}), *KINETIC], ids=str)
def test_derivatives(case):
    torch.manual_seed(0)
    conv, inputs, edge_index = build(case, 'source_to_target', 6, True)

    def outputs(mask):
        set_masks(conv, mask, edge_index, False)
        return tuple(value for value in conv(edge_index=edge_index, **inputs)
                     if value is not None)

    mask = torch.rand(6).double().requires_grad_()
    assert gradcheck(outputs, (mask, ))


@pytest.mark.parametrize('cutoff', [None, 2.5])
def test_derivative_at_zero(cutoff):
    """Of the only edge of a node: from the right, it is what it is beside."""
    conv, inputs, edge_index = build((SAKEConv, dict(cutoff=cutoff)),
                                     'source_to_target', 1, False)
    grads = []
    for value in (0.0, 1e-9):
        mask = torch.tensor([value]).double().requires_grad_()
        set_masks(conv, mask, edge_index, False)
        conv(edge_index=edge_index, **inputs)[0].sum().backward()
        grads.append(mask.grad)
    assert torch.allclose(*grads, atol=1e-8)


@pytest.mark.parametrize('case', [(EGNNConv, {}), (SAKEConv, {}),
                                  (VectorSAKEConv, {})], ids=str)
def test_many_edges(case):
    """Quick sums, which there are for many edges only."""
    torch.manual_seed(0)
    conv, inputs, edge_index = build(case, 'source_to_target', 1500, False)
    there = torch.rand(1500) < 0.5
    rest = conv(edge_index=edge_index[:, there],
                **dict(inputs, edge_attr=inputs['edge_attr'][there]))
    set_masks(conv, there.double(), edge_index, False)
    assert_equal(conv(edge_index=edge_index, **inputs), rest, 1e-11)


def test_mask_of_other_edges():
    conv, inputs, edge_index = build((SAKEConv, {}), 'source_to_target', 6,
                                     False)
    set_masks(conv, torch.ones(5), edge_index, False)
    with pytest.raises(ValueError, match=r'each of the 6 edges .*\(got \[5'):
        conv(edge_index=edge_index, **inputs)


@pytest.mark.parametrize('dtype', [torch.float, torch.double], ids=str)
@pytest.mark.parametrize('build_net', [
    lambda: SAKENet(2, 4, 1, num_layers=2, num_rbf=4),
    lambda: SAKENet(2, 4, 1, num_layers=2, cutoff=2.5, num_rbf=4),
    lambda: SAKENet(2, 4, 1, num_layers=2, conv='vector', num_rbf=4),
    lambda: EGNN(2, 4, 1, num_layers=2),
], ids=['sake', 'cutoff', 'vector', 'egnn'])
def test_explainer(build_net, dtype):
    """Edges of another component than the output get no gradient."""
    class Energy(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = build_net().to(dtype)

        def forward(self, x, edge_index, pos):
            return self.net(x, pos, edge_index)[0][:3].sum().view(1, 1)

    torch.manual_seed(0)
    edge_index = torch.tensor([[0, 1, 1, 2, 3, 4], [1, 0, 2, 1, 4, 3]])
    explainer = Explainer(
        Energy(), GNNExplainer(epochs=20), 'model', edge_mask_type='object',
        model_config=dict(mode='regression', task_level='graph',
                          return_type='raw'))
    mask = explainer(torch.randn(5, 2).to(dtype), edge_index,
                     pos=0.3 * torch.randn(5, 3).to(dtype)).edge_mask
    assert (mask[:4] > 0).all() and (mask[4:] == 0).all()
