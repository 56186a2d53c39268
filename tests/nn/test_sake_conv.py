"""The equations of the layer, and what only it has."""

import pytest
import torch
from torch import Tensor

from torch_sake import SAKEConv
from torch_sake.nn import EdgeEmbedding

OPTIONS = [
    dict(), dict(cutoff=2.5), dict(update_pos=False), dict(edge_dim=2),
    dict(edge_dim=2, cutoff=2.5, envelope='cosine'), dict(out_channels=4),
    dict(semantic_attention=False), dict(spatial_attention=False),
    dict(semantic_attention=False, cutoff=2.5),
    dict(spatial_attention=False, cutoff=2.5), dict(num_coefficients=3),
]


def reference(conv: SAKEConv, x: Tensor, pos: Tensor, edge_index: Tensor,
              vel: Tensor, edge_attr: Tensor = None):
    """The equations of the layer, node by node and edge by edge."""
    embed = conv.edge_embedding
    num_rbf = embed.basis.num_rbf
    new_x, new_vel = [], []
    for i in range(x.size(0)):
        edges = [e for e in range(edge_index.size(1))
                 if int(edge_index[1, e]) == i]
        embeddings, weights, directions = [], [], []
        for e in edges:
            j = int(edge_index[0, e])
            r = pos[j] - pos[i]
            d = (r.dot(r) + 1e-5).sqrt()
            q = (embed.lin_source.weight @ x[j] +
                 embed.lin_target.weight @ x[i] + embed.lin_target.bias)
            if edge_attr is not None:
                q = q + embed.lin_edge.weight @ edge_attr[e]
            phi = torch.exp(-embed.basis.betas *
                            (torch.exp(-embed.basis.alpha * d) -
                             embed.basis.means)**2)
            radial = torch.cat([phi * q[:num_rbf], d.view(1)])
            hidden = torch.nn.functional.silu(
                q[num_rbf:] + embed.lin_radial.weight @ radial)
            embeddings.append(embed.lin_out(hidden))
            directions.append(r / (d + 1e-5))
            weight = 1.0
            if conv.cutoff is not None:
                t = min(float(d) / conv.cutoff, 1.0)
                weight = 1 - 28 * t**6 + 48 * t**7 - 21 * t**8
                if 'Cosine' in str(conv.envelope):
                    weight = 0.5 * (1 + torch.cos(torch.tensor(
                        torch.pi * t, dtype=torch.double)))
            weights.append(float(weight))
        logits = [
            torch.celu(conv.attention.lin(e), alpha=2.0)
            if conv.semantic_attention else torch.zeros(conv.heads).double()
            for e in embeddings
        ]
        if conv.cutoff is not None:
            logits = [6 * torch.tanh(s / 6) for s in logits]
        total = sum((w * s.exp() for w, s in zip(weights, logits)),
                    torch.zeros(conv.heads).double())
        if conv.cutoff is not None:
            total = total + 1
        channels = conv.heads * conv.hidden_channels
        message = torch.zeros(channels).double()
        combinations = torch.zeros(conv.lin_coefficients.weight.size(0)
                                   if conv.spatial_attention else 0,
                                   pos.size(1)).double()
        for e, w, s, u in zip(embeddings, weights, logits, directions):
            attention = w * s.exp() / total  # [H]
            m = torch.outer(attention, e).flatten()
            message = message + m
            if conv.spatial_attention:
                c = torch.tanh(conv.lin_coefficients.weight @ m)
                combinations = combinations + torch.outer(c, u)
        combinations = combinations / (1 + sum(weights))
        inputs = [x[i], message]
        if conv.spatial_attention:
            inputs.append(conv.mlp_norm(combinations.square().sum(dim=1)))
        skip = x[i] if conv.lin_skip is None else conv.lin_skip(x[i])
        new_x.append(skip + conv.mlp_node(torch.cat(inputs)))
        if conv.update_pos:
            dv = 2 * torch.sigmoid(conv.mlp_vel(new_x[-1])) * vel[i]
            if conv.spatial_attention:
                dv = dv + conv.lin_vel.weight[0] @ combinations
            new_vel.append(dv)
    if not conv.update_pos:
        return torch.stack(new_x), pos, vel
    new_vel = torch.stack(new_vel)
    return torch.stack(new_x), pos + new_vel, new_vel


@pytest.mark.parametrize('options', OPTIONS, ids=str)
def test_equations(options):
    conv = SAKEConv(**dict(dict(in_channels=3, out_channels=3,
                                hidden_channels=4, heads=2, num_rbf=5),
                           **options)).double()
    pairs = torch.cartesian_prod(torch.arange(5), torch.arange(5)).t()
    edge_index = pairs[:, (pairs[0] != pairs[1]) & (torch.rand(25) < 0.8)]
    inputs = [torch.randn(5, 3).double(), torch.randn(5, 3).double(),
              edge_index, torch.randn(5, 3).double()]
    if conv.edge_dim is not None:
        inputs.append(torch.randn(edge_index.size(1), 2).double())
    for value, expected in zip(conv(*inputs), reference(conv, *inputs)):
        assert torch.allclose(value, expected, atol=1e-12, rtol=0)


def test_without_combinations_nothing_moves_by_itself():
    conv = SAKEConv(3, 3, spatial_attention=False)
    pos = torch.randn(2, 3)
    edge_index = torch.tensor([[0, 1], [1, 0]])
    assert torch.equal(conv(torch.randn(2, 3), pos, edge_index)[1], pos)


def test_initialization_is_that_of_the_whole_maps():
    conv = SAKEConv(64, 64, 64, heads=4, num_rbf=50)
    embed = conv.edge_embedding
    for weight, fan_in in [(embed.lin_source.weight[:50], 128),
                           (embed.lin_target.weight[50:], 179),
                           (embed.lin_radial.weight, 179),
                           (conv.lin_coefficients.weight, 256)]:
        assert abs(float(weight.detach().std()) * fan_in**0.5 - 1) < 0.05
    assert not embed.lin_target.bias.any()


def test_initialization_of_an_edge_embedding():
    embed = EdgeEmbedding(64, 64, num_rbf=50, edge_dim=72)
    for weight, fan_in in [(embed.lin_source.weight[:50], 200),
                           (embed.lin_edge.weight[50:], 251),
                           (embed.lin_radial.weight, 251),
                           (embed.lin_out.weight, 64)]:
        assert abs(float(weight.detach().std()) * fan_in**0.5 - 1) < 0.05
    assert not embed.lin_out.bias.any()
    with pytest.raises(ValueError, match="'edge_dim' must be at least 1"):
        EdgeEmbedding(64, 64, edge_dim=0)
