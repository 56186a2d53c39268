from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.aggr import Aggregation

from torch_sake.models.readout import Readout, sums_over_atoms
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.utils.plain_checks import check_elements, require

# As many elements take part in each call, whatever the batch has:
FEW = 8
# Arguments of a model that say nothing about graphs of one atom:
OF_EDGES = {'batch_size', 'edge_index', 'edge_shift', 'recompute'}


class IsolatedAtoms(torch.nn.Module):
    r"""What a model says of graphs, less what it says of their atoms alone

    .. math::
        \mathrm{model}(z, \mathbf{r}) - \sum_i \mathrm{model}(z_i)

    so that an isolated atom has exactly zero. Atoms alone are graphs of one
    atom at the end of the batch: nothing is kept, so nothing can be out of
    date, and derivatives of any order are those of the difference.

    Args:
        elements (list of int): Atomic numbers of the elements that this holds
            for. Nothing is taken off for others.
        end (int): What atomic numbers are below.
        model (torch.nn.Module): The model.

    Raises:
        TypeError, ValueError: If these are no atomic numbers, or the model is
            known not to sum over atoms.
    """
    def __init__(self, elements: Iterable[int], end: int, model: Callable):
        super().__init__()
        if isinstance(elements, Tensor):
            elements = elements.tolist()
        elements = list(elements)
        if not all(type(number) is int for number in elements):
            raise TypeError(f"'isolated_atoms' must be integers "
                            f"(got {elements})")
        check_elements('isolated_atoms', elements, end)
        require(may_sum_over_atoms(model),
                f"'isolated_atoms' needs a model that sums over atoms (got "
                f"the readout {getattr(model, 'readout', None)})")
        self.elements = sorted(set(elements))
        # Of the description, not of the weights:
        self.register_buffer('numbers', torch.tensor(self.elements),
                             persistent=False)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'IsolatedAtoms':
        super()._apply(fn, recurse)
        if not self.numbers.is_meta:  # no memory is left as it was found
            self.numbers = torch.tensor(self.elements,
                                        device=self.numbers.device)
        return self

    def choose(self, z: Tensor) -> Tensor:
        r"""Returns the atomic numbers of the atoms alone that the energies of
        some atoms need: of many elements, those that are there. They are two
        at least where they vary: compilers take one for a case of its own.

        Shapes:
            - **input:** atomic numbers :math:`(N)`
            - **output:** atomic numbers :math:`(K)`
        """
        numbers = self.numbers
        if (numbers.numel() <= FEW or z.is_meta or z.numel() == 0
                or torch.compiler.is_compiling()
                or torch._C._are_functorch_transforms_active()):
            return numbers
        is_there = torch.isin(numbers, z)
        is_there[:2] = True
        return numbers[is_there]

    def forward(self, call: Callable[..., Tensor], z: Tensor, pos: Tensor,
                batch: Tensor, num_graphs: int, alone: Tensor,
                edge_index: Tensor | None, edge_shift: Tensor | None,
                kwargs: dict[str, Any]) -> Tensor:
        r"""Returns the difference for each graph, :math:`(B)`.

        Args:
            call (callable): Returns what the model says of graphs, given
                atoms, positions and graphs, edges with their shifts, and
                additional arguments.
            alone (torch.Tensor): The atomic numbers of :meth:`choose`.
        """
        places = pos.new_zeros(alone.numel(), pos.size(1))
        graphs = torch.arange(alone.numel(), device=z.device)
        if set(kwargs) <= OF_EDGES:
            if 'batch_size' in kwargs:
                kwargs = {**kwargs, 'batch_size': num_graphs + alone.numel()}
            energy = call(torch.cat([z, alone.to(z.dtype)]),
                          torch.cat([pos, places]),
                          torch.cat([batch, (graphs + num_graphs).to(
                              batch.dtype)]), edge_index, edge_shift, kwargs)
        else:
            # Who knows of what size the other arguments are to be? Atoms
            # alone have none, and are as the model has them by default.
            none = None if edge_index is None else edge_index[:, :0]
            energy = torch.cat([
                call(z, pos, batch, edge_index, edge_shift, kwargs),
                call(alone, places, graphs, none, None, {})])
        total = num_graphs + alone.numel()
        if energy.numel() != total:
            raise ValueError(f"'model' must return {total} energies of as "
                             f"many graphs (got {energy.numel()})")
        atoms = (z.unsqueeze(1) == alone).to(energy.dtype)  # [N, K]
        counts = sum_edges(atoms, Segments(batch, num_graphs))  # [B, K]
        return energy[:num_graphs] - (counts * energy[num_graphs:]).sum(dim=1)


def may_sum_over_atoms(model: Any) -> bool:
    r"""Whether a model sums over atoms, or does not tell."""
    readout = getattr(model, 'readout', None)
    if isinstance(readout, str):
        return readout in ('add', 'sum')
    return sums_over_atoms(model) if isinstance(
        readout, (Readout, Aggregation)) else not getattr(
            model, 'dipole', False)
