from collections.abc import Mapping, Sequence
from inspect import signature
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Sequential, SiLU

from torch_sake.models.flax import read_flax
from torch_sake.models.graph import check_graph
from torch_sake.models.stack import Conv, SAKEStack, find_conv
from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.ops.autocast import without_autocast
from torch_sake.ops.derivatives import with_zero_derivatives
from torch_sake.utils.checks import check_tensor
from torch_sake.utils.plain_checks import check_positive_int


class SAKENet(torch.nn.Module):
    r"""The spatial attention kinetic network from the `"Spatial Attention
    Kinetic Networks with E(n)-Equivariance"
    <https://arxiv.org/abs/2301.08893>`_ paper, on a graph with any node
    features in any number of dimensions: a linear embedding, a stack of
    :class:`~torch_sake.nn.SAKEConv` layers and a perceptron with one hidden
    layer.

    Args:
        in_channels (int): Size of the input features.
        hidden_channels (int): Size of the hidden features.
        out_channels (int): Size of the output features. What follows is given
            by name only, as the order is another one in PyG's BasicGNN.
        num_layers (int, optional): Number of layers. (default: :obj:`4`)
        heads (int, optional): Number of attention heads, of layers that have
            them. (default: :obj:`4`)
        edge_dim (int, optional): Size of the edge features, if there are any.
            (default: :obj:`None`)
        cutoff (float, optional): Distance from which on nodes do not see each
            other; :obj:`None` means that all see each other, as in the paper.
            (default: :obj:`None`)
        update_pos (bool or [bool], optional): Whether layers update positions
            and velocities; for all, or for each. (default: :obj:`True`)
        conv (str or type, optional): The kind of layer, as that of
            :class:`~torch_sake.models.stack.SAKEStack`.
            (default: :obj:`"sake"`)
        **kwargs (optional): Additional arguments of the layers, and
            :obj:`vel_input=False` for a network that takes no velocities (and
            spares their parameters).

    If nothing but the output features is used, the last layer need not update
    positions: with :obj:`update_pos=[True, True, False]`, three layers spare
    the parameters of that.

    Shapes:
        As those of :class:`~torch_sake.nn.SAKEConv`, with the graph of each
        node :math:`(N)` *(optional)*.

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
        heads: int = 4,
        edge_dim: int | None = None,
        cutoff: float | None = None,
        update_pos: bool | Sequence[bool] = True,
        conv: Conv = 'sake',
        **kwargs,
    ):
        super().__init__()
        self.in_channels = check_positive_int('in_channels', in_channels)
        self.hidden_channels = check_positive_int('hidden_channels',
                                                  hidden_channels)
        self.out_channels = check_positive_int('out_channels', out_channels)
        self.num_layers = check_positive_int('num_layers', num_layers)
        self.cutoff = cutoff
        self.lin_in = Linear(in_channels, hidden_channels)
        if any('heads' in signature(kind).parameters
               for kind in find_conv(conv).__mro__[:-1]):
            kwargs['heads'] = heads
        self.stack = SAKEStack(hidden_channels, num_layers, conv,
                               edge_dim=edge_dim, cutoff=cutoff,
                               update_pos=update_pos, **kwargs)
        self.mlp_out = Sequential(Linear(hidden_channels, hidden_channels),
                                  SiLU(),
                                  Linear(hidden_channels, out_channels))
        self.reset_parameters()

    @classmethod
    def from_flax(cls, params: Mapping[str, Any] | str) -> 'SAKENet':
        r"""Returns the network with the parameters of a
        :obj:`DenseSAKEModel` of the official implementation. All settings
        follow from the parameters.

        Args:
            params (dict or str): The nested dictionary of parameters, with or
                without the level :obj:`"params"`, or the path of an
                :obj:`npz` file with keys :obj:`"param/<a>/<b>/..."`.

        Raises:
            TypeError, ValueError: If these are not the parameters of such a
                model.
        """
        settings, state_dict = read_flax(params)
        net = cls(**settings)
        net.load_state_dict(state_dict)
        return net

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
        edge_shift: Tensor | None = None,
        **inputs: Any,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        r"""Runs the forward pass of the module.

        Args:
            x (torch.Tensor): The node features.
            pos (torch.Tensor): The positions.
            edge_index (torch.Tensor, optional): The edges, from sources to
                targets. (default: every ordered pair of different nodes of a
                graph, within the cutoff if there is one)
            vel (torch.Tensor, optional): The velocities.
                (default: :obj:`None`)
            edge_attr (torch.Tensor, optional): The edge features; they need
                :obj:`edge_index`. (default: :obj:`None`)
            batch (torch.Tensor, optional): The graph of each node.
                (default: :obj:`None`)
            edge_shift (torch.Tensor, optional): Added to
                :obj:`pos[j] - pos[i]`; needs :obj:`edge_index`.
                (default: :obj:`None`)
            **inputs (optional): More inputs of the layers.
        """
        check_tensor('x', x, ('N', self.in_channels), self.lin_in.weight.dtype)
        if edge_index is None:
            self.stack.convs[0].check_no_edges(inputs)
        edges = check_graph(x, pos, edge_index, batch, self.cutoff, edge_attr,
                            edge_shift)
        x, pos, vel = self.stack(self.lin_in(x), pos, edges.index, vel,
                                 edge_attr, edges.shift, **inputs)
        # Without velocities, and at the end, features need no update of them.
        x = with_zero_derivatives(self.mlp_out(x), chain.from_iterable(
            conv.kinetic_parameters() for conv in self.stack.convs))
        return x, pos, vel

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.in_channels}, '
                f'{self.hidden_channels}, {self.out_channels}, '
                f'num_layers={self.num_layers}, cutoff={self.cutoff})')
