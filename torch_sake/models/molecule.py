from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import Embedding, Linear, Sequential, SiLU
from torch_geometric.nn.aggr import MultiAggregation
from torch_geometric.nn.resolver import aggregation_resolver

from torch_sake.models.readout import NUM_ELEMENTS, atomic_masses, center
from torch_sake.models.stack import SAKEStack
from torch_sake.neighbors import RadiusInteractionGraph, neighbor_list
from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.ops.autocast import without_autocast
from torch_sake.utils.checks import (
    check_atomic_numbers,
    check_batch,
    check_bool,
    check_devices,
    check_edge_index,
    check_edge_shift,
    check_float,
    check_no_arguments,
    check_pos,
    check_positive_float,
    check_positive_int,
)

# Arguments of SchNet, and what they are here:
SCHNET_ARGUMENTS = {
    'num_filters': "'hidden_channels'",
    'num_interactions': "'num_layers'",
    'num_gaussians': "'num_rbf'",
    'max_num_neighbors': "not there, as all within the cutoff are neighbors",
}


class MoleculeModel(torch.nn.Module):
    r"""A stack of layers for molecules, in the place of
    :class:`torch_geometric.nn.models.SchNet`: the same call, the same output

    .. math::
        y = \sum_i q_i, \quad q_i =
        \sigma \cdot \mathrm{MLP}(\mathbf{x}^{(L)}_i) + \mu + y_{z_i}

    or the mean over atoms, or, where :math:`q_i` are charges, the moments
    :math:`\sum_i q_i {|\vec{r}_i - \vec{r}_\mathrm{c}|}^2` (the electronic
    spatial extent) and :math:`\left| \sum_i q_i (\vec{r}_i -
    \vec{r}_\mathrm{c}) \right|` (the dipole moment) about the center of mass
    :math:`\vec{r}_\mathrm{c}`. As in SchNet, :obj:`dipole` leaves out
    :math:`\sigma`, :math:`\mu` and :math:`y_z`, and its charges need not add
    up to zero.

    Args:
        hidden_channels (int): Size of the hidden features. What follows is
            given by name only.
        num_layers (int): Number of layers.
        cutoff (float, optional): Distance from which on atoms do not see each
            other; :obj:`None` means that all see each other.
            (default: :obj:`5.0`)
        interaction_graph (callable, optional): Takes :obj:`pos` and
            :obj:`batch` and returns :obj:`(edge_index, edge_weight)` in place
            of the exact :func:`~torch_sake.neighbor_list`. Lengths
            (:obj:`edge_weight`) are computed anew, as forces need them.
            (default: :obj:`None`)
        readout (str, optional): How atoms are put together (:obj:`"add"`,
            :obj:`"mean"` or :obj:`"extent"`, the second moment, which needs
            :obj:`ase` for the masses). (default: :obj:`"add"`)
        dipole (bool, optional): If set to :obj:`True`, the output is the
            magnitude of the dipole moment, from atomic charges and positions
            relative to the center of mass (needs :obj:`ase` for the masses).
            (default: :obj:`False`)
        mean (float, optional): Mean :math:`\mu` of the property of an atom.
            (default: :obj:`None`)
        std (float, optional): Standard deviation :math:`\sigma` of the
            property of an atom; comes with :obj:`mean`.
            (default: :obj:`None`)
        atomref (torch.Tensor, optional): Property :math:`y_z` of single atoms
            by atomic number, of shape :obj:`[100]` or :obj:`[100, 1]`.
            (default: :obj:`None`)
        update_pos (bool or [bool], optional): Whether layers move the atoms;
            for all (but the last, where it would have no effect), or for
            each. (default: :obj:`True`)
        **kwargs (optional): Additional arguments of
            :class:`~torch_sake.models.stack.SAKEStack` and its layers.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*
        - **output:** property :math:`(B, 1)`

    Raises:
        TypeError, ValueError: If an argument is of the wrong type, shape or
            range. Values of tensors are looked at on the CPU only.
    """
    @draws_in_single_precision
    def __init__(
        self,
        hidden_channels: int,
        *,
        num_layers: int,
        cutoff: float | None = 5.0,
        interaction_graph: Callable | None = None,
        readout: str = 'add',
        dipole: bool = False,
        mean: float | None = None,
        std: float | None = None,
        atomref: Tensor | None = None,
        update_pos: bool | Sequence[bool] = True,
        **kwargs,
    ):
        super().__init__()
        _check_no_arguments_of_schnet(kwargs)
        check_no_arguments(kwargs, ('edge_dim', 'vel_input'),
                           self.__class__.__name__)
        self.hidden_channels = check_positive_int('hidden_channels',
                                                  hidden_channels)
        self.num_layers = check_positive_int('num_layers', num_layers)
        if interaction_graph is not None and not callable(interaction_graph):
            raise TypeError(f"'interaction_graph' must be callable "
                            f"(got {type(interaction_graph)})")
        if (mean is None) != (std is None):
            raise ValueError(f"'mean' and 'std' must be given together "
                             f"(got mean={mean} and std={std})")
        if mean is not None:
            mean = check_float('mean', mean)
            std = check_positive_float('std', std)
        self.cutoff = cutoff
        self.interaction_graph = interaction_graph
        self.dipole = check_bool('dipole', dipole)
        self.extent = readout == 'extent'
        self.mean = mean
        self.std = std
        if dipole and self.extent:
            raise ValueError("'readout' must not be 'extent' for a model of "
                             "the dipole moment, 'dipole=True'")
        self.readout = _resolve('sum' if self.is_moment else readout)
        if self.is_moment:
            self.register_buffer('atomic_mass', atomic_masses())

        self.embedding = Embedding(NUM_ELEMENTS, hidden_channels,
                                   padding_idx=0)
        if update_pos is True:
            # No output depends on where the last layer moves the atoms.
            update_pos = [True] * (num_layers - 1) + [False]
        self.stack = SAKEStack(hidden_channels, num_layers, cutoff=cutoff,
                               update_pos=update_pos, vel_input=False,
                               **kwargs)
        self.mlp_out = Sequential(Linear(hidden_channels, hidden_channels),
                                  SiLU(), Linear(hidden_channels, 1))
        self.register_buffer('initial_atomref', _check_atomref(atomref))
        self.atomref = None
        if atomref is not None:
            self.atomref = Embedding(NUM_ELEMENTS, 1)
        self.reset_parameters()

    @property
    def is_moment(self) -> bool:
        r"""Whether the output is a moment about the center of mass, in which
        atoms have no parts of their own.
        """
        return self.dipole or self.extent

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for module in (self.embedding, self.stack, self.mlp_out):
            reset(module)
        if self.atomref is not None:
            with torch.no_grad():
                self.atomref.weight.copy_(self.initial_atomref)

    @without_autocast
    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor | None = None,
        batch_size: int | None = None,
        edge_index: Tensor | None = None,
        edge_shift: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
        recompute: bool = False,
    ) -> Tensor:
        r"""Runs the forward pass of the module.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor, optional): The graph of each atom.
                (default: :obj:`None`)
            batch_size (int, optional): The number of graphs; if given, it
                need not be read off :obj:`batch`. (default: :obj:`None`)
            edge_index (torch.Tensor, optional): A neighbor list that is known
                already. (default: :obj:`None`)
            edge_shift (torch.Tensor, optional): Added to
                :obj:`pos[j] - pos[i]` of each edge. (default: :obj:`None`)
            cell (torch.Tensor, optional): The lattice vectors of each graph,
                :math:`(B, 3, 3)`, as rows, or of one graph,
                :math:`(3, 3)`. (default: :obj:`None`)
            pbc (torch.Tensor, optional): Whether each of its directions is
                periodic, :math:`(B, 3)` or :math:`(3)`; all if not given.
                (default: :obj:`None`)
            recompute (bool, optional): If set to :obj:`True`, layers keep
                nothing for first derivatives but compute it again, which
                takes more time and less memory. (default: :obj:`False`)
        """
        check_atomic_numbers(z, NUM_ELEMENTS)
        check_pos(pos, z.numel(), 3, dtype=self.mlp_out[0].weight.dtype)
        check_devices(pos, z=z, batch=batch, edge_index=edge_index,
                      edge_shift=edge_shift)
        if edge_index is not None:
            check_edge_index(edge_index, z.numel())
            if edge_shift is not None:
                check_edge_shift(edge_shift, edge_index, pos)
            elif cell is not None:
                raise ValueError("'edge_index' needs 'edge_shift' where there "
                                 "is a 'cell' (got None)")
        elif edge_shift is not None:
            raise ValueError("'edge_shift' needs 'edge_index' (got None)")
        else:
            edge_index, edge_shift = self.find_edges(pos, batch, cell, pbc)
        if batch is not None:
            check_batch(batch, z.numel(), batch_size)
        elif batch_size not in (None, 1):
            raise ValueError(f"'batch_size' must be 1 without 'batch' "
                             f"(got {batch_size})")
        else:
            batch, batch_size = torch.zeros_like(z), 1

        x = self.embedding(z)  # [N, F]
        x, _, _ = self.stack(x, pos, edge_index, edge_shift=edge_shift,
                             recompute=recompute)
        out = self.mlp_out(x)  # [N, 1]
        if not self.dipole:
            if self.mean is not None:
                out = out * self.std + self.mean
            if self.atomref is not None:
                out = out + self.atomref(z)
        if self.is_moment:
            arm = center(pos, self.atomic_mass[z], batch,
                         batch_size).to(out.dtype)  # [N, 3]
            if self.extent:
                arm = arm.square().sum(dim=1, keepdim=True)
            out = out * arm
        out = self.readout(out, batch, dim_size=batch_size, dim=0)
        return out.norm(dim=-1, keepdim=True) if self.dipole else out

    def find_edges(
        self,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        r"""Returns the neighbor list, of shape :obj:`[2, E]`, and, if there is
        a cell, the shifts of the edges, :obj:`[E, 3]`.
        """
        graph, cutoff = self.interaction_graph, self.cutoff
        if cell is not None and type(graph) is RadiusInteractionGraph:
            graph, cutoff = None, graph.cutoff  # which knows no cells
        if graph is None:
            edge_index, edge_shift = neighbor_list(pos, cutoff, batch, cell,
                                                   pbc)
            return edge_index, None if cell is None else edge_shift
        if cell is not None:
            raise ValueError("'cell' must not be given to a model with an "
                             "'interaction_graph' of its own")
        if batch is None:
            batch = torch.zeros(pos.size(0), dtype=torch.long,
                                device=pos.device)
        edge_index = graph(pos, batch)[0]
        return check_edge_index(edge_index, pos.size(0)), None

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}('
                f'hidden_channels={self.hidden_channels}, '
                f'num_layers={self.num_layers}, cutoff={self.cutoff})')


def _check_no_arguments_of_schnet(kwargs: dict[str, Any]) -> None:
    hints = [f"'{name}' is {SCHNET_ARGUMENTS[name]}" for name in kwargs
             if name in SCHNET_ARGUMENTS]
    if hints:
        raise TypeError(f"Some arguments of SchNet have other names here: "
                        f"{', '.join(hints)}")


def _resolve(readout: Any) -> torch.nn.Module:
    try:
        module = aggregation_resolver(readout)
    except ValueError:
        module = None
    if not isinstance(module, torch.nn.Module) or isinstance(
            module, MultiAggregation):  # more than one number
        raise ValueError(f"'readout' must be 'add', 'mean', 'extent' or an "
                         f"aggregation of PyG (got {readout!r})")
    return module


def _check_atomref(atomref: Tensor | None) -> Tensor | None:
    if atomref is None:
        return None
    if not isinstance(atomref, Tensor):
        raise TypeError(f"'atomref' must be a tensor (got {type(atomref)})")
    if atomref.numel() != NUM_ELEMENTS or atomref.size(0) != NUM_ELEMENTS:
        raise ValueError(f"'atomref' must have shape [{NUM_ELEMENTS}] or "
                         f"[{NUM_ELEMENTS}, 1] (got {list(atomref.shape)})")
    return atomref.detach().view(NUM_ELEMENTS, 1).clone()
