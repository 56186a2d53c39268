from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import Parameter, Sequential, SiLU
from torch_geometric.nn.inits import reset

from torch_sake.nn.init import draws_in_single_precision, shrink_last
from torch_sake.nn.input_checks import check_input
from torch_sake.ops.autocast import without_autocast
from torch_sake.ops.geometry import edge_vectors
from torch_sake.ops.linear import Linear
from torch_sake.ops.message_passing import UntypedMessagePassing
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import group_edges
from torch_sake.utils.plain_checks import check_positive_int

Messages = tuple[Tensor, Tensor, Tensor]


class EGNNConv(UntypedMessagePassing):
    r"""The layer of the `"E(n) Equivariant Graph Neural Networks"
    <https://arxiv.org/abs/2102.09844>`_ paper (section 3, with velocities:
    equation 7), a baseline on the interface of
    :class:`~torch_sake.nn.SAKEConv`

    .. math::
        \mathbf{m}_{ij} &= \phi_e(\mathbf{x}_i, \mathbf{x}_j,
        |\vec{r}_i - \vec{r}_j|^2, \mathbf{a}_{ij}) \\
        \vec{v}^{\prime}_i &= \phi_v(\mathbf{x}_i) \, \vec{v}_i +
        \frac{1}{n_i} \sum_j (\vec{r}_i - \vec{r}_j) \,
        \phi_x(\mathbf{m}_{ij}) \\
        \vec{r}^{\,\prime}_i &= \vec{r}_i + \vec{v}^{\prime}_i \\
        \mathbf{x}^{\prime}_i &= \mathbf{x}_i + \phi_h(\mathbf{x}_i,
        \textstyle\sum_j \mathbf{m}_{ij})

    with perceptrons :math:`\phi` and the number of neighbors :math:`n_i`.

    Args:
        channels (int): Size of the node features and all hidden layers.
        edge_dim (int, optional): Size of the edge features, if there are any.
            (default: :obj:`None`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        As those of :class:`~torch_sake.nn.KineticConv`, without edge weights.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range. Values of tensors are looked at on the CPU only.
    """
    update_pos = vel_gate = look_at_values = True  # as in other layers

    @draws_in_single_precision
    def __init__(self, channels: int, edge_dim: int | None = None,
                 **kwargs):
        super().__init__(**kwargs)
        self.channels = check_positive_int('channels', channels)
        self.in_channels = self.channels
        if edge_dim is not None:
            check_positive_int('edge_dim', edge_dim)
        self.edge_dim = edge_dim
        self.mlp_edge = Sequential(
            Linear(2 * channels + 1 + (edge_dim or 0), channels), SiLU(),
            Linear(channels, channels), SiLU())
        self.mlp_node = Sequential(Linear(2 * channels, channels), SiLU(),
                                   Linear(channels, channels))
        self.mlp_pos = Sequential(Linear(channels, channels), SiLU(),
                                  Linear(channels, 1, bias=False))
        self.mlp_vel = Sequential(Linear(channels, channels), SiLU(),
                                  Linear(channels, 1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module, as the authors do:
        positions move little at first.
        """
        super().reset_parameters()
        for child in self.children():
            reset(child)
        shrink_last(self.mlp_pos, gain=0.001)

    def kinetic_parameters(self) -> Iterator[Parameter]:
        r"""Yields the parameters of the update of positions and velocities."""
        yield from self.mlp_pos.parameters()
        yield from self.mlp_vel.parameters()

    @without_autocast
    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor,
        vel: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        r"""Runs the forward pass of the module. All arguments are those of
        :meth:`torch_sake.nn.KineticConv.forward`.
        """
        edge_index = check_input(self, x, pos, edge_index, vel, edge_attr,
                                 edge_shift)
        from_sources = (edge_index if self.flow == 'source_to_target' else
                        edge_index.flip(0))
        vec = -edge_vectors(pos, from_sources, edge_shift, x.dtype)  # [E, D]
        message, step = self.propagate(edge_index, x=x, vec=vec,
                                       edge_attr=edge_attr,
                                       size=(x.size(0), x.size(0)))
        new_vel = step
        if vel is not None:
            new_vel = new_vel + self.mlp_vel(x) * vel
        x = x + self.mlp_node(torch.cat([x, message], dim=1))
        return x, pos + new_vel, new_vel

    def message(self, x_i: Tensor, x_j: Tensor, vec: Tensor,
                edge_attr: Tensor | None) -> Messages:
        """"""
        inputs = [x_i, x_j, vec.square().sum(dim=1, keepdim=True)]
        if edge_attr is not None:
            inputs.append(edge_attr)
        message = self.mlp_edge(torch.cat(inputs, dim=1))  # [E, F]
        return message, vec * self.mlp_pos(message), torch.ones_like(
            vec[:, :1])

    def explain_message(self, inputs: Messages) -> Messages:
        r"""The mask of an explainer scales all that comes from an edge, and
        what it counts.
        """
        message, step, ones = inputs
        mask = self.edge_mask(message)
        return message * mask, step * mask, ones * mask

    def aggregate(self, inputs: Messages, index: Tensor,
                  dim_size: int) -> tuple[Tensor, Tensor]:
        """"""
        message, step, ones = inputs
        targets = group_edges(index, dim_size)
        count = sum_edges(ones, targets)
        return (sum_edges(message, targets),
                sum_edges(step, targets) / count.clamp(min=1))

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.channels}, '
                f'edge_dim={self.edge_dim})')
