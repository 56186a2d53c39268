from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.nn.kinetic_conv import KineticConv
from torch_sake.nn.sake_conv import SAKEConv
from torch_sake.nn.vector_sake_conv import VectorSAKEConv
from torch_sake.ops.linear import contexts_of_checkpoint
from torch_sake.utils.plain_checks import (
    check_bool,
    check_no_arguments,
    check_option,
    check_positive_int,
)

CONVS = {'sake': SAKEConv, 'vector': VectorSAKEConv}

Conv = str | type[KineticConv]


class SAKEStack(torch.nn.Module):
    r"""A stack of layers of one width.

    The edges stay those of the input positions, and so do their envelopes: an
    edge that vanishes at the cutoff has no weight in any layer, however far
    the layers have moved its nodes.

    Args:
        hidden_channels (int): Size of all features.
        num_layers (int): Number of layers.
        conv (str or type, optional): The kind of layer: :obj:`"sake"`
            (:class:`~torch_sake.nn.SAKEConv`), :obj:`"vector"`
            (:class:`~torch_sake.nn.VectorSAKEConv`), or a class of one's own,
            a subclass of :class:`~torch_sake.nn.KineticConv`.
            (default: :obj:`"sake"`)
        update_pos (bool or [bool], optional): Whether layers update positions
            and velocities; for all, or for each. (default: :obj:`True`)
        vel_input (bool, optional): If set to :obj:`False`, the stack is built
            for inputs without velocities. (default: :obj:`True`)
        **kwargs (optional): Additional arguments of the layers.

    Shapes:
        As those of :class:`~torch_sake.nn.SAKEConv`.
    """
    @draws_in_single_precision
    def __init__(self, hidden_channels: int, num_layers: int,
                 conv: Conv = 'sake',
                 update_pos: bool | Sequence[bool] = True,
                 vel_input: bool = True, **kwargs):
        super().__init__()
        check_positive_int('num_layers', num_layers)
        vel_input = check_bool('vel_input', vel_input)
        conv_class = find_conv(conv)
        update_pos = expand_update_pos(update_pos, num_layers)
        self.convs = torch.nn.ModuleList()
        for index, update in enumerate(update_pos):
            by_place = conv_class.stack_arguments(
                first=index == 0, last=index == num_layers - 1,
                vel_input=vel_input,
                has_vel=vel_input or any(update_pos[:index]))
            check_no_arguments(kwargs, (
                'in_channels', 'out_channels', *by_place), 'a stack of layers')
            layer = conv_class(hidden_channels, hidden_channels,
                               update_pos=update, **by_place, **kwargs)
            layer.look_at_values = False
            self.convs.append(layer)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for conv in self.convs:
            reset(conv)

    def forward(
        self,
        x: Tensor,
        pos: Tensor,
        edge_index: Tensor,
        vel: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_shift: Tensor | None = None,
        recompute: bool = False,
        **inputs: Any,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        r"""Runs the forward pass of the module. All arguments but
        :obj:`recompute`, of :meth:`torch_sake.models.MoleculeModel.forward`,
        are those of the layers, each of which is given :obj:`inputs`.
        """
        geometry = self.convs[0].edge_geometry(pos, edge_index, edge_shift)
        edge_weight = geometry.edge_weight
        if edge_weight is not None:
            edge_weight = edge_weight.squeeze(1)
        moved = False
        again = {}  # the compiler knows no such contexts and needs none
        if recompute and not torch.compiler.is_compiling():
            again = {'context_fn': contexts_of_checkpoint}
        for conv in self.convs:
            if moved:
                geometry = conv.edge_geometry(pos, edge_index, edge_shift,
                                              edge_weight, before=geometry)
            args = (x, pos, edge_index, vel, edge_attr, edge_shift,
                    edge_weight)
            if recompute:  # nothing but these is kept for derivatives
                outputs = checkpoint(
                    conv, *args, geometry=geometry, use_reentrant=False,
                    preserve_rng_state=False, **again, **inputs)
            else:
                outputs = conv(*args, geometry=geometry, **inputs)
            if isinstance(outputs, Tensor):  # would be taken apart by rows
                raise TypeError(f"'update' of {type(conv).__name__} must "
                                f"return features, positions and velocities "
                                f"(got one tensor)")
            x, pos, vel, *rest = outputs
            inputs.update(zip(conv.hands_on, rest))
            moved = conv.update_pos
        return x, pos, vel


def find_conv(conv: Conv) -> type[KineticConv]:
    r"""Returns the class of a layer, which may be given by name."""
    if isinstance(conv, type) and issubclass(conv, KineticConv):
        return conv
    if isinstance(conv, type):
        raise TypeError(f"'conv' must be a subclass of KineticConv or one of "
                        f"{sorted(CONVS)} (got {conv})")
    return CONVS[check_option('conv', conv, CONVS)]


def expand_update_pos(update_pos: bool | Sequence[bool],
                      num_layers: int) -> Sequence[bool]:
    r"""Returns :obj:`update_pos` as one value for each layer."""
    if not isinstance(update_pos, (list, tuple)):
        return [check_bool('update_pos', update_pos)] * num_layers
    update_pos = [check_bool('update_pos', update) for update in update_pos]
    if len(update_pos) != num_layers:
        raise ValueError(f"'update_pos' must have one value for each of the "
                         f"{num_layers} layers (got {len(update_pos)})")
    return update_pos
