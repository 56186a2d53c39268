import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import Sequential, SiLU

from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.nn.kinetic_conv import KineticConv
from torch_sake.nn.radial_basis import ExpNormalBasis
from torch_sake.ops.geometry import bound_vectors
from torch_sake.ops.linear import Linear, linear_map, linear_parts
from torch_sake.ops.scatter import (
    project_edges,
    sum_edges,
    sum_gated_vectors,
    sum_outer_products,
)
from torch_sake.ops.segments import Segments
from torch_sake.utils.checks import check_tensor
from torch_sake.utils.plain_checks import check_bool, check_positive_float

Outputs = tuple[Tensor, Tensor, Tensor | None]
Messages = tuple[Tensor, Tensor]
OutputsWithVectors = tuple[Tensor, Tensor, Tensor | None, Tensor]

LARGEST_VECTOR = 3.0  # with velocities


class VectorSAKEConv(KineticConv):
    r"""A layer after :class:`~torch_sake.nn.SAKEConv` whose combinations of
    edge vectors live on from layer to layer, as :math:`F` vectors
    :math:`\vec{V}_i` of each node

    .. math::
        \mathbf{h}_{ij} &= \mathbf{W}_1 [\mathbf{x}_j, \mathbf{x}_i,
        \mathbf{a}_{ij}, \boldsymbol{\phi}(d_{ij})] + \mathbf{b}_1 +
        (\mathbf{C} \vec{V}_i + \mathbf{D} \vec{V}_j) \cdot \vec{u}_{ij} \\
        \mathbf{e}_{ij} &= f_{ij} \left( \mathbf{W}_2 \, \mathrm{silu}(
        \mathbf{h}_{ij}) + \mathbf{b}_2 \right) \odot \left( \mathbf{W}_3
        \boldsymbol{\phi}(d_{ij}) + \mathbf{b}_3 \right) \\
        [\mathbf{c}_{ij}, \mathbf{g}_{ij}] &= \mathbf{W}_4 \mathbf{e}_{ij} \\
        \vec{p}_i &= \vec{V}_i + \mathbf{W}_5 \mathbf{x}_i \, \vec{v}_i +
        \frac{1}{\sqrt{n}} \sum_j \left( \mathbf{c}_{ij} \vec{u}_{ij} +
        \mathbf{g}_{ij} \odot \vec{V}_j \right) \\
        \mathbf{x}^{\prime}_i &= \mathbf{x}_i + \mathrm{MLP} \left( \left[
        \mathbf{x}_i, \tfrac{1}{\sqrt{n}} \textstyle\sum_j \mathbf{e}_{ij},
        (\mathbf{A} \vec{p}_i) \cdot (\mathbf{B} \vec{p}_i),
        \sqrt{|\mathbf{A} \vec{p}_i|^2 + 1} - 1 \right] \right) \\
        \vec{V}^{\prime}_i &= \vec{p}_i + (\mathbf{W}_6
        \mathbf{x}^{\prime}_i + \mathbf{b}_6) \odot \mathbf{B} \vec{p}_i

    and positions and velocities as in :class:`~torch_sake.nn.KineticConv`.
    With a velocity :math:`\vec{v}_i`, which may be of any length, the
    combinations are bounded, as products of them would overflow after a few
    layers:

    .. math::
        \vec{p}_i \leftarrow \left( 1 + \frac{|\vec{p}_i|^4}{s^4}
        \right)^{-1/4} \vec{p}_i, \quad s = 3

    Through its products with the vectors of both ends, an edge knows its
    angles with the edges around it.
    Sums over neighbors take the place of the attention: they need no
    normalization to be smooth at the cutoff, where the envelope
    :math:`f_{ij}` takes every edge to zero. It is still spatial attention:
    learned combinations of edge vectors in any number of dimensions, without
    spherical harmonics.

    Args:
        num_rbf (int, optional): Number of radial functions.
            (default: :obj:`20`)
        avg_num_neighbors (float, optional): The average number of neighbors
            :math:`n`, for the scale of the sums. (default: :obj:`8.0`)
        vec_input (bool, optional): If set to :obj:`True`, the layer takes
            vectors :math:`\vec{V}_i`. (default: :obj:`False`)
        vec_output (bool, optional): If set to :obj:`True`, the layer returns
            vectors :math:`\vec{V}^{\prime}_i`, too. (default: :obj:`False`)
        bound_vec (bool, optional): If set to :obj:`False`, combinations are
            not bounded with velocities either. (default: :obj:`True`)
        **kwargs (optional): All other arguments, inputs, outputs and errors
            are those of :class:`~torch_sake.nn.KineticConv`, and vectors
            :math:`(N, D, F)`, as many as :obj:`hidden_channels`.
    """
    hands_on = ('vec', )

    @draws_in_single_precision
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int | None = None,
        num_rbf: int = 20,
        edge_dim: int | None = None,
        cutoff: float | None = None,
        update_pos: bool = True,
        avg_num_neighbors: float = 8.0,
        vec_input: bool = False,
        vec_output: bool = False,
        bound_vec: bool = True,
        **kwargs,
    ):
        super().__init__(in_channels, out_channels, hidden_channels, edge_dim,
                         cutoff, update_pos, **kwargs)
        self.avg_num_neighbors = check_positive_float('avg_num_neighbors',
                                                      avg_num_neighbors)
        self.vec_input = check_bool('vec_input', vec_input)
        self.vec_output = check_bool('vec_output', vec_output)
        self.bound_vec = check_bool('bound_vec', bound_vec)

        hidden = self.hidden_channels  # F
        self.basis = ExpNormalBasis(num_rbf, 5.0 if cutoff is None else cutoff)
        self.lin_source = Linear(in_channels, hidden, bias=False)
        self.lin_target = Linear(in_channels, hidden)
        if edge_dim is not None:
            self.lin_edge = Linear(edge_dim, hidden, bias=False)
        self.lin_radial = Linear(num_rbf, 2 * hidden)  # filters and W_1
        self.act = SiLU()
        self.lin_message = Linear(hidden, hidden)
        self.lin_coefficients = Linear(
            hidden, 2 * hidden if vec_input else hidden, bias=False)
        if vec_input:
            self.lin_angle = Linear(hidden, 2 * hidden, bias=False)  # C and D
        self.lin_vec = Linear(hidden, 2 * hidden, bias=False)  # A and B
        self.mlp_node = Sequential(Linear(in_channels + 3 * hidden, hidden),
                                   SiLU(), Linear(hidden, out_channels))
        if vec_output:
            self.lin_gate = Linear(out_channels, hidden)
        if self.update_pos:
            self.lin_vel = Linear(hidden, 1, bias=False)
        if self.vel_gate:
            self.lin_vel_input = Linear(in_channels, hidden, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        super().reset_parameters()
        # Parts of one map:
        fan_in = 2 * self.in_channels + (self.edge_dim or 0)
        reset(self.lin_source, fan_in)
        reset(self.lin_target, fan_in)
        if self.edge_dim is not None:
            reset(self.lin_edge, fan_in)

    @classmethod
    def stack_arguments(cls, first: bool, last: bool, vel_input: bool,
                        has_vel: bool) -> dict[str, Any]:
        """"""
        # Only velocities from outside are of any length.
        return {'vec_input': not first, 'vec_output': not last,
                'bound_vec': vel_input,
                **super().stack_arguments(first, last, vel_input, has_vel)}

    def forward(  # type: ignore[override]  # vectors, too
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor,
        vel: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
        edge_weight: Tensor | None = None,
        vec: Tensor | None = None,
        **inputs: Any,
    ) -> Outputs | OutputsWithVectors:
        r"""Runs the forward pass of the module. All arguments but the vectors
        :obj:`vec` are those of :meth:`KineticConv.forward`.
        """
        return super().forward(x, pos, edge_index, vel, edge_attr, edge_shift,
                               edge_weight, vec=vec, **inputs)

    def message_inputs(self, x: Tensor, vec: Tensor | None = None,
                       **inputs: Any) -> dict[str, Any]:
        """"""
        self.check_vec(vec, x, inputs['pos'])
        vec_target = vec_source = None
        if vec is not None:
            vec_target, vec_source = self.lin_angle(vec).chunk(2, dim=2)
        return {'source': self.lin_source(x), 'target': self.lin_target(x),
                'vec_target': vec_target, 'vec_source': vec_source}

    def message(self, source_j: Tensor, target_i: Tensor, dist: Tensor,
                direction: Tensor, edge_attr: Tensor | None,
                edge_weight: Tensor | None, vec_target: Tensor | None,
                vec_source: Tensor | None, sources: Segments,
                targets: Segments) -> Messages:
        """"""
        hidden, filters = linear_parts(self.basis(dist), self.lin_radial, 2)
        hidden = hidden + source_j + target_i  # [E, F]
        if edge_attr is not None:
            hidden = hidden + self.lin_edge(edge_attr)
        if vec_target is not None:
            hidden = hidden + (project_edges(vec_target, direction, targets) +
                               project_edges(vec_source, direction, sources))
        if edge_weight is not None:
            filters = filters * edge_weight
        embedding = self.lin_message(self.act(hidden)) * filters
        return embedding, direction

    def aggregate(self, inputs: Messages, vec: Tensor | None,
                  sources: Segments, targets: Segments) -> Messages:
        """"""
        embedding, direction = inputs
        # W_4 in two parts. That of the coefficients is applied to sums, as
        # nodes with three directions are fewer than edges:
        weight = self.lin_coefficients.weight
        combinations = linear_map(
            sum_outer_products(embedding, direction, targets),
            weight[:self.hidden_channels])
        if vec is not None:
            gates = linear_map(embedding, weight[self.hidden_channels:])
            combinations = combinations + sum_gated_vectors(
                gates, vec, sources, targets)
        scale = 1 / math.sqrt(self.avg_num_neighbors)
        return scale * sum_edges(embedding, targets), scale * combinations

    def update(self, inputs: Messages, x: Tensor, pos: Tensor,
               vel: Tensor | None,
               vec: Tensor | None) -> Outputs | OutputsWithVectors:
        """"""
        message, combinations = inputs  # [N, F], [N, D, F]
        if vec is not None:
            combinations = vec + combinations
        if vel is not None and self.vel_gate:
            combinations = combinations + (self.lin_vel_input(x).unsqueeze(1) *
                                           vel.unsqueeze(2))
            if self.bound_vec:
                combinations = bound_vectors(combinations, LARGEST_VECTOR)

        a, b = self.lin_vec(combinations).chunk(2, dim=2)  # [N, D, F]
        x = self.skip(x) + self.mlp_node(
            torch.cat([
                x, message, (a * b).sum(dim=1),
                # A length without the 1 has a kink at zero, where the
                # vectors of symmetric structures are: the energy of a
                # crystal would have a cusp at the sites of its atoms.
                (a.square().sum(dim=1) + 1.0).sqrt() - 1.0
            ], dim=1))
        if self.update_pos:
            new_vel = self.lin_vel(combinations).squeeze(2)  # [N, D]
            pos, vel = self.update_kinetics(x, pos, vel, new_vel)
        if not self.vec_output:
            return x, pos, vel
        return x, pos, vel, combinations + self.lin_gate(x).unsqueeze(1) * b

    def check_vec(self, vec: Tensor | None, x: Tensor, pos: Tensor) -> None:
        r"""Raises an error if the vectors are not what the layer takes."""
        if (vec is not None) != self.vec_input:
            raise ValueError(
                f"'vec' must be given exactly if the layer has 'vec_input' "
                f"(got vec_input={self.vec_input} and vec of shape "
                f"{None if vec is None else vec.shape})")
        if vec is not None:
            check_tensor('vec', vec, (*pos.shape, self.hidden_channels),
                         x.dtype)

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.in_channels}, '
                f'{self.out_channels}, cutoff={self.cutoff}, '
                f'update_pos={self.update_pos})')
