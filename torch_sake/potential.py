import functools
import warnings
from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

import torch
from torch import Tensor

from torch_sake.compilation import compile_function, verify
from torch_sake.energy import EnergyModel
from torch_sake.models import MoleculeModel
from torch_sake.nn.linear import constant_weights
from torch_sake.strain import cell_volumes


class Potential(EnergyModel):
    r"""Energies, forces and stresses of any :obj:`model(z, pos, batch)`

    .. math::
        E = \sigma \cdot \mathrm{model}(z, \mathbf{r}) + \sum_i E_{z_i}
        + E_{\mathrm{prior}}, \quad
        \vec{F}_i = - \frac{\partial E}{\partial \vec{r}_i}, \quad
        \boldsymbol{\sigma} = \frac{1}{V}
        \frac{\partial E}{\partial \boldsymbol{\epsilon}}

    PyG's :class:`~torch_geometric.nn.models.SchNet` included. The strain
    :math:`\boldsymbol{\epsilon}` is symmetric and deforms positions and cell
    together. Models of this package can be periodic, and so can those that
    find their edges by a :class:`~torch_sake.RadiusInteractionGraph`.

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
        prior (torch.nn.Module, optional): A part of the energy that is not
            learned, such as :class:`~torch_sake.ZBLRepulsion`.
            (default: :obj:`None`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*, cells :math:`(B, 3, 3)` or
          :math:`(3, 3)` *(optional)*, periodic directions :math:`(B, 3)` or
          :math:`(3)` *(optional)*
        - **output:** energies :math:`(B)`, forces :math:`(N, 3)`, stresses
          :math:`(B, 3, 3)` in energy per volume, positive where the cell wants
          to shrink, or :obj:`None`

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range. Values of tensors are looked at on the CPU only.
    """
    def __init__(self, model: Callable, energy_scale: float = 1.0,
                 atomic_energies: Optional[Tensor] = None,
                 prior: Optional[torch.nn.Module] = None):
        super().__init__(model, energy_scale, atomic_energies, prior)
        self.compiled = False
        self._verified: Set[Tuple[Any, ...]] = set()

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        cell: Optional[Tensor] = None,
        pbc: Optional[Tensor] = None,
        compute_stress: bool = False,
        **kwargs,
    ) -> Tuple[Tensor, Tensor, Optional[Tensor]]:
        r"""Returns energies, forces and, if asked for, stresses.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor, optional): The graph of each atom.
                (default: :obj:`None`)
            cell (torch.Tensor, optional): The lattice vectors of each graph,
                as rows, or of one graph. (default: :obj:`None`)
            pbc (torch.Tensor, optional): Whether each of its directions is
                periodic; all if not given. (default: :obj:`None`)
            compute_stress (bool, optional): If set to :obj:`True`, the stress
                is computed, which needs cells that have a volume; that of
                molecules with a cell of zeros in a batch is zero.
                (default: :obj:`False`)
            **kwargs (optional): Additional arguments of the model, such as a
                neighbor list, :obj:`edge_index` and :obj:`edge_shift`.
        """
        cell, pbc = self._check_inputs(z, pos, batch, cell, pbc)
        if compute_stress and cell is None:
            raise ValueError("'compute_stress' needs a 'cell' (got none)")
        differentiable = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            z, pos, batch, cell = (_usable(value)
                                   for value in (z, pos, batch, cell))
            kwargs = self._find_edges(pos, batch, cell, pbc, kwargs)
            strain = volume = None
            if compute_stress:
                volume = cell_volumes(cell, pbc)
                strain = torch.zeros_like(cell)
            outputs = None
            if self._takes_compiled(pos, cell):
                outputs = self._call_compiled(
                    _energy_and_derivatives, z, pos, batch, differentiable,
                    strain=strain, **kwargs)
            if outputs is None:
                with constant_weights(not differentiable):
                    outputs = self._call_eagerly(
                        z, pos, batch, differentiable, strain, kwargs)
            energy, forces, *virial = outputs
            stress = None
            if compute_stress:
                stress = virial[0] / volume.view(-1, 1, 1)
        if not differentiable:
            energy, forces = energy.detach(), forces.detach()
        return energy, forces, stress

    def energy(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        cell: Optional[Tensor] = None,
        pbc: Optional[Tensor] = None,
        **kwargs,
    ) -> Tensor:
        r"""Returns the energies alone, :math:`(B)`, at a lower cost.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor, optional): The graph of each atom.
                (default: :obj:`None`)
            cell (torch.Tensor, optional): As that of :meth:`forward`.
                (default: :obj:`None`)
            pbc (torch.Tensor, optional): As that of :meth:`forward`.
                (default: :obj:`None`)
            **kwargs (optional): As those of :meth:`forward`.
        """
        cell, pbc = self._check_inputs(z, pos, batch, cell, pbc)
        z, pos, batch, cell = (_usable(value)
                               for value in (z, pos, batch, cell))
        kwargs = self._find_edges(pos, batch, cell, pbc, kwargs)
        energy = None
        if self._takes_compiled(pos, cell):
            energy = self._call_compiled(Potential._energy, z, pos, batch,
                                         torch.is_grad_enabled(), **kwargs)
        if energy is None:
            energy = self._energy(z, pos, batch, **kwargs)
        return energy

    def compile(self) -> None:
        r"""Has energies and forces computed by compiled functions from now
        on, with :func:`torch.compile`, for inference and for training.

        They are compiled at the first call, which takes a good part of a
        minute, once for all numbers of atoms, edges and graphs; single graphs
        and calls under :class:`torch.no_grad` have functions of their own.
        Neighbor lists are made outside of them. Positions that require
        gradients are not for them: compiled forces can be differentiated with
        respect to parameters only. Compilers have bugs: the first results, and
        in training their derivatives with respect to parameters, are compared
        with those of the model as it is. Where they differ, or where
        compilation fails, such as without a C++ compiler, there is one
        warning, and all goes on without it.

        Raises:
            TypeError: If the model is none of this package: neighbor lists
                that a model makes in the middle cannot be compiled.
        """
        if not isinstance(self.model, MoleculeModel):
            raise TypeError(f"'model' must be SAKE or VectorSAKE to be "
                            f"compiled (got {type(self.model)})")
        self.compiled = True

    @staticmethod
    def ensemble(potentials: Sequence['Potential']) -> torch.nn.Module:
        r"""Returns several potentials as one, see
        :class:`~torch_sake.Ensemble`.
        """
        from torch_sake.ensemble import Ensemble
        return Ensemble(potentials)

    def _takes_compiled(self, pos: Tensor, cell: Optional[Tensor]) -> bool:
        return self.compiled and not pos.requires_grad and not (
            cell is not None and cell.requires_grad)

    def _call_eagerly(self, z: Tensor, pos: Tensor, batch: Optional[Tensor],
                      differentiable: bool, strain: Optional[Tensor],
                      kwargs: Dict[str, Any]) -> Tuple[Tensor, ...]:
        r"""Returns energies, forces and, with a strain, its gradient."""
        # A second name for the positions: their owner sees no change.
        pos = pos.view_as(pos) if pos.requires_grad else (
            pos.detach().requires_grad_())
        inputs = [pos] if strain is None else [pos, strain.requires_grad_()]
        energy = self._energy(z, pos, batch, strain=strain, **kwargs)
        gradients = [None] * len(inputs)
        if energy.requires_grad:
            gradients = torch.autograd.grad(
                energy.sum(), inputs, create_graph=differentiable,
                allow_unused=True)
        gradients = [torch.zeros_like(value) if gradient is None else gradient
                     for value, gradient in zip(inputs, gradients)]
        return (energy, -gradients[0], *gradients[1:])

    def _call_compiled(self, function: Callable, z: Tensor, pos: Tensor,
                       batch: Optional[Tensor], differentiable: bool,
                       **kwargs) -> Any:
        r"""Returns what the compiled function returns, or :obj:`None` if it
        cannot be compiled."""
        # Everything of which the size depends on values comes from outside:
        if batch is None:
            batch, kwargs['batch_size'] = torch.zeros_like(z), 1
        elif kwargs.get('batch_size') is None:
            kwargs['batch_size'] = int(batch.max()) + 1 if len(batch) else 0
        kind = (function, differentiable, *sorted(
            key for key, value in kwargs.items() if value is not None))
        try:
            compiled = functools.partial(compile_function(function), self, z,
                                         pos, batch, **kwargs)
            with torch.set_grad_enabled(differentiable):
                if kind not in self._verified:
                    verify(compiled, functools.partial(
                        function, self, z, pos, batch, **kwargs),
                        list(self.parameters()))
                    self._verified.add(kind)
                return compiled()
        # Compilers fail in many ways. If the cause is another one, the same
        # call without compilation says so.
        except Exception as error:
            self.compiled = False
            warnings.warn(f'Compilation failed, energies and forces are '
                          f'computed without it ({type(error).__name__}: '
                          f'{error})')
            return None


def _energy_and_derivatives(
        potential: Potential, z: Tensor, pos: Tensor, batch: Tensor,
        strain: Optional[Tensor] = None, **kwargs) -> Tuple[Tensor, ...]:
    r"""Returns energies, forces and, with a strain, its gradient, in a form
    that can be compiled and then differentiated once more.
    """
    def total_energy(*inputs: Tensor) -> Tuple[Tensor, Tensor]:
        energy = potential._energy(z, inputs[0], batch, *inputs[1:], **kwargs)
        return energy.sum(), energy

    inputs = (pos, ) if strain is None else (pos, strain)
    gradients, energy = torch.func.grad(
        total_energy, argnums=tuple(range(len(inputs))), has_aux=True)(*inputs)
    return (energy, -gradients[0], *gradients[1:])


def _usable(value: Optional[Tensor]) -> Optional[Tensor]:
    r"""Tensors made in inference mode cannot take part in a derivative."""
    if value is None or not value.is_inference():
        return value
    return value.clone()
