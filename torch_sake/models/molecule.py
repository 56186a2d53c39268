from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Embedding, Linear, Sequential, SiLU
from torch_geometric.nn.aggr import Aggregation

from torch_sake.models.electronic import ElectronicEmbedding, add_state
from torch_sake.models.readout import NUM_ELEMENTS, Readout, find_readout
from torch_sake.models.schnet_arguments import (
    check_atomref,
    check_no_arguments_of_schnet,
)
from torch_sake.models.stack import SAKEStack
from torch_sake.neighbors import Edges, RadiusInteractionGraph
from torch_sake.neighbors.edges import given_or_found_edges
from torch_sake.neighbors.search import find_edges
from torch_sake.nn.init import draws_in_single_precision, reset
from torch_sake.ops.autocast import without_autocast
from torch_sake.utils.checks import (
    check_atomic_numbers,
    check_batch,
    check_devices,
    check_edge_index,
    check_pos,
)
from torch_sake.utils.plain_checks import (
    check_bool,
    check_float,
    check_no_arguments,
    check_positive_float,
    check_positive_int,
)


class MoleculeModel(torch.nn.Module):
    r"""A stack of layers for molecules, in the place of
    :class:`torch_geometric.nn.models.SchNet`: the same call, the same output

    .. math::
        y = \sum_i q_i, \quad q_i =
        \sigma \cdot \mathrm{MLP}(\mathbf{x}^{(L)}_i) + \mu + y_{z_i}

    or another :mod:`~torch_sake.models.readout`: the mean over atoms or, where
    :math:`q_i` are charges, a moment about the center of mass. As in SchNet, a
    dipole moment leaves out :math:`\sigma`, :math:`\mu` and :math:`y_z`.

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
        readout (str or Aggregation or Readout, optional): How atoms are put
            together: :obj:`"add"`, :obj:`"mean"`, :obj:`"extent"`,
            :obj:`"dipole"` (both need :obj:`ase` for the masses), an
            aggregation of PyG or a
            :class:`~torch_sake.models.readout.Readout`.
            (default: :obj:`"add"`)
        dipole (bool, optional): SchNet's word for :obj:`readout="dipole"`.
            (default: :obj:`False`)
        mean, std (float, optional): Mean :math:`\mu` and standard deviation
            :math:`\sigma` of the property of an atom. (default: :obj:`None`)
        atomref (torch.Tensor, optional): Property :math:`y_z` of single atoms
            by atomic number, of shape :obj:`[100]` or :obj:`[100, 1]`.
            (default: :obj:`None`)
        update_pos (bool or [bool], optional): Whether layers move the atoms;
            for all (but the last, where it would have no effect), or for
            each. (default: :obj:`True`)
        embed_charge (bool, optional): If set to :obj:`True`, total charges
            and spins become part of the features of atoms, see
            :class:`~torch_sake.models.electronic.ElectronicEmbedding`.
            (default: :obj:`False`)
        **kwargs (optional): Additional arguments of
            :class:`~torch_sake.models.stack.SAKEStack` and its layers.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*, total charges and multiplicities
          :math:`(B)` *(optional)*
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
        readout: str | Aggregation | Readout = 'add',
        dipole: bool = False,
        mean: float | None = None,
        std: float | None = None,
        atomref: Tensor | None = None,
        update_pos: bool | Sequence[bool] = True,
        embed_charge: bool = False,
        **kwargs,
    ):
        super().__init__()
        check_no_arguments_of_schnet(kwargs)
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
        self.cutoff, self.interaction_graph = cutoff, interaction_graph
        self.mean, self.std = mean, std
        if check_bool('dipole', dipole):
            if readout == 'extent' or isinstance(readout, Readout):
                raise ValueError(f"'readout' must not be {readout!r} for a "
                                 f"model of the dipole moment, 'dipole=True'")
            readout = 'dipole'
        self.readout = find_readout(readout)
        self.dipole = self.readout.name == 'dipole'
        if hasattr(self.readout, 'atomic_mass'):  # where checkpoints have it
            self.register_buffer('atomic_mass', self.readout.atomic_mass)

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
        self.register_buffer('initial_atomref', check_atomref(atomref))
        self.atomref = None
        if atomref is not None:
            self.atomref = Embedding(NUM_ELEMENTS, 1)
        self.electronic = None
        if check_bool('embed_charge', embed_charge):
            self.electronic = ElectronicEmbedding(hidden_channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        r"""Resets all learnable parameters of the module."""
        for name in ('embedding', 'stack', 'mlp_out', 'readout',
                     'electronic'):
            if getattr(self, name) is not None:
                reset(getattr(self, name))
        if self.atomref is not None:
            with torch.no_grad():
                self.atomref.weight.copy_(self.initial_atomref)

    def _apply(self, fn: Callable, recurse: bool = True) -> 'MoleculeModel':
        super()._apply(fn, recurse)
        if 'atomic_mass' in self._buffers:  # still one tensor
            self.readout.atomic_mass = self.atomic_mass
        return self

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
        charge: Tensor | float | None = None,
        spin: Tensor | float | None = None,
        graphs: Tensor | None = None,
    ) -> Tensor:
        r"""Runs the forward pass of the module.

        Args:
            z (torch.Tensor): The atomic numbers.
            pos (torch.Tensor): The positions.
            batch (torch.Tensor, optional): The graph of each atom.
                (default: :obj:`None`)
            batch_size (int, optional): The number of graphs; if given, it
                need not be read off :obj:`batch`. (default: :obj:`None`)
            edge_index, edge_shift (torch.Tensor, optional): A neighbor list
                that is known already, and what is added to
                :obj:`pos[j] - pos[i]` of each edge. (default: :obj:`None`)
            cell, pbc (torch.Tensor, optional): As those of
                :func:`~torch_sake.neighbor_list`. (default: :obj:`None`)
            recompute (bool, optional): If set to :obj:`True`, layers keep
                nothing for first derivatives but compute it again, which
                takes more time and less memory. (default: :obj:`False`)
            charge (torch.Tensor or float, optional): The total charges in
                units of e. (default: :obj:`0`)
            spin (torch.Tensor or float, optional): The multiplicities
                :math:`2 S + 1`, 1 for a singlet. (default: :obj:`1`)
            graphs (torch.Tensor, optional): The graph of each atom that
                :obj:`charge` and :obj:`spin` are of, if it is not that of
                :obj:`batch`. (default: :obj:`None`)
        """
        return self.with_features(
            z, pos, batch, batch_size=batch_size, edge_index=edge_index,
            edge_shift=edge_shift, cell=cell, pbc=pbc, recompute=recompute,
            charge=charge, spin=spin, graphs=graphs)[0]

    @without_autocast
    def with_features(self, z: Tensor, pos: Tensor,
                      batch: Tensor | None = None,
                      **kwargs) -> tuple[Tensor, Tensor]:
        r"""Returns the property and, without derivatives, the node features of
        :meth:`encode`. All arguments are those of :meth:`forward`.
        """
        x, batch, batch_size = self._encode(z, pos, batch, **kwargs)
        out = self.mlp_out(x)  # [N, 1]
        if self.readout.has_references:
            if self.mean is not None:
                out = out * self.std + self.mean
            if self.atomref is not None:
                out = out + self.atomref(z)
        return self.readout(out, z, pos, batch, batch_size), x.detach()

    @without_autocast
    def encode(self, z: Tensor, pos: Tensor, batch: Tensor | None = None,
               **kwargs) -> Tensor:
        r"""Returns the node features :math:`(N, F)` that the readout is made
        of, for other layers to build on. All arguments are those of
        :meth:`forward`.
        """
        return self._encode(z, pos, batch, **kwargs)[0]

    def _encode(
        self, z: Tensor, pos: Tensor, batch: Tensor | None,
        batch_size: int | None = None, edge_index: Tensor | None = None,
        edge_shift: Tensor | None = None, cell: Tensor | None = None,
        pbc: Tensor | None = None, recompute: bool = False,
        charge: Tensor | float | None = None,
        spin: Tensor | float | None = None, graphs: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, int | None]:
        r"""Returns node features, the graph of each atom and their number."""
        check_atomic_numbers(z, NUM_ELEMENTS)
        check_pos(pos, z.numel(), 3, dtype=self.mlp_out[0].weight.dtype)
        check_devices(pos, z=z, batch=batch)
        edges = given_or_found_edges(
            pos, edge_index, edge_shift,
            lambda: self.find_edges(pos, batch, cell, pbc), cell, pbc)
        if batch is not None:
            check_batch(batch, z.numel(), batch_size)
        elif batch_size not in (None, 1):
            raise ValueError(f"'batch_size' must be 1 without 'batch' "
                             f"(got {batch_size})")
        if batch is None:
            batch, batch_size = torch.zeros_like(z), 1
        x = self.embedding(z)
        if charge is not None or spin is not None:
            x = add_state(self.electronic, x, pos, charge, spin, batch,
                          batch_size, graphs)
        x, _, _ = self.stack(x, pos, edges.index, edge_shift=edges.shift,
                             recompute=recompute)
        return x, batch, batch_size

    def find_edges(
        self,
        pos: Tensor,
        batch: Tensor | None = None,
        cell: Tensor | None = None,
        pbc: Tensor | None = None,
    ) -> Edges:
        r"""Returns the edges, with shifts if there is a cell."""
        graph, cutoff = self.interaction_graph, self.cutoff
        if cell is not None and type(graph) is RadiusInteractionGraph:
            graph, cutoff = None, graph.cutoff  # which knows no cells
        if graph is None:
            return find_edges(pos, cutoff, batch, cell, pbc)
        if cell is not None:
            raise ValueError("'cell' must not be given to a model with an "
                             "'interaction_graph' of its own")
        if batch is None:
            batch = torch.zeros_like(pos[:, 0], dtype=torch.long)
        return Edges(check_edge_index(graph(pos, batch)[0], pos.size(0)))

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}('
                f'hidden_channels={self.hidden_channels}, '
                f'num_layers={self.num_layers}, cutoff={self.cutoff})')
