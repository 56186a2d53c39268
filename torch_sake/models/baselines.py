r"""Simple baselines for dynamics, as those that Satorras et al.
(arXiv:2102.09844) compare with, on the interface of
:class:`~torch_sake.SAKENet`.
"""


import torch
from torch import Tensor
from torch.nn import Linear, Parameter, Sequential, SiLU, Tanh
from torch_geometric.nn.inits import reset

from torch_sake.models.graph import check_graph
from torch_sake.nn.init import draws_in_single_precision, shrink_last
from torch_sake.ops.autocast import without_autocast
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import group_edges
from torch_sake.utils.checks import check_tensor
from torch_sake.utils.plain_checks import check_positive_int

Outputs = tuple[Tensor | None, Tensor, Tensor | None]


class Baseline(torch.nn.Module):
    r"""What the baselines have in common: the call of
    :class:`~torch_sake.SAKENet`, which checks its arguments and finds all
    pairs where no edges are given.
    """
    @without_autocast
    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor | None = None,
        vel: Tensor | None = None,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> Outputs:
        r"""Runs the forward pass of the module. All arguments are those of
        :meth:`torch_sake.SAKENet.forward`; velocities are needed.
        """
        check_tensor('x', x, ('N', 'F'))
        edge_index, _ = check_graph(x, pos, edge_index, batch,
                                    edge_attr=edge_attr)
        check_tensor('vel', vel, tuple(pos.shape), x.dtype)
        if edge_attr is not None:
            check_tensor('edge_attr', edge_attr, (edge_index.size(1), 'A'),
                         x.dtype)
        return self.predict(x, pos, edge_index, vel, edge_attr)


class LinearDynamics(Baseline):
    r"""Constant velocity for a learned time :math:`t`:
    :math:`\vec{r}^{\,\prime}_i = \vec{r}_i + t \, \vec{v}_i`.

    Shapes:
        As those of :class:`~torch_sake.SAKENet`; features and velocities come
        out as they came.
    """
    def __init__(self):
        super().__init__()
        self.time = Parameter(torch.ones(1))

    def reset_parameters(self) -> None:
        r"""Resets the time to 1."""
        torch.nn.init.ones_(self.time)

    def predict(self, x: Tensor, pos: Tensor, edge_index: Tensor, vel: Tensor,
                edge_attr: Tensor | None) -> Outputs:
        """"""
        return x, pos + self.time * vel, vel


class RadialField(Baseline):
    r"""The radial field of `Koehler et al. (2019)
    <https://arxiv.org/abs/1910.00753>`_ with velocities: layers without node
    features

    .. math::
        \vec{v}^{\prime}_i &= \phi_v(|\vec{v}_i|) \, \vec{v}_i + \sum_j
        (\vec{r}_i - \vec{r}_j) \, \phi(|\vec{r}_i - \vec{r}_j|^2,
        \mathbf{a}_{ij}) \\
        \vec{r}^{\,\prime}_i &= \vec{r}_i + \vec{v}^{\prime}_i

    with the first velocities :math:`\vec{v}_i` and perceptrons
    :math:`\phi`, that of the field bounded by 1.

    Args:
        hidden_channels (int): Size of the hidden layers. What follows is given
            by name only.
        num_layers (int, optional): Number of layers. (default: :obj:`4`)
        edge_dim (int, optional): Size of the edge features, if there are any.
            (default: :obj:`None`)

    Shapes:
        As those of :class:`~torch_sake.SAKENet`; features come out as they
        came.
    """
    @draws_in_single_precision
    def __init__(self, hidden_channels: int, *, num_layers: int = 4,
                 edge_dim: int | None = None):
        super().__init__()
        check_positive_int('hidden_channels', hidden_channels)
        check_positive_int('num_layers', num_layers)
        self.fields, self.gates = (
            torch.nn.ModuleList(
                Sequential(Linear(size, hidden_channels), SiLU(),
                           Linear(hidden_channels, 1, bias=False), last())
                for _ in range(num_layers))
            for size, last in ((1 + (edge_dim or 0), Tanh),
                               (1, torch.nn.Identity)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters: positions move little at first."""
        for child in self.children():
            reset(child)
        for field in self.fields.children():
            shrink_last(field, gain=0.001)

    def predict(self, x: Tensor, pos: Tensor, edge_index: Tensor, vel: Tensor,
                edge_attr: Tensor | None) -> Outputs:
        """"""
        source, target = edge_index
        targets = group_edges(target, pos.size(0))
        speed = vel.norm(dim=1, keepdim=True)
        new_vel = vel
        for field, gate in zip(self.fields, self.gates):
            vec = pos[target] - pos[source]  # [E, D]
            inputs = vec.square().sum(dim=1, keepdim=True)
            if edge_attr is not None:
                inputs = torch.cat([inputs, edge_attr], dim=1)
            new_vel = gate(speed) * vel + sum_edges(vec * field(inputs),
                                                    targets)
            pos = pos + new_vel
        return x, pos, new_vel


class GNN(Baseline):
    r"""A graph network that knows nothing of symmetry: coordinates are
    features as any other

    .. math::
        \mathbf{h}_i &= \mathrm{Linear}([\mathbf{x}_i, \vec{r}_i, \vec{v}_i])
        \\
        \mathbf{m}_{ij} &= \phi_e(\mathbf{h}_i, \mathbf{h}_j,
        \mathbf{a}_{ij}) \\
        \mathbf{h}^{\prime}_i &= \mathbf{h}_i + \phi_h(\mathbf{h}_i,
        \textstyle\sum_j \mathbf{m}_{ij}) \\
        \vec{r}^{\,\prime}_i &= \vec{r}_i + \mathrm{MLP}(\mathbf{h}_i)

    with perceptrons :math:`\phi`. It is **not** equivariant.

    Args:
        in_channels (int): Size of the input features.
        hidden_channels (int): Size of the hidden layers.
        out_channels (int): Size of the output features. What follows is given
            by name only.
        num_layers (int, optional): Number of layers. (default: :obj:`4`)
        edge_dim (int, optional): Size of the edge features, if there are any.
            (default: :obj:`None`)
        num_dimensions (int, optional): Number of dimensions of space.
            (default: :obj:`3`)

    Shapes:
        As those of :class:`~torch_sake.SAKENet`; the output velocity is the
        displacement.
    """
    @draws_in_single_precision
    def __init__(self, in_channels: int, hidden_channels: int,
                 out_channels: int, *, num_layers: int = 4,
                 edge_dim: int | None = None, num_dimensions: int = 3):
        super().__init__()
        for name, value in (('in_channels', in_channels),
                            ('hidden_channels', hidden_channels),
                            ('out_channels', out_channels),
                            ('num_layers', num_layers),
                            ('num_dimensions', num_dimensions)):
            check_positive_int(name, value)
        hidden = hidden_channels
        self.out_channels = out_channels
        self.lin_in = Linear(in_channels + 2 * num_dimensions, hidden)
        self.edges, self.nodes = (
            torch.nn.ModuleList(
                Sequential(Linear(size, hidden), SiLU(),
                           Linear(hidden, hidden), last())
                for _ in range(num_layers))
            for size, last in ((2 * hidden + (edge_dim or 0), SiLU),
                               (2 * hidden, torch.nn.Identity)))
        self.mlp_out = Sequential(
            Linear(hidden, hidden), SiLU(),
            Linear(hidden, out_channels + num_dimensions))

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for child in self.children():
            reset(child)

    def predict(self, x: Tensor, pos: Tensor, edge_index: Tensor, vel: Tensor,
                edge_attr: Tensor | None) -> Outputs:
        """"""
        source, target = edge_index
        targets = group_edges(target, pos.size(0))
        h = self.lin_in(torch.cat([x, pos, vel], dim=1))  # [N, F]
        for edge, node in zip(self.edges, self.nodes):
            inputs = [h[target], h[source]]
            if edge_attr is not None:
                inputs.append(edge_attr)
            message = sum_edges(edge(torch.cat(inputs, dim=1)), targets)
            h = h + node(torch.cat([h, message], dim=1))
        x, step = self.mlp_out(h).split([self.out_channels, pos.size(1)],
                                        dim=1)
        return x, pos + step, step
