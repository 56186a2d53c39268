from itertools import chain

import torch
from torch import Tensor
from torch.nn import Linear
from torch_geometric.nn.inits import reset

from torch_sake.models.graph import check_graph
from torch_sake.nn.egnn_conv import EGNNConv
from torch_sake.nn.init import draws_in_single_precision
from torch_sake.ops.autocast import without_autocast
from torch_sake.ops.derivatives import with_zero_derivatives
from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.checks import check_tensor
from torch_sake.utils.plain_checks import check_positive_int


class EGNN(torch.nn.Module):
    r"""The network of the `"E(n) Equivariant Graph Neural Networks"
    <https://arxiv.org/abs/2102.09844>`_ paper with velocities, a baseline in
    the place of :class:`~torch_sake.SAKENet`: a linear embedding, a stack of
    :class:`~torch_sake.nn.EGNNConv`, each of which is given the first
    velocities, and a linear map.

    Args:
        in_channels (int): Size of the input features.
        hidden_channels (int): Size of the hidden features.
        out_channels (int): Size of the output features. What follows is given
            by name only.
        num_layers (int, optional): Number of layers. (default: :obj:`4`)
        edge_dim (int, optional): Size of the edge features, if there are any.
            (default: :obj:`None`)
        cutoff (float, optional): Length of the edges that are found where none
            are given; :obj:`None` stands for all pairs. They have no envelope.
            (default: :obj:`None`)

    Shapes:
        As those of :class:`~torch_sake.SAKENet`.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range. Values of tensors are looked at on the CPU only.
    """
    @draws_in_single_precision
    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        num_layers: int = 4,
        edge_dim: int | None = None,
        cutoff: float | None = None,
    ):
        super().__init__()
        self.in_channels = check_positive_int('in_channels', in_channels)
        check_positive_int('out_channels', out_channels)
        check_positive_int('num_layers', num_layers)
        if cutoff is not None:
            check_cutoff('cutoff', cutoff)
        self.cutoff = cutoff
        self.lin_in = Linear(in_channels, hidden_channels)
        self.convs = torch.nn.ModuleList(
            EGNNConv(hidden_channels, edge_dim) for _ in range(num_layers))
        self.lin_out = Linear(hidden_channels, out_channels)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for child in self.children():
            reset(child)

    @without_autocast
    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor | None = None,
        vel: Tensor | None = None,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        r"""Runs the forward pass of the module. All arguments are those of
        :meth:`torch_sake.SAKENet.forward`.
        """
        check_tensor('x', x, ('N', self.in_channels), self.lin_in.weight.dtype)
        edge_index, _ = check_graph(x, pos, edge_index, batch, self.cutoff,
                                    edge_attr)
        x, new_vel = self.lin_in(x), vel
        for conv in self.convs:
            x, pos, new_vel = conv(x, pos, edge_index, vel, edge_attr)
        x = with_zero_derivatives(self.lin_out(x), chain.from_iterable(
            conv.kinetic_parameters() for conv in self.convs))
        return x, pos, new_vel
