from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter, Sequential, SiLU

from torch_sake.nn.envelope import ENVELOPES, build_envelope
from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.nn.input_checks import check_input
from torch_sake.ops.autocast import type_of_parameters, without_autocast
from torch_sake.ops.geometry import (
    EdgeGeometry,
    distance_and_direction,
    edge_vectors,
)
from torch_sake.ops.linear import Linear
from torch_sake.ops.message_passing import UntypedMessagePassing
from torch_sake.ops.segments import group_edges
from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.plain_checks import (
    check_bool,
    check_option,
    check_positive_int,
)


class KineticConv(UntypedMessagePassing):
    r"""The base of the layers of this package: their arguments, the geometry
    of the edges, the envelope of the cutoff, and the update of positions and
    velocities

    .. math::
        \vec{v}^{\prime}_i &= \mathbf{w}_v^{\top} \vec{p}_i +
        2 \sigma \left( \mathbf{w}^{\top} \mathrm{silu}(\mathrm{Linear}(
        \mathbf{x}^{\prime}_i)) \right) \vec{v}_i \\
        \vec{r}^{\,\prime}_i &= \vec{r}_i + \vec{v}^{\prime}_i

    from combinations of vectors :math:`\vec{p}_i` (paper, section 3.4).

    A layer is a subclass with the methods :meth:`message`, :meth:`aggregate`
    and :meth:`update` of PyG. They ask for their inputs by name: the arguments
    of :meth:`forward` and whatever else it is given by name, :obj:`dist`,
    :obj:`direction`, :obj:`edge_weight`, :obj:`sources` and :obj:`targets` of
    the edges, and what :meth:`message_inputs` returns. What nodes have,
    messages get for the target by a name with :obj:`_i`, and for the source by
    :obj:`_j`. The output of :meth:`update` is that of the layer.

    .. code-block:: python

        class MeanConv(KineticConv):
            def __init__(self, in_channels, out_channels, **kwargs):
                super().__init__(in_channels, out_channels, **kwargs)
                self.lin = Linear(in_channels + 1, out_channels)
                self.reset_parameters()

            def message(self, x_j, dist, direction, edge_weight):
                message = self.lin(torch.cat([x_j, dist], dim=1))
                if edge_weight is not None:
                    message = message * edge_weight
                return message, direction * message[:, :1]

            def aggregate(self, inputs, targets):
                return [sum_edges(value, targets) for value in inputs]

            def update(self, inputs, x, pos, vel):
                message, new_vel = inputs
                x = self.skip(x) + message
                return x, *self.update_kinetics(x, pos, vel, new_vel)

    Args:
        in_channels (int): Size of the input features.
        out_channels (int): Size of the output features. If it differs from
            :obj:`in_channels`, a linear map without bias takes the place of
            :math:`\mathbf{x}_i` in residual connections.
        hidden_channels (int, optional): Size of all hidden layers.
            (default: :obj:`out_channels`)
        edge_dim (int, optional): Size of the edge features, if there are any.
            (default: :obj:`None`)
        cutoff (float, optional): Distance from which on an edge has no
            effect; :obj:`None` means that all edges count in full.
            (default: :obj:`None`)
        update_pos (bool, optional): If set to :obj:`False`, positions and
            velocities are returned as they came. (default: :obj:`True`)
        vel_gate (bool, optional): If set to :obj:`False`, the layer has no
            gate for an incoming velocity and takes none.
            (default: :obj:`True`)
        envelope (str or torch.nn.Module, optional): The envelope of the cutoff
            (:obj:`"polynomial"` or :obj:`"cosine"`), or a function of the
            distance, such as :class:`~torch_sake.nn.PolynomialEnvelope` of
            another order. (default: :obj:`"polynomial"`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Shapes:
        - **input:** node features :math:`(N, F_{in})`, positions
          :math:`(N, D)`, edges :math:`(2, E)`, velocities :math:`(N, D)`
          *(optional)*, edge features :math:`(E, A)` *(optional)*, edge shifts
          :math:`(E, D)` *(optional)*, edge weights :math:`(E)` *(optional)*
        - **output:** node features :math:`(N, F_{out})`, positions
          :math:`(N, D)`, velocities :math:`(N, D)` or :obj:`None`

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range. Values of tensors are looked at on the CPU only.
    """
    #: What layers of a stack return beside node features, positions and
    #: velocities: the names by which the next layer is given it.
    hands_on: tuple[str, ...] = ()

    @draws_in_single_precision
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        hidden_channels: int | None = None,
        edge_dim: int | None = None,
        cutoff: float | None = None,
        update_pos: bool = True,
        vel_gate: bool = True,
        envelope: str | torch.nn.Module = 'polynomial',
        **kwargs,
    ):
        super().__init__(**kwargs)
        self._asked = self.names_of_arguments('message_inputs').difference(
            EdgeGeometry._fields)
        self.in_channels = check_positive_int('in_channels', in_channels)
        self.out_channels = check_positive_int('out_channels', out_channels)
        self.hidden_channels = check_positive_int(
            'hidden_channels',
            out_channels if hidden_channels is None else hidden_channels)
        if edge_dim is not None:
            check_positive_int('edge_dim', edge_dim)
        self.edge_dim = edge_dim
        self.cutoff = cutoff
        self.envelope = None
        if cutoff is not None:
            self.cutoff = check_cutoff('cutoff', cutoff)
            self.envelope = build_envelope(envelope, cutoff)
        elif not isinstance(envelope, torch.nn.Module):
            check_option('envelope', envelope, ENVELOPES)
        self.update_pos = check_bool('update_pos', update_pos)
        self.vel_gate = check_bool('vel_gate', vel_gate) and self.update_pos
        self.look_at_values = True  # off inside a stack, which looks itself

        self.lin_skip = None
        if in_channels != out_channels:
            self.lin_skip = Linear(in_channels, out_channels, bias=False)
        if self.vel_gate:
            self.mlp_vel = Sequential(
                Linear(out_channels, self.hidden_channels), SiLU(),
                Linear(self.hidden_channels, 1, bias=False))

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        super().reset_parameters()
        for name, module in self.named_children():
            if name != 'envelope':  # it may be that of the user
                reset(module)

    @classmethod
    def stack_arguments(cls, first: bool, last: bool, vel_input: bool,
                        has_vel: bool) -> dict[str, Any]:
        r"""Returns the arguments of a layer that follow from its place in a
        stack: the first or the last one, or both, whether the stack takes
        velocities, and whether the layer is given any, from outside or from
        a layer before.
        """
        return {'vel_gate': has_vel}

    @without_autocast
    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor,
        vel: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
        edge_weight: Tensor | None = None,
        *,
        geometry: EdgeGeometry | None = None,
        **inputs: Any,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        r"""Runs the forward pass of the module.

        Args:
            x (torch.Tensor): The node features.
            pos (torch.Tensor): The positions.
            edge_index (torch.Tensor): The edges, from sources
                (:obj:`edge_index[0]`) to targets (:obj:`edge_index[1]`).
            vel (torch.Tensor, optional): The velocities.
                (default: :obj:`None`)
            edge_attr (torch.Tensor, optional): The edge features.
                (default: :obj:`None`)
            edge_shift (torch.Tensor, optional): Added to
                :obj:`pos[j] - pos[i]`. (default: :obj:`None`)
            edge_weight (torch.Tensor, optional): The weight :math:`f_{ij}` of
                each edge, in place of the envelope of its length. A stack
                passes the envelope of the lengths it was given, by which edges
                come and go: only then its outputs are smooth.
                (default: :obj:`None`)
            geometry (EdgeGeometry, optional): What :meth:`edge_geometry` of a
                layer has returned for the same positions and edges, in place
                of :obj:`edge_shift` and :obj:`edge_weight`.
                (default: :obj:`None`)
            **inputs (optional): More inputs of messages, of nodes or of edges.
        """
        edge_index = self.check_input(x, pos, edge_index, vel, edge_attr,
                                      edge_shift, edge_weight)
        given = [name for name in inputs if name not in self._asked]
        self.check_names(given, EdgeGeometry._fields)
        if geometry is None:
            geometry = self.edge_geometry(pos, edge_index, edge_shift,
                                          edge_weight)
        inputs.update(x=x, pos=pos, vel=vel, edge_attr=edge_attr,
                      edge_shift=edge_shift, **geometry._asdict())
        computed = self.message_inputs(**inputs)
        self.check_names(given, computed)
        inputs.update(computed)
        return self.propagate(edge_index, size=(x.size(0), x.size(0)),
                              **inputs)

    def message_inputs(self, x: Tensor, **inputs: Any) -> dict[str, Any]:
        r"""Returns more inputs of messages, by name, from those there are by
        name: what is computed once for each node, before its edges read it.
        """
        return {}

    def edge_geometry(
        self,
        pos: Tensor,
        edge_index: Tensor,
        edge_shift: Tensor | None = None,
        edge_weight: Tensor | None = None,
        before: EdgeGeometry | None = None,
    ) -> EdgeGeometry:
        r"""Returns the distance, the direction and the weight of each edge:
        :obj:`edge_weight`, if given, or the envelope, if there is a cutoff.
        The same edges at other positions, :obj:`before`, spare some work.
        """
        if self.flow == 'target_to_source':
            edge_index = edge_index.flip(0)
        vec = edge_vectors(pos, edge_index, edge_shift,
                           type_of_parameters(self))
        dist, direction = distance_and_direction(vec)
        if edge_weight is not None:
            edge_weight = edge_weight.view(-1, 1)
        elif self.envelope is not None:
            edge_weight = self.envelope(dist)
        if before is not None:
            return EdgeGeometry(dist, direction, edge_weight, *before[3:])
        sources, targets = (group_edges(index, pos.size(0))
                            for index in edge_index.unbind(dim=0))
        return EdgeGeometry(dist, direction, edge_weight, sources, targets)

    def update_kinetics(
        self,
        x: Tensor,
        pos: Tensor,
        vel: Tensor | None,
        new_vel: Tensor,
    ) -> tuple[Tensor, Tensor]:
        r"""Returns the new positions and velocities.

        Shapes:
            - **input:** updated node features :math:`(N, F_{out})`, positions
              :math:`(N, D)`, velocities :math:`(N, D)` *(optional)*, new part
              of the velocities :math:`(N, D)`
            - **output:** positions :math:`(N, D)`, velocities :math:`(N, D)`
        """
        if vel is not None:
            new_vel = new_vel + 2 * torch.sigmoid(self.mlp_vel(x)) * vel
        return pos + new_vel, new_vel

    def skip(self, x: Tensor) -> Tensor:
        r"""Returns the node features, or a linear map of them if those of the
        output are of another size.
        """
        return x if self.lin_skip is None else self.lin_skip(x)

    def kinetic_parameters(self) -> Iterator[Parameter]:
        r"""Yields the parameters of the update of positions and velocities, of
        which the features of a last layer know nothing.
        """
        for name, module in self.named_children():
            if name in ('lin_vel', 'lin_vel_input', 'mlp_vel'):
                yield from module.parameters()

    def explain_message(self, inputs: Any) -> Any:
        r"""The mask of an explainer scales messages, or the first of several
        parts of them: the embeddings of the edges.
        """
        if isinstance(inputs, Tensor):
            return inputs * self.edge_mask(inputs)
        embedding, *rest = inputs
        return (embedding * self.edge_mask(embedding), *rest)

    check_input = check_input
