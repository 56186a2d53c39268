import contextlib
import functools
import warnings
from typing import Any, Callable, Dict, Optional, Sequence, Set, Tuple

import torch
from torch import Tensor
from torch_geometric.nn.aggr import SumAggregation

from torch_sake.checks import (check_atomic_numbers, check_batch, check_pos,
                               check_positive_float)
from torch_sake.compilation import compile_function, verify
from torch_sake.models import MoleculeModel
from torch_sake.neighbors import RadiusInteractionGraph, neighbor_list
from torch_sake.neighbors.lattice import check_cell
from torch_sake.nn.scatter import sum_edges
from torch_sake.strain import apply_strain, cell_volumes


class Potential(torch.nn.Module):
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
        super().__init__()
        self.compiled = False
        self._verified: Set[Tuple[Any, ...]] = set()
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
        if prior is not None and not isinstance(prior, torch.nn.Module):
            raise TypeError(f"'prior' must be a torch.nn.Module "
                            f"(got {type(prior)})")
        self.prior = prior
        if prior is not None and self.cutoff is not None and (
                prior.cutoff > self.cutoff):
            raise ValueError(f"'prior' must end within the cutoff of the "
                             f"model, {self.cutoff} (got {prior.cutoff})")

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
                outputs = self._call_eagerly(z, pos, batch, differentiable,
                                             strain, kwargs)
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

    def site_energies(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        cell: Optional[Tensor] = None,
        pbc: Optional[Tensor] = None,
        **kwargs,
    ) -> Tensor:
        r"""Returns the parts of the energies that the model ascribes to each
        atom, :math:`(N)`. Their sums are the energies.

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

        Raises:
            TypeError, ValueError: If the model is none of this package, has
                no :class:`~torch_sake.RadiusInteractionGraph`, or does not sum
                over atoms.
        """
        cell, pbc = self._check_inputs(z, pos, batch, cell, pbc)
        readout = getattr(self.model, 'readout', None)
        if getattr(self.model, 'dipole', False) or not isinstance(
                readout, SumAggregation):
            raise ValueError(f"'model' must sum over atoms to have energies "
                             f"of atoms (got the readout {readout})")
        kwargs = self._find_edges(pos, batch, cell, pbc, kwargs, always=True)
        # Edges are known: it only matters for the sums what a graph is.
        kwargs.pop('batch_size', None)
        return self._energy(z, pos, torch.arange(z.numel(), device=z.device),
                            **kwargs)

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

    @property
    def cutoff(self) -> Optional[float]:
        r"""The length of the longest edges, where the neighbor list of the
        model is one of this package, or :obj:`None`.
        """
        if isinstance(self.model, MoleculeModel):
            return self.model.cutoff
        return getattr(self._graph, 'cutoff', None)

    @property
    def _graph(self) -> Optional[RadiusInteractionGraph]:
        graph = getattr(self.model, 'interaction_graph', None)
        return graph if isinstance(graph, RadiusInteractionGraph) else None

    def _find_edges(self, pos: Tensor, batch: Optional[Tensor],
                    cell: Optional[Tensor], pbc: Optional[Tensor],
                    kwargs: Dict[str, Any],
                    always: bool = False) -> Dict[str, Any]:
        r"""Returns the arguments of :meth:`_energy`, with the edges that are
        to be known before the model is called: those of this package's models,
        and of all that are periodic.
        """
        kwargs = dict(kwargs)
        if isinstance(self.model, MoleculeModel) and cell is not None:
            kwargs.setdefault('batch_size', cell.size(0))
        if kwargs.get('edge_index') is not None:
            return kwargs
        if isinstance(self.model, MoleculeModel):
            edges = self.model.find_edges(pos, batch, cell, pbc)
        elif always or (pbc is not None and bool(pbc.any())):
            if self._graph is None:
                raise TypeError(
                    f"'model' must be one of this package, or have its "
                    f"RadiusInteractionGraph as 'interaction_graph', to be "
                    f"periodic or give energies of atoms (got "
                    f"{type(self.model)})")
            edges = neighbor_list(pos, self.cutoff, batch, cell, pbc)
        else:
            return kwargs
        return dict(kwargs, edge_index=edges[0], edge_shift=edges[1])

    def _takes_compiled(self, pos: Tensor, cell: Optional[Tensor]) -> bool:
        return self.compiled and not pos.requires_grad and not (
            cell is not None and cell.requires_grad)

    @staticmethod
    def ensemble(potentials: Sequence['Potential']) -> torch.nn.Module:
        r"""Returns several potentials as one, see
        :class:`~torch_sake.Ensemble`.
        """
        from torch_sake.ensemble import Ensemble
        return Ensemble(potentials)

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
        compiled = functools.partial(compile_function(function), self, z, pos,
                                     batch, **kwargs)
        kind = (function, differentiable, *sorted(
            key for key, value in kwargs.items() if value is not None))
        try:
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

    def _check_inputs(
        self, z: Tensor, pos: Tensor, batch: Optional[Tensor],
        cell: Optional[Tensor], pbc: Optional[Tensor],
    ) -> Tuple[Optional[Tensor], Optional[Tensor]]:
        check_atomic_numbers(z, 119 if self.atomic_energies is None else
                             self.atomic_energies.numel())
        check_pos(pos, z.numel(), 3)
        if batch is not None:
            check_batch(batch, z.numel())
        return check_cell(cell, pbc, 1 if batch is None else None, pos)

    def _energy(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Optional[Tensor],
        strain: Optional[Tensor] = None,
        edge_index: Optional[Tensor] = None,
        edge_shift: Optional[Tensor] = None,
        **kwargs,
    ) -> Tensor:
        single = batch is None
        if single:
            batch = torch.zeros_like(z)
        if strain is not None:
            pos, edge_shift = apply_strain(strain, pos, batch, edge_index,
                                           edge_shift)
        fixed = contextlib.nullcontext()
        if edge_index is not None:
            if self._graph is not None and not isinstance(self.model,
                                                          MoleculeModel):
                fixed = self._graph.fixed(edge_index, edge_shift)
            else:
                kwargs.update(edge_index=edge_index, edge_shift=edge_shift)
        with fixed:
            energy = self.energy_scale * _as_vector(
                self.model(z, pos, batch, **kwargs))
        if single and energy.numel() == 0:  # a graph without atoms
            energy = energy.new_zeros(1)
        if self.prior is not None:
            energy = energy + self.prior(z, pos, batch, edge_index, edge_shift,
                                         energy.numel())
        if self.atomic_energies is not None:
            energy = energy.double() + sum_edges(self.atomic_energies[z],
                                                 batch, energy.numel())
        return energy

    def extra_repr(self) -> str:
        return f'energy_scale={self.energy_scale}'


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


def _as_vector(energy: Tensor) -> Tensor:
    if energy.dim() == 2 and energy.size(1) == 1:
        return energy.squeeze(1)
    if energy.dim() != 1:
        raise ValueError(f"'model' must return energies of shape [B] or "
                         f"[B, 1] (got {list(energy.shape)})")
    return energy
