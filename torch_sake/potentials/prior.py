r"""Priors without parameters, apart from what is learned."""

from typing import Any

import torch
from torch import Tensor

from torch_sake.potentials.strain import apply_strain


def is_fixed(prior: torch.nn.Module | None) -> bool:
    r"""Whether there is a prior, of which nothing is learned."""
    return prior is not None and not any(
        parameter.requires_grad for parameter in prior.parameters())


def prior_and_derivatives(
    prior: torch.nn.Module, z: Tensor, pos: Tensor, batch: Tensor | None,
    strain: Tensor | None, number: int, kwargs: dict[str, Any],
) -> list[Tensor]:
    r"""Returns the energies of a prior and their gradients with respect to
    positions and, if there is one, strain, as numbers.

    Args:
        prior (torch.nn.Module): The prior.
        number (int): The number of graphs.
        kwargs (dict): The edges, if they are known.
    """
    batch = torch.zeros_like(z) if batch is None else batch
    edge_index, edge_shift = kwargs.get('edge_index'), kwargs.get('edge_shift')
    inputs = [value.detach().clone().requires_grad_()
              for value in (pos, strain) if value is not None]
    moved = inputs[0]
    if strain is not None:
        moved, edge_shift = apply_strain(inputs[1], moved, batch, edge_index,
                                         edge_shift)
    energy = prior(z, moved, batch, edge_index, edge_shift, number)
    gradients = [None] * len(inputs)
    if energy.requires_grad:
        gradients = torch.autograd.grad(energy.sum(), inputs,
                                        allow_unused=True)
    return [energy.detach(), *(
        torch.zeros_like(value) if gradient is None else gradient
        for value, gradient in zip(inputs, gradients))]
