r"""Forces and stresses: derivatives of energies, in forms that can be
compiled or differentiated once more.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from torch_sake.ops.compilation import compile_function
from torch_sake.potentials.energy import EnergyModel
from torch_sake.potentials.parts import total
from torch_sake.potentials.prior import is_fixed, prior_and_derivatives


@torch.compiler.disable  # derivatives are taken within
def call_eagerly(model: EnergyModel, z: Tensor, pos: Tensor,
                 batch: Tensor | None, differentiable: bool,
                 strain: Tensor | None, kwargs: dict[str, Any],
                 energy_function: Callable = EnergyModel._parts,
                 ) -> tuple[Tensor, ...]:
    r"""Returns energies, forces, with a strain, its gradient, and the features
    of atoms, if asked for.
    """
    # What nothing is learned of need not be differentiated twice.
    given = (pos, kwargs.get('edge_shift'))
    apart = differentiable and is_fixed(model.prior) and not any(
        value is not None and value.requires_grad for value in given)
    if apart:
        kwargs = {**kwargs, 'has_prior': False}
    # A second name for the positions: their owner sees no change.
    pos = pos.view_as(pos) if pos.requires_grad else (
        pos.detach().requires_grad_())
    inputs = [pos] if strain is None else [pos, strain.requires_grad_()]
    energy, constant, features = energy_function(
        model, z, pos, batch, strain=strain, **kwargs)
    gradients: list[Any] = [None] * len(inputs)
    if energy.requires_grad:
        gradients = torch.autograd.grad(
            energy.sum(), inputs, create_graph=differentiable,
            allow_unused=True)
    gradients = [torch.zeros_like(value) if gradient is None else gradient
                 for value, gradient in zip(inputs, gradients)]
    if apart:
        fixed, *values = prior_and_derivatives(
            model.prior, z, given[0], batch, strain, energy.numel(), kwargs)
        energy = energy + fixed
        gradients = [gradient + value for gradient, value in
                     zip(gradients, values)]
    return (total((energy, constant, None)), -gradients[0], *gradients[1:],
            *(() if features is None else (features, )))


def energy_and_derivatives(
        model: EnergyModel, z: Tensor, pos: Tensor, batch: Tensor,
        strain: Tensor | None = None, **kwargs) -> tuple[Tensor, ...]:
    r"""Returns the same in a form that can be compiled and then differentiated
    once more.
    """
    def total_energy(*inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        energy, constant, features = model._parts(z, inputs[0], batch,
                                                  *inputs[1:], **kwargs)
        return energy.sum(), (total((energy, constant, None)),
                              *(() if features is None else (features, )))

    inputs = (pos, ) if strain is None else (pos, strain)
    gradients, (energy, *features) = torch.func.grad(
        total_energy, argnums=tuple(range(len(inputs))), has_aux=True)(*inputs)
    return (energy, -gradients[0], *gradients[1:], *features)


def energy_then_derivatives(
        model: EnergyModel, z: Tensor, pos: Tensor, batch: Tensor,
        strain: Tensor | None = None,
        energy_function: Callable = EnergyModel._parts, **kwargs,
) -> tuple[Tensor, ...]:
    r"""Returns the same as plain numbers, in a form in which the energy can be
    compiled by itself: only then can layers be computed again.
    """
    with torch.enable_grad(), frozen(model):
        outputs = call_eagerly(model, z, pos, batch, False, strain, kwargs,
                               energy_function)
    return tuple(output.detach() for output in outputs)


def compile_energy(function: Callable) -> Callable:
    r"""Returns :func:`energy_then_derivatives` with a compiled energy."""
    return functools.partial(
        function, energy_function=compile_function(EnergyModel._parts))


@contextlib.contextmanager
def frozen(module: torch.nn.Module) -> Iterator[None]:
    r"""Within this context, no parameter requires a gradient: compiled
    derivatives are those with respect to all that do.
    """
    learning = [value for value in module.parameters() if value.requires_grad]
    for value in learning:
        value.requires_grad_(False)
    try:
        yield
    finally:
        for value in learning:
            value.requires_grad_()
