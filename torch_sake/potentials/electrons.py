r"""Charge and spin on their way to a model."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_sake.models import MoleculeModel
from torch_sake.models.electronic import (
    check_neutral,
    check_state,
    count_graphs,
)
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments

NAMES = ('charge', 'spin')


def embeds_charge(model: Any) -> bool:
    r"""Returns whether a model takes charges other than zero."""
    if isinstance(model, MoleculeModel):
        return model.electronic is not None
    return 'charge' in taken(model)


def any_embeds_charge(potential: Any) -> bool:
    r"""Returns whether a potential, or a member of an ensemble, takes charges
    other than zero."""
    members = getattr(potential, 'potentials', [potential])
    return any(embeds_charge(member.model) for member in members)


def taken(model: Callable) -> tuple[str, ...]:
    r"""Returns which of both a model takes."""
    if isinstance(model, MoleculeModel):
        return () if model.electronic is None else NAMES
    try:
        parameters = inspect.signature(
            getattr(model, 'forward', model)).parameters
    except (TypeError, ValueError):  # of what is not written in Python
        return NAMES
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD
                    for parameter in parameters.values())
    return tuple(name for name in NAMES if takes_all or name in parameters)


def prepare_state(potential: Any, kwargs: dict[str, Any], z: Tensor,
                  pos: Tensor, batch: Tensor | None,
                  cell: Tensor | None) -> None:
    r"""Makes tensors :math:`(B)` of the entries :obj:`"charge"` and
    :obj:`"spin"` of the arguments of a model, if one of them is given, and
    leaves out those of neutral singlets for a model that knows nothing else.

    Args:
        potential (EnergyModel): What has the model.
        kwargs (dict): The arguments.
        z (torch.Tensor): The atomic numbers.
        pos (torch.Tensor): The positions.
        batch (torch.Tensor, optional): The graph of each atom.
        cell (torch.Tensor, optional): The cells, :math:`(B, 3, 3)`.

    Raises:
        TypeError, ValueError: If they are no numbers for each graph, or the
            model has no embedding of what is no neutral singlet.
    """
    charge, spin = (kwargs.pop(name, None) for name in NAMES)
    if charge is None and spin is None:
        return
    size = kwargs.get('batch_size')
    if size is None and cell is not None:
        size = cell.size(0)
    size = count_graphs(batch, size)
    charge, spin = check_state(charge, spin, size, pos)
    if potential.isolated is not None:
        spin = settle_spins(potential.isolated.choose(z), z, batch, charge,
                            spin)
    names = taken(potential.model)
    check_neutral(None if 'charge' in names else charge,
                  None if 'spin' in names else spin)
    kwargs.update({name: value for name, value in zip(NAMES, (charge, spin))
                   if name in names})


def settle_spins(elements: Tensor, z: Tensor, batch: Tensor | None,
                 charge: Tensor, spin: Tensor) -> Tensor:
    r"""Returns multiplicities that are one where a graph is a neutral atom of
    one of the elements: its energy is given, whatever spin it has.

    Shapes:
        - **input:** elements :math:`(K)`, atomic numbers :math:`(N)`, graphs
          :math:`(N)`, charges and multiplicities :math:`(B)`
        - **output:** multiplicities :math:`(B)`
    """
    graphs = Segments(torch.zeros_like(z) if batch is None else batch,
                      spin.numel())
    counts = sum_edges(torch.ones_like(z), graphs)
    is_given = (counts == 1) & (charge == 0) & torch.isin(
        sum_edges(z, graphs), elements)
    return torch.where(is_given, torch.ones_like(spin), spin)
