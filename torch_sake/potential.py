import functools
import warnings
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import torch
from torch import Tensor

from torch_sake.checks import (check_atomic_numbers, check_batch, check_pos,
                               check_positive_float)
from torch_sake.models import MoleculeModel
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
        self.compiled = False
        self._verified: Set[Tuple[Callable, bool]] = set()
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
        self._check_inputs(z, pos, batch)
        differentiable = torch.is_grad_enabled()
        with torch.inference_mode(False), torch.enable_grad():
            z, pos, batch = (_usable(value) for value in (z, pos, batch))
            if self.compiled and not pos.requires_grad:
                outputs = self._call_compiled(_energy_and_forces, z, pos,
                                              batch, differentiable, kwargs)
                if outputs is not None:
                    return (*outputs, None)
            # A second name for the positions: their owner sees no change.
            pos = pos.view_as(pos) if pos.requires_grad else (
                pos.detach().requires_grad_())
            energy = self._energy(z, pos, batch, **kwargs)
            gradient = None
            if energy.requires_grad:
                gradient, = torch.autograd.grad(
                    energy.sum(), pos, create_graph=differentiable,
                    allow_unused=True)
            forces = torch.zeros_like(pos) if gradient is None else -gradient
        if not differentiable:
            energy, forces = energy.detach(), forces.detach()
        return energy, forces, None

    def energy(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Optional[Tensor] = None,
        **kwargs,
    ) -> Tensor:
        r"""Returns the energies alone, :math:`(B)`, at a lower cost.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor, optional): The graph of each atom.
                (default: :obj:`None`)
            **kwargs (optional): As those of :meth:`forward`.
        """
        self._check_inputs(z, pos, batch)
        z, pos, batch = (_usable(value) for value in (z, pos, batch))
        if self.compiled and not pos.requires_grad:
            energy = self._call_compiled(Potential._energy, z, pos, batch,
                                         torch.is_grad_enabled(), kwargs)
            if energy is not None:
                return energy
        return self._energy(z, pos, batch, **kwargs)

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

    def _call_compiled(self, function: Callable, z: Tensor, pos: Tensor,
                       batch: Optional[Tensor], differentiable: bool,
                       kwargs: Dict[str, Any]) -> Any:
        r"""Returns what the compiled function returns, or :obj:`None` if it
        cannot be compiled."""
        kwargs = dict(kwargs)
        # Everything of which the size depends on values comes from outside:
        if kwargs.get('edge_index') is None:
            kwargs['edge_index'] = self.model.find_edges(pos, batch)
        if batch is None:
            batch, kwargs['batch_size'] = torch.zeros_like(z), 1
        elif kwargs.get('batch_size') is None:
            kwargs['batch_size'] = int(batch.max()) + 1 if len(batch) else 0
        compiled = functools.partial(_compile(function), self, z, pos, batch,
                                     **kwargs)
        try:
            with torch.set_grad_enabled(differentiable):
                if (function, differentiable) not in self._verified:
                    _verify(compiled, functools.partial(
                        function, self, z, pos, batch, **kwargs),
                        list(self.parameters()))
                    self._verified.add((function, differentiable))
                return compiled()
        # Compilers fail in many ways. If the cause is another one, the same
        # call without compilation says so.
        except Exception as error:
            self.compiled = False
            warnings.warn(f'Compilation failed, energies and forces are '
                          f'computed without it ({type(error).__name__}: '
                          f'{error})')
            return None

    def _check_inputs(self, z: Tensor, pos: Tensor,
                      batch: Optional[Tensor]) -> None:
        check_atomic_numbers(z, 119 if self.atomic_energies is None else
                             self.atomic_energies.numel())
        check_pos(pos, z.numel(), 3)
        if batch is not None:
            check_batch(batch, z.numel())

    def _energy(self, z: Tensor, pos: Tensor, batch: Optional[Tensor],
                **kwargs) -> Tensor:
        single = batch is None
        if single:
            batch = torch.zeros_like(z)
        energy = self.energy_scale * _as_vector(
            self.model(z, pos, batch, **kwargs))
        if single and energy.numel() == 0:  # a graph without atoms
            energy = energy.new_zeros(1)
        if self.atomic_energies is not None:
            energy = energy.double() + sum_edges(self.atomic_energies[z],
                                                 batch, energy.numel())
        return energy

    def extra_repr(self) -> str:
        return f'energy_scale={self.energy_scale}'


@functools.cache
def _compile(function: Callable) -> Callable:
    # Kept here, not by potentials, which can be copied and pickled then.
    return torch.compile(function, dynamic=True, fullgraph=True)


def _energy_and_forces(potential: Potential, z: Tensor, pos: Tensor,
                       batch: Tensor, **kwargs) -> Tuple[Tensor, Tensor]:
    r"""In a form that can be compiled and then differentiated once more."""
    def total_energy(pos: Tensor) -> Tuple[Tensor, Tensor]:
        energy = potential._energy(z, pos, batch, **kwargs)
        return energy.sum(), energy

    gradient, energy = torch.func.grad(total_energy, has_aux=True)(pos)
    return energy, -gradient


def _verify(compiled: Callable, function: Callable,
            parameters: List[Tensor]) -> None:
    r"""Raises an error if a compiled function returns something else than the
    function, or has other derivatives with respect to parameters.
    """
    results = []
    for call in (compiled, function):
        outputs = call()
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        values = [output.detach() for output in outputs]
        if outputs[0].requires_grad:
            # Of a sum in which every number has a weight of its own:
            total = sum((output * torch.linspace(
                0.5, 1.5, output.numel(), dtype=output.dtype,
                device=output.device).view_as(output)).sum()
                for output in outputs)
            values += torch.autograd.grad(total, parameters,
                                          materialize_grads=True)
        results.append(values)
    for value, expected in zip(*results):
        tolerance = torch.finfo(parameters[0].dtype).eps**0.5
        error = (value - expected).abs().max() if value.numel() else 0
        scale = expected.abs().max() if value.numel() else 1
        if not error <= tolerance * scale + tolerance:
            raise RuntimeError(f'the compiled function differs by '
                               f'{float(error):.2g} in values up to '
                               f'{float(scale):.2g}')


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
