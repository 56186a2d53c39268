import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter, Sequential, SiLU
from torch_geometric import EdgeIndex
from torch_geometric.nn import MessagePassing

from torch_sake.nn.envelope import ENVELOPES, build_envelope
from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.ops.autocast import type_of_parameters, without_autocast
from torch_sake.ops.geometry import distance_and_direction, edge_vectors
from torch_sake.ops.linear import Linear
from torch_sake.ops.message_passing import UntypedMessagePassing
from torch_sake.ops.segments import Segments, group_edges
from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.checks import (
    check_bool,
    check_devices,
    check_edge_index,
    check_edge_shift,
    check_option,
    check_pos,
    check_positive_int,
    check_tensor,
)

# Those of MessagePassing that layers leave to the user:
PYG_ARGUMENTS = inspect.signature(MessagePassing).parameters.keys() - {
    'aggr', 'node_dim', 'kwargs'}


class EdgeGeometry(NamedTuple):
    r"""What a layer needs to know of the edges.

    Shapes:
        - distances :math:`(E, 1)`, directions :math:`(E, D)`, weights
          :math:`(E, 1)` or :obj:`None`, and the edges of each source and of
          each target
    """
    dist: Tensor
    direction: Tensor
    edge_weight: Tensor | None
    sources: Segments
    targets: Segments


class KineticConv(UntypedMessagePassing):
    r"""What the layers of this package have in common: their arguments, the
    geometry of the edges, the envelope of the cutoff, and the update of
    positions and velocities

    .. math::
        \vec{v}^{\prime}_i &= \mathbf{w}_v^{\top} \vec{p}_i +
        2 \sigma \left( \mathbf{w}^{\top} \mathrm{silu}(\mathrm{Linear}(
        \mathbf{x}^{\prime}_i)) \right) \vec{v}_i \\
        \vec{r}^{\,\prime}_i &= \vec{r}_i + \vec{v}^{\prime}_i

    from combinations of vectors :math:`\vec{p}_i` (paper, section 3.4).

    A layer is a subclass with the methods :meth:`message`, :meth:`aggregate`
    and :meth:`update` of PyG. They ask for their inputs by name: all arguments
    of :meth:`forward`, whatever else it is given by name, all of
    :class:`EdgeGeometry`, and what :meth:`message_inputs` returns. Those of
    nodes are had for each edge by :obj:`_i` (target) and :obj:`_j` (source)
    after their names. Outputs are those of :meth:`update`: node features,
    positions, velocities and, if the class says that layers of a stack hand
    on more (:attr:`hands_on`), this.

    .. code-block:: python

        class MeanConv(KineticConv):
            hands_on = ()  # names of more inputs, from the layer before

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
        out_channels (int): Size of the output features.
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
            distance, such as
            :class:`~torch_sake.nn.PolynomialEnvelope` of another order.
            (default: :obj:`"polynomial"`)
        **kwargs (optional): Additional arguments of
            :class:`torch_geometric.nn.conv.MessagePassing`.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type or range.
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
        unknown = sorted(kwargs.keys() - PYG_ARGUMENTS)
        if unknown:
            raise TypeError(f"{self.__class__.__name__} has no arguments "
                            f"{unknown}")
        if kwargs.get('decomposed_layers', 1) != 1:
            raise ValueError(f"'decomposed_layers' must be 1, as channels do "
                             f"not stand alone (got "
                             f"{kwargs['decomposed_layers']})")
        super().__init__(aggr='sum', node_dim=0, **kwargs)
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
        self.vel_gate = check_bool('vel_gate',
                                   vel_gate) and self.update_pos
        self.look_at_values = True  # off inside a stack, which looks itself
        # What messages ask for, and what they take if it is not given:
        self._defaults = {
            name[:-2] if name.endswith(('_i', '_j')) else name: value.default
            for name, value in self.inspector.get_flat_param_dict(
                ['message', 'aggregate', 'update'],
                exclude=self.special_args).items()}

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
                :obj:`pos[j] - pos[i]`, such as the lattice translation to a
                periodic image. (default: :obj:`None`)
            edge_weight (torch.Tensor, optional): The weight :math:`f_{ij}` of
                each edge, in place of the envelope of its length. A stack of
                layers that moves positions passes the envelope of the lengths
                it was given: only then its outputs are smooth, as edges come
                and go by these. (default: :obj:`None`)
            geometry (EdgeGeometry, optional): What :meth:`edge_geometry` of a
                layer has returned for the same positions and edges, in place
                of :obj:`edge_shift` and :obj:`edge_weight`.
                (default: :obj:`None`)
            **inputs (optional): More inputs of messages, of nodes or of edges.
        """
        edge_index = self.check_input(x, pos, edge_index, vel, edge_attr,
                                      edge_shift, edge_weight)
        unknown = sorted(inputs.keys() - self._defaults.keys())
        if unknown:
            raise TypeError(f"{self.__class__.__name__} has no inputs "
                            f"{unknown}")
        if geometry is None:
            geometry = self.edge_geometry(pos, edge_index, edge_shift,
                                          edge_weight)
        inputs.update(x=x, pos=pos, vel=vel, edge_attr=edge_attr,
                      edge_shift=edge_shift, **geometry._asdict())
        inputs = {**self._defaults, **inputs, **self.message_inputs(**inputs)}
        missing = [name for name, value in inputs.items()
                   if value is inspect.Parameter.empty]
        if missing:
            raise TypeError(f"{self.__class__.__name__} needs the inputs "
                            f"{missing}, by name")
        return self.propagate(edge_index, size=(x.size(0), x.size(0)),
                              **inputs)

    def message_inputs(self, **inputs: Any) -> dict[str, Any]:
        r"""Returns more inputs of messages, by name, from all that there are:
        what is to be computed once for each node, before its edges read it.
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

    def check_input(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor,
        vel: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        r"""Returns the edges as a plain tensor, or raises an error that names
        the first wrong argument.
        """
        if isinstance(edge_index, EdgeIndex):
            # Its row pointers lead to operators without second derivatives.
            edge_index = edge_index.as_tensor()
        dtype = type_of_parameters(self)
        check_tensor('x', x, ('N', self.in_channels), dtype)
        check_pos(pos, x.size(0), dtype=dtype, look=self.look_at_values)
        check_edge_index(edge_index, x.size(0), look=self.look_at_values)
        num_edges, num_dimensions = edge_index.size(1), pos.size(1)
        if vel is not None:
            check_tensor('vel', vel, (x.size(0), num_dimensions), dtype)
            if self.update_pos and not self.vel_gate:
                raise ValueError("'vel' was given to a layer without a gate "
                                 "for it (built with 'vel_gate=False', or in "
                                 "a network with 'vel_input=False')")
        if (edge_attr is None) != (self.edge_dim is None):
            raise ValueError(
                f"'edge_attr' must be given exactly if the layer has an "
                f"'edge_dim' (got edge_dim={self.edge_dim} and edge_attr of "
                f"shape {None if edge_attr is None else edge_attr.shape})")
        if edge_attr is not None:
            check_tensor('edge_attr', edge_attr, (num_edges, self.edge_dim),
                         dtype)
        if edge_shift is not None:
            check_edge_shift(edge_shift, edge_index, pos)
        if edge_weight is not None:
            check_tensor('edge_weight', edge_weight, (num_edges, ), dtype)
        check_devices(pos, x=x, edge_index=edge_index, vel=vel,
                      edge_attr=edge_attr, edge_shift=edge_shift,
                      edge_weight=edge_weight)
        return edge_index
