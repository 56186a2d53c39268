from typing import Callable, Optional, Tuple

import torch
from torch import Tensor

from torch_sake.checks import (check_atomic_numbers, check_batch, check_pos,
                               check_positive_float)
from torch_sake.nn.scatter import sum_edges


class Potential(torch.nn.Module):
    r"""Energies and forces of any :obj:`model(z, pos, batch)`

    .. math::
        E = \sigma \cdot \mathrm{model}(z, \mathbf{r}) + \sum_i E_{z_i},
        \quad \mathbf{F}_i = - \partial E / \partial \mathbf{r}_i

    PyG's :class:`~torch_geometric.nn.models.SchNet` included.

    Where gradients are enabled, energies and forces can be differentiated,
    with respect to parameters and, if the given positions require it, with
    respect to these. Under :class:`torch.no_grad` or
    :class:`torch.inference_mode` they are plain numbers, computed at a lower
    cost. The tensors of the caller are left as they are.

    Args:
        model (torch.nn.Module): The model of the energy, which returns
            :obj:`[B, 1]` or :obj:`[B]`.
        energy_scale (float, optional): Factor :math:`\sigma` of the model's
            output. (default: :obj:`1.0`)
        atomic_energies (torch.Tensor, optional): Energy :math:`E_z` of single
            atoms by atomic number, of shape :obj:`[100]`. They are summed in
            float64 and energies are returned in float64: total energies are
            large, and float32 would lose the digits that matter.
            (default: :obj:`None`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*
        - **output:** energies :math:`(B)`, forces :math:`(N, 3)`, and
          :obj:`None` in the place of the stress of periodic systems

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range. Values of tensors are looked at on the CPU only.
    """
    def __init__(self, model: Callable, energy_scale: float = 1.0,
                 atomic_energies: Optional[Tensor] = None):
        super().__init__()
        if not callable(model):
            raise TypeError(f"'model' must be callable as "
                            f"model(z, pos, batch) (got {type(model)})")
        self.model = model
        self.energy_scale = check_positive_float('energy_scale', energy_scale)
        if atomic_energies is not None:
            if not isinstance(atomic_energies, Tensor):
                raise TypeError(f"'atomic_energies' must be a tensor "
                                f"(got {type(atomic_energies)})")
            if atomic_energies.dim() != 1:
                raise ValueError(f"'atomic_energies' must have shape [100] "
                                 f"(got {list(atomic_energies.shape)})")
            atomic_energies = atomic_energies.detach().double().clone()
        self.register_buffer('atomic_energies', atomic_energies)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'Potential':
        # The references go along to other devices, but stay in float64.
        energies = self.atomic_energies
        super()._apply(fn, recurse)
        if energies is not None:
            self.atomic_energies = energies.to(self.atomic_energies.device)
        return self

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        **kwargs,
    ) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
        r"""Returns energies, forces and :obj:`None`.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor, optional): The graph of each atom.
                (default: :obj:`None`)
            **kwargs (optional): Additional arguments of the model, such as a
                neighbor list.
        """
        check_atomic_numbers(z, 119 if self.atomic_energies is None else
                             self.atomic_energies.numel())
        check_pos(pos, z.numel(), 3)
        single = batch is None
        batch = torch.zeros_like(z) if single else check_batch(
            batch, z.numel())
        differentiable = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            z, pos, batch = (_usable(value) for value in (z, pos, batch))
            # A second name for the positions: their owner sees no change.
            pos = pos.view_as(pos) if pos.requires_grad else (
                pos.detach().requires_grad_())
            energy = self.model(z, pos, batch, **kwargs)
            energy = self.energy_scale * _as_vector(energy)
            if single and energy.numel() == 0:  # a graph without atoms
                energy = energy.new_zeros(1)
            gradient = None
            if energy.requires_grad:
                gradient, = torch.autograd.grad(
                    energy.sum(), pos, create_graph=differentiable,
                    allow_unused=True)
            forces = torch.zeros_like(pos) if gradient is None else -gradient
            if self.atomic_energies is not None:
                energy = energy.double() + sum_edges(
                    self.atomic_energies[z], batch, energy.numel())
        if not differentiable:
            energy, forces = energy.detach(), forces.detach()
        return energy, forces, None

    def extra_repr(self) -> str:
        return f'energy_scale={self.energy_scale}'


def _usable(value: Tensor) -> Tensor:
    r"""Tensors made in inference mode cannot take part in a derivative."""
    return value.clone() if value.is_inference() else value


def _as_vector(energy: Tensor) -> Tensor:
    if energy.dim() == 2 and energy.size(1) == 1:
        return energy.squeeze(1)
    if energy.dim() != 1:
        raise ValueError(f"'model' must return energies of shape [B] or "
                         f"[B, 1] (got {list(energy.shape)})")
    return energy
