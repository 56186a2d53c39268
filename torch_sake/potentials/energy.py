import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from torch_sake.models import MoleculeModel
from torch_sake.neighbors import Edges, RadiusInteractionGraph
from torch_sake.neighbors.edges import given_or_found_edges, is_periodic
from torch_sake.neighbors.lattice import check_cell
from torch_sake.neighbors.search import find_edges
from torch_sake.ops.autocast import type_of_parameters
from torch_sake.ops.derivatives import usable
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.potentials.compilable import Compilable
from torch_sake.potentials.electrons import prepare_state
from torch_sake.potentials.isolated import IsolatedAtoms
from torch_sake.potentials.parts import (
    Parts,
    as_vector,
    round_positions,
    total,
)
from torch_sake.potentials.strain import apply_strain
from torch_sake.utils.checks import (
    MAX_ATOMIC_NUMBER,
    check_atomic_numbers,
    check_batch,
    check_devices,
    check_pos,
)
from torch_sake.utils.plain_checks import check_positive_float


class EnergyModel(Compilable):
    r"""A number for each graph, the energy of a
    :class:`~torch_sake.Potential` or a :class:`~torch_sake.Property`, of which
    this is the base: that of any :obj:`model(z, pos, batch)`, scaled, with
    the references of single atoms and a prior. It knows which edges a model
    needs before it is called.

    Args:
        model (torch.nn.Module): As that of :class:`~torch_sake.Potential`, as
            all others.
        energy_scale (float, optional): Factor of the model's output.
            (default: :obj:`1.0`)
        atomic_energies (torch.Tensor, optional): Energies of single atoms.
            (default: :obj:`None`)
        prior (torch.nn.Module, optional): A part of the energy that is not
            learned. (default: :obj:`None`)
        isolated_atoms (list of int, optional): Elements of which isolated
            atoms have exactly these energies. (default: :obj:`None`)
    """
    def __init__(self, model: Callable, energy_scale: float = 1.0,
                 atomic_energies: Tensor | None = None,
                 prior: torch.nn.Module | None = None,
                 isolated_atoms: Iterable[int] | None = None):
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
        if prior is not None and not isinstance(prior, torch.nn.Module):
            raise TypeError(f"'prior' must be a torch.nn.Module "
                            f"(got {type(prior)})")
        self.prior = prior
        self.isolated_atoms = isolated_atoms
        end = getattr(prior, 'cutoff', None)
        if None not in (end, self.cutoff) and end > self.cutoff:
            raise ValueError(f"'prior' must end within the cutoff of the "
                             f"model, {self.cutoff} (got {end})")

    def _apply(self, fn: Callable, recurse: bool = True) -> 'EnergyModel':
        # The references go along to other devices, but stay in float64.
        energies = self.atomic_energies
        super()._apply(fn, recurse)
        if energies is not None:
            device = self.atomic_energies.device
            self.atomic_energies = (
                torch.empty_like(energies, device=device) if energies.is_meta
                else energies.to(device))
        return self

    @property
    def isolated_atoms(self) -> list[int] | None:
        r"""The elements of which isolated atoms have exactly their energies.
        """
        return None if self.isolated is None else list(self.isolated.elements)

    @isolated_atoms.setter
    def isolated_atoms(self, elements: Iterable[int] | None) -> None:
        self.isolated = None
        if elements is None:
            return
        if self.atomic_energies is None:
            raise ValueError("'isolated_atoms' needs 'atomic_energies', which "
                             "they are to have (got none)")
        self.isolated = IsolatedAtoms(elements, self.atomic_energies,
                                      self.model)

    @property
    def cutoff(self) -> float | None:
        r"""The length of the longest edges, where the neighbor list of the
        model is one of this package, or :obj:`None`.
        """
        if isinstance(self.model, MoleculeModel) and (
                self.model.interaction_graph is None):
            return self.model.cutoff
        return getattr(self._graph, 'cutoff', None)

    @property
    def _graph(self) -> RadiusInteractionGraph | None:
        graph = getattr(self.model, 'interaction_graph', None)
        return graph if isinstance(graph, RadiusInteractionGraph) else None

    def _prepare(self, z: Tensor, pos: Tensor, batch: Tensor | None,
                 cell: Tensor | None, pbc: Tensor | None,
                 kwargs: dict[str, Any], always: bool = False) -> tuple:
        r"""Returns the arguments, checked, with the edges that are to be known
        before the model is called: those of this package's models, and of all
        that are periodic.
        """
        check_atomic_numbers(z, MAX_ATOMIC_NUMBER + 1
                             if self.atomic_energies is None else
                             self.atomic_energies.numel())
        check_pos(pos, z.numel(), 3)
        check_devices(pos, z=z, batch=batch)
        if batch is not None:
            check_batch(batch, z.numel())
        cell, pbc = check_cell(cell, pbc, 1 if batch is None else None, pos)
        z, pos, batch, cell, kwargs = usable((z, pos, batch, cell, kwargs))
        model = self.model
        prepare_state(self, kwargs, z, pos, batch, cell)

        def find() -> Edges:
            if isinstance(model, MoleculeModel):
                return model.find_edges(pos, batch, cell, pbc)
            if self._graph is not None:
                return find_edges(pos, self.cutoff, batch, cell, pbc)
            if not (always or is_periodic(cell, pbc)):
                return Edges(None)  # the model finds them
            raise TypeError(
                f"'model' must be one of this package, or have its "
                f"RadiusInteractionGraph as 'interaction_graph', to be "
                f"periodic or give energies of atoms (got {type(model)})")

        edges = given_or_found_edges(pos, kwargs.pop('edge_index', None),
                                     kwargs.pop('edge_shift', None), find,
                                     cell, pbc)
        if edges.index is not None:
            kwargs.update(edge_index=edges.index, edge_shift=edges.shift)
        if isinstance(model, MoleculeModel) and cell is not None:
            kwargs.setdefault('batch_size', cell.size(0))
        if self.isolated is not None:
            kwargs['alone'] = self.isolated.choose(z)
        return z, pos, batch, cell, pbc, kwargs

    def _evaluate(self, z: Tensor, pos: Tensor, batch: Tensor | None,
                  cell: Tensor | None, pbc: Tensor | None,
                  **kwargs) -> Tensor:
        r"""Checks everything and returns the numbers alone, compiled or
        not."""
        z, pos, batch, cell, _, kwargs = self._prepare(z, pos, batch, cell,
                                                       pbc, kwargs)
        energy = None
        if self._takes_compiled(pos, cell):
            energy = self._call_compiled(EnergyModel._energy, z, pos, batch,
                                         torch.is_grad_enabled(), **kwargs)
        if energy is None:
            energy = self._energy(z, pos, batch, **kwargs)
        return energy

    def _energy(self, *args, **kwargs) -> Tensor:
        r"""Returns the energies, given all that :meth:`_prepare` returns."""
        return total(self._parts(*args, **kwargs))

    def _parts(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None,
        strain: Tensor | None = None,
        edge_index: Tensor | None = None,
        edge_shift: Tensor | None = None,
        alone: Tensor | None = None,
        has_prior: bool = True,
        **kwargs,
    ) -> Parts:
        r"""Returns what depends on the positions, with the prior or without
        it, and what does not: the references, in float64, less what the model
        says of atoms alone; and the features of the atoms, where a model of
        this package is asked for them by :obj:`return_features`.
        """
        single = batch is None
        if single:
            batch = torch.zeros_like(z)
        if strain is not None:
            pos, edge_shift = apply_strain(strain, pos, batch, edge_index,
                                           edge_shift)
        rounded = pos
        if not isinstance(self.model, MoleculeModel):
            rounded = round_positions(pos, batch,
                                      type_of_parameters(self.model))
        call = functools.partial(self._call_model, pos)
        single_atoms = None
        if self.isolated is None or alone is None:
            energy, features = call(z, rounded, batch, edge_index, edge_shift,
                                    kwargs)
        else:
            num_graphs = kwargs.get('batch_size')
            if num_graphs is None:
                num_graphs = 1 if single else (
                    int(batch.max()) + 1 if batch.numel() > 0 else 0)
            if isinstance(self.model, MoleculeModel):
                kwargs['batch_size'] = num_graphs
            energy, single_atoms, features = self.isolated.evaluate(
                call, z, rounded, batch, num_graphs, alone, edge_index,
                edge_shift, kwargs)
        energy = self.energy_scale * energy
        if single and energy.numel() == 0:  # a graph without atoms
            energy = energy.new_zeros(1)
        if self.prior is not None and has_prior:
            energy = energy + self.prior(z, pos, batch, edge_index, edge_shift,
                                         energy.numel())
        if single_atoms is not None:
            references = self.atomic_energies.index_add(
                0, alone, single_atoms.double(), alpha=-self.energy_scale)
            return energy, sum_edges(
                references.index_select(0, z),
                Segments(batch, energy.numel())), features
        constant = None
        if self.atomic_energies is not None:
            constant = self.references(z, pos, batch, energy.numel())
        return energy, constant, features

    def _call_model(self, exact: Tensor, z: Tensor, pos: Tensor,
                    batch: Tensor, edge_index: Tensor | None,
                    edge_shift: Tensor | None,
                    kwargs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        r"""Returns what the model says, given positions as they are and as
        they are rounded for it, and the features of atoms with a constant
        one, if asked for.
        """
        fixed = contextlib.nullcontext()
        if edge_index is not None:
            if self._graph is not None and not isinstance(self.model,
                                                          MoleculeModel):
                fixed = self._graph.fixed(edge_index, edge_shift, exact)
            else:
                kwargs = {**kwargs, 'edge_index': edge_index,
                          'edge_shift': edge_shift}
        if kwargs.get('return_features', False):
            model: Any = self.model
            energy, features = model.with_features(z, pos, batch, **{
                name: value for name, value in kwargs.items()
                if name != 'return_features'})
            return as_vector(energy), pad(features, (0, 1), value=1.0)
        with fixed:
            return as_vector(self.model(z, pos, batch, **kwargs)), None

    def references(self, z: Tensor, pos: Tensor, batch: Tensor,
                   batch_size: int) -> Tensor:
        r"""Returns what there is without the model, :math:`(B)`: the sums of
        the references of single atoms.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor): The graph of each atom.
            batch_size (int): The number of graphs.
        """
        if self.atomic_energies is None:
            return torch.zeros(batch_size, dtype=torch.double,
                               device=pos.device)
        return sum_edges(self.atomic_energies[z], Segments(batch, batch_size))

    def extra_repr(self) -> str:
        return f'energy_scale={self.energy_scale}'
