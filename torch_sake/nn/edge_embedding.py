import torch
from torch import Tensor
from torch.nn import SiLU

from torch_sake.nn.init import draws_in_single_precision, is_linear, reset
from torch_sake.nn.radial_basis import ExpNormalBasis
from torch_sake.ops.linear import Linear
from torch_sake.utils.plain_checks import check_positive_int


class EdgeEmbedding(torch.nn.Module):
    r"""The continuous-filter convolution with concatenation of SAKE (paper,
    section 3.1)

    .. math::
        \mathbf{q}_{ij} &= [\mathbf{x}_j, \mathbf{x}_i, \mathbf{a}_{ij}] \\
        \mathbf{e}_{ij} &= \mathbf{W}_2 \, \mathrm{silu} \left( \mathbf{W}_1
        \left[ \mathbf{q}_{ij}, \boldsymbol{\phi}(d_{ij}) \odot \left(
        \mathbf{W}_0 \mathbf{q}_{ij} + \mathbf{b}_0 \right), d_{ij} \right] +
        \mathbf{b}_1 \right) + \mathbf{b}_2

    The products of :math:`\mathbf{W}_0` and :math:`\mathbf{W}_1` with
    :math:`\mathbf{q}_{ij}` are sums of a part of the source, a part of the
    target and a part of the edge. Those of the nodes are computed once per
    node by :meth:`project`, before the messages; both maps side by side.

    Args:
        in_channels (int): Size of the node features.
        hidden_channels (int): Size of the embedding :math:`F`.
        num_rbf (int, optional): Number of radial functions :math:`K`.
            (default: :obj:`50`)
        edge_dim (int, optional): Size of the edge features :math:`A`.
            (default: :obj:`None`)
        max_distance (float, optional): Range of the radial functions.
            (default: :obj:`5.0`)

    Shapes:
        - **input:** source and target parts, gathered for each edge
          :math:`(E, K + F)`, distances :math:`(E, 1)`, edge features
          :math:`(E, A)` *(optional)*
        - **output:** edge embeddings :math:`(E, F)`
    """
    @draws_in_single_precision
    def __init__(self, in_channels: int, hidden_channels: int,
                 num_rbf: int = 50, edge_dim: int | None = None,
                 max_distance: float = 5.0):
        super().__init__()
        self.in_channels = check_positive_int('in_channels', in_channels)
        self.hidden_channels = check_positive_int('hidden_channels',
                                                  hidden_channels)
        self.edge_dim = edge_dim
        self.num_rbf = check_positive_int('num_rbf', num_rbf)
        self.basis = ExpNormalBasis(num_rbf, max_distance)
        width = num_rbf + hidden_channels
        self.lin_source = Linear(in_channels, width, bias=False)
        self.lin_target = Linear(in_channels, width)
        if edge_dim is not None:
            check_positive_int('edge_dim', edge_dim)
            self.lin_edge = Linear(edge_dim, width, bias=False)
        self.lin_radial = Linear(num_rbf + 1, hidden_channels, bias=False)
        self.act = SiLU()
        self.lin_out = Linear(hidden_channels, hidden_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        reset(self.basis)
        num_rbf = self.num_rbf
        filter_inputs = 2 * self.in_channels + (self.edge_dim or 0)
        hidden_inputs = filter_inputs + num_rbf + 1
        for part in (self.lin_source, self.lin_target) + (
            (self.lin_edge, ) if self.edge_dim is not None else ()):
            reset(part, fan_in=filter_inputs)
            if is_linear(part):
                with torch.no_grad():  # The second map has more inputs.
                    part.weight[num_rbf:] *= (filter_inputs /
                                              hidden_inputs)**0.5
        reset(self.lin_radial, fan_in=hidden_inputs)
        reset(self.lin_out)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns the source and the target part of each node.

        Shapes:
            - **input:** node features :math:`(N, F_{in})`
            - **output:** two parts :math:`(N, K + F)`
        """
        return self.lin_source(x), self.lin_target(x)

    def forward(self, source: Tensor, target: Tensor, dist: Tensor,
                edge_attr: Tensor | None = None) -> Tensor:
        """"""
        q = source + target  # [E, K + F]
        if edge_attr is not None:
            q = q + self.lin_edge(edge_attr)
        filters, hidden = q.split(
            [self.num_rbf, self.hidden_channels], dim=1)
        radial = torch.cat([self.basis(dist) * filters, dist], dim=1)
        return self.lin_out(self.act(hidden + self.lin_radial(radial)))

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.in_channels}, '
                f'{self.hidden_channels}, num_rbf={self.num_rbf}, '
                f'edge_dim={self.edge_dim})')
