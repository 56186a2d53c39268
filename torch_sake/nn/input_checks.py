from typing import Any

from torch import Tensor
from torch_geometric import EdgeIndex

from torch_sake.ops.autocast import type_of_parameters
from torch_sake.utils.checks import (
    check_devices,
    check_edge_index,
    check_edge_shift,
    check_pos,
    check_tensor,
)


def check_input(
    conv: Any,
    x: Tensor,
    pos: Tensor,
    edge_index: Tensor,
    vel: Tensor | None = None,
    edge_attr: Tensor | None = None,
    edge_shift: Tensor | None = None,
    edge_weight: Tensor | None = None,
) -> Tensor:
    r"""Returns the edges as a plain tensor, or raises an error that names the
    first wrong argument of a :class:`~torch_sake.nn.KineticConv`.
    """
    if isinstance(edge_index, EdgeIndex):
        # Its row pointers lead to operators without second derivatives.
        edge_index = edge_index.as_tensor()
    dtype, look = type_of_parameters(conv), conv.look_at_values
    check_tensor('x', x, ('N', conv.in_channels), dtype)
    check_pos(pos, x.size(0), dtype=dtype, look=look)
    check_edge_index(edge_index, x.size(0), look=look)
    if (edge_attr is None) != (conv.edge_dim is None):
        raise ValueError(
            f"'edge_attr' must be given exactly if the layer has an "
            f"'edge_dim' (got edge_dim={conv.edge_dim} and edge_attr of "
            f"shape {None if edge_attr is None else edge_attr.shape})")
    for name, value, shape in (
        ('vel', vel, pos.shape),
        ('edge_attr', edge_attr, (edge_index.size(1), conv.edge_dim)),
        ('edge_weight', edge_weight, edge_index.shape[1:]),
    ):
        if value is not None:
            check_tensor(name, value, tuple(shape), dtype)
    if vel is not None and conv.update_pos and not conv.vel_gate:
        raise ValueError("'vel' was given to a layer without a gate for it "
                         "(built with 'vel_gate=False', or in a network with "
                         "'vel_input=False')")
    if edge_shift is not None:
        check_edge_shift(edge_shift, edge_index, pos)
    check_devices(pos, x=x, edge_index=edge_index, vel=vel,
                  edge_attr=edge_attr, edge_shift=edge_shift,
                  edge_weight=edge_weight)
    return edge_index
