"""The equations of the layer."""

import pytest
import torch
from torch import Tensor

from torch_sake import VectorSAKEConv

OPTIONS = [
    dict(), dict(cutoff=2.5), dict(update_pos=False), dict(edge_dim=2),
    dict(vec_input=True), dict(vec_output=True), dict(out_channels=4),
    dict(vec_input=True, vec_output=True, cutoff=2.5, avg_num_neighbors=3.0),
]


def reference(conv: VectorSAKEConv, x: Tensor, pos: Tensor,
              edge_index: Tensor, vel: Tensor, edge_attr: Tensor = None,
              vec: Tensor = None):
    """The equations of the layer, node by node and edge by edge."""
    hidden, scale = conv.hidden_channels, conv.avg_num_neighbors**-0.5
    new_x, new_vel, new_vec = [], [], []
    for i in range(x.size(0)):
        message = torch.zeros(hidden).double()
        combinations = conv.lin_vel_input(x[i]).outer(
            vel[i]) if conv.update_pos else torch.zeros(hidden, 3).double()
        if vec is not None:
            combinations = combinations + vec[i].t()
        for e in range(edge_index.size(1)):
            j = int(edge_index[0, e])
            if int(edge_index[1, e]) != i:
                continue
            r = pos[j] - pos[i]
            d = (r.dot(r) + 1e-5).sqrt()
            phi = torch.exp(-conv.basis.betas *
                            (torch.exp(-conv.basis.alpha * d) -
                             conv.basis.means)**2)
            radial = conv.lin_radial.weight @ phi + conv.lin_radial.bias
            q = (conv.lin_source.weight @ x[j] + conv.lin_target.weight @ x[i]
                 + conv.lin_target.bias + radial[:hidden])
            if edge_attr is not None:
                q = q + conv.lin_edge.weight @ edge_attr[e]
            if vec is not None:
                weights = conv.lin_angle.weight  # [2F, F]
                q = q + (weights[:hidden] @ vec[i].t() + weights[hidden:] @
                         vec[j].t()) @ (r / (d + 1e-5))
            filters = radial[hidden:]
            if conv.cutoff is not None:
                t = min(float(d) / conv.cutoff, 1.0)
                filters = filters * (1 - 28 * t**6 + 48 * t**7 - 21 * t**8)
            embedding = conv.lin_message(
                torch.nn.functional.silu(q)) * filters
            both = conv.lin_coefficients.weight @ embedding
            message = message + scale * embedding
            combinations = combinations + scale * both[:hidden].outer(
                r / (d + 1e-5))
            if vec is not None:
                combinations = combinations + scale * (both[hidden:] *
                                                       vec[j]).t()
        if conv.update_pos:
            length = combinations.norm(dim=1, keepdim=True)
            combinations = combinations / (1 + (length / 3)**4)**0.25
        a = conv.lin_vec.weight[:hidden] @ combinations  # [F, D]
        b = conv.lin_vec.weight[hidden:] @ combinations
        skip = x[i] if conv.lin_skip is None else conv.lin_skip(x[i])
        new_x.append(skip + conv.mlp_node(torch.cat([
            x[i], message, (a * b).sum(1),
            (a.square().sum(1) + 1).sqrt() - 1])))
        if conv.update_pos:
            gate = 2 * torch.sigmoid(conv.mlp_vel(new_x[-1]))
            new_vel.append(conv.lin_vel.weight[0] @ combinations +
                           gate * vel[i])
        if conv.vec_output:
            new_vec.append((combinations + conv.lin_gate(new_x[-1])[:, None] *
                            b).t())
    outputs = [torch.stack(new_x), pos, vel]
    if conv.update_pos:
        outputs[2] = torch.stack(new_vel)
        outputs[1] = pos + outputs[2]
    return outputs + ([torch.stack(new_vec)] if conv.vec_output else [])


def test_initialization_is_that_of_the_whole_map():
    conv = VectorSAKEConv(64, 64, 64, edge_dim=72)
    for lin in (conv.lin_source, conv.lin_target, conv.lin_edge):
        assert abs(float(lin.weight.detach().std()) * 200**0.5 - 1) < 0.05


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_equations(options):
    conv = VectorSAKEConv(**dict(dict(in_channels=3, out_channels=3,
                                      hidden_channels=4, num_rbf=5),
                                 **options)).double()
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5)).t()
    edge_index = pairs[:, (pairs[0] != pairs[1]) & (torch.rand(25) < 0.8)]
    inputs = dict(x=torch.randn(5, 3).double(), pos=torch.randn(5, 3).double(),
                  edge_index=edge_index, vel=9 * torch.randn(5, 3).double())
    if conv.edge_dim is not None:
        inputs['edge_attr'] = torch.randn(edge_index.size(1), 2).double()
    if conv.vec_input:
        inputs['vec'] = torch.randn(5, 3, 4).double()
    outputs = conv(**inputs)
    expected = reference(conv, **inputs)
    assert len(outputs) == len(expected)
    for value, other in zip(outputs, expected):
        assert torch.allclose(value, other, atol=1e-12, rtol=0)
