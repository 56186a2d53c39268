import torch
from torch import Tensor
from torch_geometric.utils import scatter

from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.ops.linear import Linear
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.utils.plain_checks import check_positive_int


class SemanticAttention(torch.nn.Module):
    r"""The semantic attention of SAKE (paper, section 3.2): weights of the
    neighbors of a node, for each head, from the embeddings of its edges

    .. math::
        s_{ij} = \mathrm{celu}_2(\mathbf{W} \mathbf{e}_{ij} + \mathbf{b}),
        \quad
        w_{ij} = \frac{f_{ij} \exp s_{ij}}
        {n_i + \sum_{k \in \mathcal{N}(i)} f_{ik} \exp s_{ik}}

    Without edge weights :math:`f_{ij}`, :math:`n_i` is zero and the weights
    are the paper's softmax. With them (the envelope of a cutoff),
    :math:`n_i = 1` is a neighbor that is always there and says nothing:
    without it, the weight of a last neighbor would stay 1 up to the very
    cutoff, and the energy would jump when it leaves. Logits are then bounded,
    :math:`6 \tanh(s_{ij} / 6)` in the place of :math:`s_{ij}`: a large one
    would undo the envelope up to a short distance from the cutoff.

    The mask of an explainer scales :math:`\exp s_{ij}`, with or without a
    cutoff: an edge whose mask is zero is not there.

    Args:
        hidden_channels (int): Size of the edge embeddings.
        heads (int, optional): Number of heads :math:`H`. (default: :obj:`4`)

    Shapes:
        - **input:** edge embeddings :math:`(E, F)`, edges of each target,
          edge weights :math:`(E, 1)` *(optional)*, mask :math:`(E, 1)`
          *(optional)*
        - **output:** attention weights :math:`(E, H)`
    """
    @draws_in_single_precision
    def __init__(self, hidden_channels: int, heads: int = 4):
        super().__init__()
        self.heads = check_positive_int('heads', heads)
        self.lin = Linear(hidden_channels, heads)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        reset(self.lin)

    def forward(self, edge_embedding: Tensor, targets: Segments,
                edge_weight: Tensor | None = None,
                mask: Tensor | None = None) -> Tensor:
        """"""
        logits = torch.nn.functional.celu(self.lin(edge_embedding), alpha=2.0)
        return normalize_attention(logits, targets, edge_weight, mask)

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.lin.in_features}, '
                f'heads={self.heads})')


def normalize_attention(logits: Tensor, targets: Segments,
                        edge_weight: Tensor | None = None,
                        mask: Tensor | None = None) -> Tensor:
    r"""The second formula of :class:`SemanticAttention`.

    Shapes:
        - **input:** logits :math:`(E, H)`, edges of each target, edge weights
          :math:`(E, 1)` *(optional)*, mask :math:`(E, 1)` *(optional)*
        - **output:** attention weights :math:`(E, H)`
    """
    if edge_weight is not None:
        # Not by name: torch's compiler makes a symbol of a global number,
        # which layers that are computed again cannot share.
        logits = 6 * torch.tanh(logits / 6)
    # The largest logit of each node is taken out before the exponential; it
    # cancels, so needs no derivative.
    largest = scatter(logits.detach(), targets.index, 0, targets.num_nodes,
                      'max')  # [N, H]
    if edge_weight is not None:
        largest = largest.clamp(min=0.0)  # the logit of the silent neighbor
    weights = torch.exp(
        logits - largest.index_select(0, targets.index))  # [E, H]
    if edge_weight is None:
        if mask is not None:
            weights = weights * _without_zero_sums(mask, targets)
        total = sum_edges(weights, targets)  # [N, H]
    else:
        if mask is not None:
            edge_weight = edge_weight * mask
        weights = weights * edge_weight
        total = sum_edges(weights, targets) + torch.exp(-largest)
    return weights / total.index_select(0, targets.index)


def _without_zero_sums(mask: Tensor, targets: Segments) -> Tensor:
    r"""Returns the mask, but ones for the nodes where all are zero: messages
    are zero there, whatever the attention is.
    """
    known = sum_edges(mask.detach(), targets) > 0  # [N, 1]
    return torch.where(known.index_select(0, targets.index), mask, 1.0)
