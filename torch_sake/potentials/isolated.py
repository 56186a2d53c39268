from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.aggr import Aggregation

from torch_sake.models.readout import Readout, sums_over_atoms
from torch_sake.utils.plain_checks import check_elements, require

# As many elements take part in each call, whatever the batch has:
FEW = 8
# Arguments of a model that say nothing about graphs of one atom:
OF_EDGES = {'batch_size', 'edge_index', 'edge_shift', 'recompute',
            'return_features'}
# Those of graphs, as atoms alone have them:
OF_GRAPHS = {'charge': 0, 'spin': 1}


class IsolatedAtoms(torch.nn.Module):
    r"""What a model says of atoms alone, so that it can be taken off of what
    it says of graphs, and an isolated atom has exactly zero

    .. math::
        \mathrm{model}(z, \mathbf{r}) - \sum_i \mathrm{model}(z_i)

    Atoms alone are graphs of one atom at the end of the batch: nothing is
    kept, so nothing can be out of date, whatever happens to the weights, and
    derivatives of any order are those of the difference.

    Args:
        elements (list of int): Atomic numbers of the elements that this holds
            for. Nothing is taken off for others.
        energies (torch.Tensor): Energies by atomic number.
        model (torch.nn.Module): The model.

    Raises:
        TypeError, ValueError: If these are no atomic numbers, or the model is
            known not to sum over atoms.
    """
    def __init__(self, elements: Iterable[int], energies: Tensor,
                 model: Callable):
        super().__init__()
        if isinstance(elements, Tensor):
            elements = elements.tolist()
        elements = list(elements)
        if not all(type(number) is int for number in elements):
            raise TypeError(f"'isolated_atoms' must be integers "
                            f"(got {elements})")
        check_elements('isolated_atoms', elements, energies.numel())
        require(may_sum_over_atoms(model),
                f"'isolated_atoms' needs a model that sums over atoms (got "
                f"the readout {getattr(model, 'readout', None)})")
        self.elements = sorted(set(elements))
        # Of the description, not of the weights:
        self.register_buffer('numbers', torch.tensor(
            self.elements, device=energies.device), persistent=False)

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
        if self.numbers.is_meta and not z.is_meta:  # weights were assigned
            self.numbers = torch.tensor(self.elements, device=z.device)
        numbers = self.numbers
        if (numbers.numel() <= FEW or z.is_meta or z.numel() == 0
                or torch.compiler.is_compiling()
                or torch._C._are_functorch_transforms_active()):
            return numbers
        is_there = torch.isin(numbers, z)
        is_there[:2] = True
        return numbers[is_there]

    def evaluate(
        self, call: Callable[..., tuple[Tensor, Tensor | None]], z: Tensor,
        pos: Tensor, batch: Tensor, num_graphs: int, alone: Tensor,
        edge_index: Tensor | None, edge_shift: Tensor | None,
        kwargs: dict[str, Any],
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        r"""Returns what a model says of graphs, :math:`(B)`, and of the atoms
        alone, :math:`(K)`, and the features of the atoms of graphs, if there
        are any.

        Args:
            call (callable): Returns what the model says of graphs and the
                features of atoms, given atoms, positions and graphs, edges
                with their shifts, and additional arguments.
            alone (torch.Tensor): The atomic numbers of :meth:`choose`.
        """
        number = alone.numel()
        places = pos.new_zeros(number, pos.size(1))
        graphs = torch.arange(num_graphs, num_graphs + number,
                              dtype=batch.dtype, device=batch.device)
        if not set(kwargs) <= OF_EDGES | OF_GRAPHS.keys():
            # Who knows of what size the other arguments are to be? Atoms
            # alone have none, and are as the model has them by default.
            none = None if edge_index is None else edge_index[:, :0]
            energy, features = call(z, pos, batch, edge_index, edge_shift,
                                    kwargs)
            single, others = call(
                alone, places, graphs - num_graphs, none, None,
                {name: value for name, value in kwargs.items()
                 if name == 'return_features'})
            return energy, single, less_alone(features, others, z, alone)
        kwargs = {name: torch.cat([value, value.new_full(
            (number, ), OF_GRAPHS[name])]) if name in OF_GRAPHS else value
            for name, value in kwargs.items()}
        if 'batch_size' in kwargs:
            kwargs['batch_size'] = num_graphs + number
        energy, features = call(
            torch.cat([z, alone.to(z.dtype)]), torch.cat([pos, places]),
            torch.cat([batch, graphs]), edge_index, edge_shift, kwargs)
        if energy.numel() != num_graphs + number:
            raise ValueError(f"'model' must return {num_graphs + number} "
                             f"energies of as many graphs "
                             f"(got {energy.numel()})")
        if features is not None:
            features = less_alone(features[:z.numel()], features[z.numel():],
                                  z, alone)
        return energy[:num_graphs], energy[num_graphs:], features


def less_alone(features: Tensor | None, others: Tensor | None, z: Tensor,
               alone: Tensor) -> Tensor | None:
    r"""Returns the features of atoms, less those of their elements alone, as
    energies are.

    Shapes:
        - **input:** features :math:`(N, F)`, those of atoms alone
          :math:`(K, F)`, atomic numbers :math:`(N)` and :math:`(K)`
    """
    if features is None or others is None:
        return None
    is_one = z.unsqueeze(1) == alone
    return features - is_one.to(features.dtype) @ others


def may_sum_over_atoms(model: Any) -> bool:
    r"""Whether a model sums over atoms, or does not tell."""
    readout = getattr(model, 'readout', None)
    if isinstance(readout, str):
        return readout in ('add', 'sum')
    return sums_over_atoms(model) if isinstance(
        readout, (Readout, Aggregation)) else not getattr(
            model, 'dipole', False)
