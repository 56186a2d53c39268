from typing import Any

import torch
from torch import Tensor
from torch.nn import Sequential, SiLU

from torch_sake.nn.attention import SemanticAttention, normalize_attention
from torch_sake.nn.edge_embedding import EdgeEmbedding
from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.nn.kinetic_conv import KineticConv
from torch_sake.ops.linear import Linear
from torch_sake.ops.scatter import sum_edges, sum_outer_products
from torch_sake.ops.segments import Segments
from torch_sake.ops.tanh import tanh
from torch_sake.utils.plain_checks import check_bool, check_positive_int

Messages = tuple[Tensor, Tensor, Tensor, Tensor | None]
Outputs = tuple[Tensor, Tensor, Tensor | None]


class SAKEConv(KineticConv):
    r"""The layer of the `"Spatial Attention Kinetic Networks with
    E(n)-Equivariance" <https://arxiv.org/abs/2301.08893>`_ paper (section 3),
    on a graph in any number of dimensions

    .. math::
        \mathbf{m}_{ij} &= \mathbf{e}_{ij} \otimes \mathbf{w}_{ij} \\
        \vec{p}_i &= \frac{1}{1 + \sum_j f_{ij}} \sum_j
        \tanh(\mathbf{W}_c \mathbf{m}_{ij}) \, \vec{u}_{ij} \\
        \mathbf{g}_i &= \mathrm{silu} \circ \mathrm{Linear} \circ
        \mathrm{silu} \circ \mathrm{Linear} \left( |\vec{p}_i|^2 \right) \\
        \mathbf{x}^{\prime}_i &= \mathbf{x}_i + \mathrm{silu} \circ
        \mathrm{Linear} \circ \mathrm{silu} \circ \mathrm{Linear} \left(
        [\mathbf{x}_i, \textstyle\sum_j \mathbf{m}_{ij}, \mathbf{g}_i]
        \right)

    and positions and velocities as in :class:`~torch_sake.nn.KineticConv`,
    with the edge embeddings :math:`\mathbf{e}_{ij}` of
    :class:`~torch_sake.nn.EdgeEmbedding`, the attention weights
    :math:`\mathbf{w}_{ij}` of :class:`~torch_sake.nn.SemanticAttention`, the
    directions :math:`\vec{u}_{ij}` from the target to the source and
    :math:`f_{ij} = 1`, or the envelope of the cutoff.
    With a cutoff, every term of an edge carries its envelope, in a way that
    keeps outputs smooth as the last neighbor leaves.

    Args:
        heads (int, optional): Number of attention heads :math:`H`.
            (default: :obj:`4`)
        num_rbf (int, optional): Number of radial functions.
            (default: :obj:`50`)
        semantic_attention (bool, optional): If set to :obj:`False`, all
            neighbors have the same attention logit.
            (default: :obj:`True`)
        spatial_attention (bool, optional): If set to :obj:`False`, there are
            no combinations: :math:`\mathbf{g}_i` is left out and only an
            incoming velocity moves positions. (default: :obj:`True`)
        num_coefficients (int, optional): Number :math:`C` of combinations
            :math:`\vec{p}_i`; :math:`HF`, as in the paper, if not given.
            Nearly all of the arithmetic goes into :math:`\mathbf{W}_c`, a
            matrix of :math:`C \times HF`. (default: :obj:`None`)
        **kwargs (optional): All other arguments, inputs, outputs and errors
            are those of :class:`~torch_sake.nn.KineticConv`.
    """
    @draws_in_single_precision
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int | None = None,
        heads: int = 4,
        num_rbf: int = 50,
        edge_dim: int | None = None,
        cutoff: float | None = None,
        update_pos: bool = True,
        semantic_attention: bool = True,
        spatial_attention: bool = True,
        num_coefficients: int | None = None,
        **kwargs,
    ):
        super().__init__(in_channels, out_channels, hidden_channels, edge_dim,
                         cutoff, update_pos, **kwargs)
        self.heads = check_positive_int('heads', heads)
        self.semantic_attention = check_bool('semantic_attention',
                                             semantic_attention)
        self.spatial_attention = check_bool('spatial_attention',
                                            spatial_attention)

        hidden = self.hidden_channels
        channels = heads * hidden  # HF
        if num_coefficients is None:
            num_coefficients = channels
        check_positive_int('num_coefficients', num_coefficients)
        self.edge_embedding = EdgeEmbedding(
            in_channels, hidden, num_rbf, edge_dim,
            max_distance=5.0 if cutoff is None else cutoff)
        if semantic_attention:
            self.attention = SemanticAttention(hidden, heads)
        if spatial_attention:
            self.lin_coefficients = Linear(channels, num_coefficients,
                                           bias=False)
            self.mlp_norm = Sequential(Linear(num_coefficients, hidden),
                                       SiLU(), Linear(hidden, hidden), SiLU())
        node_inputs = in_channels + channels + (
            hidden if spatial_attention else 0)
        self.mlp_node = Sequential(Linear(node_inputs, hidden), SiLU(),
                                   Linear(hidden, out_channels), SiLU())
        if update_pos and spatial_attention:
            self.lin_vel = Linear(num_coefficients, 1, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        super().reset_parameters()
        reset(self.edge_embedding)

    def message_inputs(self, x: Tensor, **inputs: Any) -> dict[str, Any]:
        """"""
        source, target = self.edge_embedding.project(x)
        return {'source': source, 'target': target}

    def message(self, source_j: Tensor, target_i: Tensor, dist: Tensor,
                direction: Tensor, edge_attr: Tensor | None,
                edge_weight: Tensor | None, targets: Segments) -> Messages:
        """"""
        embedding = self.edge_embedding(source_j, target_i, dist,
                                        edge_attr)  # [E, F]
        mask = self.edge_mask(embedding) if self.explain else None
        if self.semantic_attention:
            attention = self.attention(embedding, targets, edge_weight, mask)
        else:
            attention = normalize_attention(
                embedding.new_zeros(embedding.size(0), self.heads), targets,
                edge_weight, mask)
        return embedding, attention, direction, edge_weight

    def explain_message(self, inputs: Messages) -> Messages:
        r"""The mask of an explainer scales the embeddings of the edges and
        what they count, as it does in the attention.
        """
        embedding, attention, direction, edge_weight = inputs
        mask = self.edge_mask(embedding)
        return (embedding * mask, attention, direction,
                mask if edge_weight is None else edge_weight * mask)

    def aggregate(self, inputs: Messages,
                  targets: Segments) -> tuple[Tensor, Tensor | None]:
        """"""
        embedding, attention, direction, edge_weight = inputs
        combinations = None
        if self.spatial_attention:
            if edge_weight is None:
                edge_weight = torch.ones_like(direction[:, :1])
            count = 1 + sum_edges(edge_weight, targets)  # [N, 1]
            combinations = self.combine(embedding, attention, direction,
                                        targets) / count.unsqueeze(1)
        message = sum_outer_products(embedding, attention, targets)
        return message.flatten(start_dim=1), combinations

    def combine(self, embedding: Tensor, attention: Tensor, direction: Tensor,
                targets: Segments) -> Tensor:
        r"""Returns the sums of the combinations, without a tensor of size
        :math:`(E, D, C)`.

        Shapes:
            - **input:** edge embeddings :math:`(E, F)`, attention weights
              :math:`(E, H)`, directions :math:`(E, D)`
            - **output:** sums :math:`(N, D, C)`
        """
        message = (attention.unsqueeze(2) * embedding.unsqueeze(1)).flatten(
            start_dim=1)  # [E, HF], head by head
        return sum_outer_products(tanh(self.lin_coefficients(message)),
                                  direction, targets)

    def update(self, inputs: tuple[Tensor, Tensor | None], x: Tensor,
               pos: Tensor, vel: Tensor | None) -> Outputs:
        """"""
        message, combinations = inputs  # [N, HF], [N, D, C] or None
        node_inputs = [x, message]
        if combinations is not None:
            node_inputs.append(self.mlp_norm(combinations.square().sum(dim=1)))
        x = self.skip(x) + self.mlp_node(torch.cat(node_inputs, dim=1))
        if self.update_pos:
            new_vel = torch.zeros_like(pos)
            if combinations is not None:
                new_vel = self.lin_vel(combinations).squeeze(2)  # [N, D]
            pos, vel = self.update_kinetics(x, pos, vel, new_vel)
        return x, pos, vel

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.in_channels}, '
                f'{self.out_channels}, heads={self.heads}, '
                f'cutoff={self.cutoff}, update_pos={self.update_pos})')
