r"""The total charge and the spin of a graph."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import Linear, Parameter, Sequential, SiLU
from torch.nn.functional import softplus

from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.utils.checks import check_devices, values_are_visible
from torch_sake.utils.plain_checks import check_float, require

# Weights of atoms never vanish all at once, however sure the model is:
MIN_WEIGHT = 1e-6


class NumberEmbedding(torch.nn.Module):
    r"""Shares a number :math:`\Psi` of a graph out among its atoms, after
    `"SpookyNet: Learning force fields with electronic degrees of freedom and
    nonlocal effects" <https://arxiv.org/abs/2105.00304>`_

    .. math::
        a_i = \frac{w_i}{\sum_j w_j} \, |\Psi|, \quad
        w_i = \mathrm{softplus} \left(
        \frac{\mathbf{q}_i \cdot \mathbf{k}}{\sqrt{F}} \right) + 10^{-6},
        \quad \mathbf{q}_i = \mathbf{W} \mathbf{x}_i + \mathbf{b}

    .. math::
        \mathbf{e}_i = a_i \mathbf{v} + \mathbf{W}_2 \, \mathrm{silu} \left(
        \mathbf{W}_1 \, a_i \mathbf{v} \right)

    with a key :math:`\mathbf{k}` and a value :math:`\mathbf{v}` for positive
    numbers, and others for negative ones. Without biases, zero adds exactly
    nothing.

    Args:
        channels (int): Number :math:`F` of features.
        signed (bool, optional): If set to :obj:`False`, there are no negative
            numbers. (default: :obj:`True`)

    Shapes:
        - **input:** features of the elements :math:`(N, F)`, numbers
          :math:`(B)`, graphs :math:`(N)`
        - **output:** what is to be added to features :math:`(N, F)`
    """
    @draws_in_single_precision
    def __init__(self, channels: int, signed: bool = True):
        super().__init__()
        self.signed = signed
        self.key = Parameter(torch.empty(1 + signed, channels))
        self.value = Parameter(torch.empty(1 + signed, channels))
        self.lin_query = Linear(channels, channels)
        self.mlp = Sequential(Linear(channels, channels, bias=False), SiLU(),
                              Linear(channels, channels, bias=False))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        torch.nn.init.normal_(self.key)
        torch.nn.init.normal_(self.value)
        reset(self.lin_query)
        reset(self.mlp)

    def forward(self, x: Tensor, number: Tensor, batch: Tensor) -> Tensor:
        """"""
        number = number.to(x.dtype)
        sign = torch.zeros_like(number, dtype=torch.long)
        if self.signed:
            sign = (number < 0).long()
        key, value = (rows.index_select(0, sign).index_select(0, batch)
                      for rows in (self.key, self.value))  # [N, F]
        score = (self.lin_query(x) * key).sum(dim=1) / math.sqrt(x.size(1))
        weight = softplus(score) + MIN_WEIGHT  # [N]
        total = sum_edges(weight, Segments(batch, number.numel()))  # [B]
        unit = number.abs() / total.clamp(min=MIN_WEIGHT)  # or has no atoms
        share = weight * unit.index_select(0, batch)
        out = share.unsqueeze(1) * value
        return out + self.mlp(out)

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}({self.key.size(1)}, '
                f'signed={self.signed})')


class ElectronicEmbedding(torch.nn.Module):
    r"""Adds to the features of elements what the total charge :math:`Q` of
    their graph in units of e and its number of unpaired electrons,
    :math:`2 S = \mathrm{spin} - 1` for a multiplicity :obj:`spin`, make of
    them: a :class:`NumberEmbedding` each.

    .. math::
        \mathbf{x}_i \leftarrow \mathbf{x}_i +
        \mathbf{e}_i(Q; \mathbf{x}) + \mathbf{e}_i(2 S; \mathbf{x})

    Neutral singlets stay as they are. Nothing of it depends on positions. The
    charge is shared out among all atoms of a graph, near or far: energies of
    ions do not add up exactly to those of their parts far from each other,
    those of neutral singlets do.

    Args:
        channels (int): Number :math:`F` of features.

    Shapes:
        - **input:** features of the elements :math:`(N, F)`, charges and
          multiplicities :math:`(B)`, graphs :math:`(N)`
        - **output:** features :math:`(N, F)`
    """
    @draws_in_single_precision
    def __init__(self, channels: int):
        super().__init__()
        self.charge = NumberEmbedding(channels)
        self.unpaired = NumberEmbedding(channels, signed=False)

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        self.charge.reset_parameters()
        self.unpaired.reset_parameters()

    def forward(self, x: Tensor, charge: Tensor, spin: Tensor,
                batch: Tensor) -> Tensor:
        """"""
        return (x + self.charge(x, charge, batch)
                + self.unpaired(x, spin - 1, batch))


def add_state(embedding: ElectronicEmbedding | None, x: Tensor, pos: Tensor,
              charge: Tensor | float | None, spin: Tensor | float | None,
              batch: Tensor, batch_size: int | None,
              graphs: Tensor | None) -> Tensor:
    r"""Returns the features of a model that is given charges or spins. One
    without an embedding takes neutral singlets only. All arguments are those
    of the model.
    """
    if graphs is not None and isinstance(charge, Tensor):
        batch, batch_size = graphs, charge.numel()
    num_graphs = count_graphs(batch, batch_size)
    state = check_state(charge, spin, num_graphs, pos)
    if embedding is None:
        check_neutral(*state)
        return x
    return embedding(x, *state, batch)


def count_graphs(batch: Tensor | None, batch_size: int | None = None) -> int:
    r"""Returns the number of graphs, given the graph of each atom."""
    if batch_size is not None:
        return batch_size
    if batch is None:
        return 1
    return int(batch.max()) + 1 if batch.numel() > 0 else 0


def check_state(charge: Any, spin: Any, num_graphs: int,
                pos: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns charges and multiplicities as tensors :math:`(B)` of the type
    and on the device of the positions. What is not given is that of neutral
    singlets.

    Args:
        charge (torch.Tensor or float, optional): The total charges, or that of
            a single graph.
        spin (torch.Tensor or float, optional): The multiplicities.
        num_graphs (int): The number of graphs.
        pos (torch.Tensor): The positions.

    Raises:
        TypeError, ValueError: If they are no numbers, not one for each graph,
            not finite, or a multiplicity is below 1.
    """
    charge = _check_numbers('charge', charge, 0.0, num_graphs, pos)
    spin = _check_numbers('spin', spin, 1.0, num_graphs, pos)
    if values_are_visible(spin) and not (spin >= 1).all():
        raise ValueError(f"'spin' must be multiplicities 2S + 1, from 1 on "
                         f"(got {float(spin.min()):g})")
    return charge, spin


def check_neutral(charge: Tensor | None, spin: Tensor | None) -> None:
    r"""Checks that all graphs are neutral singlets, for a model that knows of
    nothing else.

    Raises:
        ValueError: If one of them is not.
    """
    if torch.compiler.is_compiling():
        return
    for name, values, usual in (('charge', charge, 0), ('spin', spin, 1)):
        other = None if values is None else values[values != usual]
        require(other is None or other.numel() == 0,
                f"'{name}' must be {usual} for a model without an embedding "
                f"of charge and spin: train it with 'embed_charge' "
                f"(got {0 if other is None else float(other[:1].sum()):g})")


def _check_numbers(name: str, value: Any, default: float, num_graphs: int,
                   pos: Tensor) -> Tensor:
    if value is None:
        return pos.new_full((num_graphs, ), default)
    if not isinstance(value, Tensor):
        value = pos.new_full((1, ), check_float(name, value))
    value = value.view(1) if value.dim() == 0 else value
    if value.dtype == torch.bool or value.is_complex():
        raise TypeError(f"'{name}' must be numbers (got {value.dtype})")
    if value.dim() != 1 or value.size(0) != num_graphs:
        raise ValueError(f"'{name}' must have shape [{num_graphs}], a number "
                         f"for each graph (got {list(value.shape)})")
    check_devices(pos, **{name: value})
    if values_are_visible(value) and not value.detach().isfinite().all():
        raise ValueError(f"'{name}' must be finite (got {value.tolist()})")
    return value.to(pos.dtype)
