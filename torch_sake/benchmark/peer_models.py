"""Models of other packages as model(z, pos, batch) of the energy, in units of
the scale and without the references that torch_sake.Potential adds, which
leaves the forces to the potential.

Edges come from torch_sake.neighbor_list, which truncates nothing. A peer is
imported when it is built, not before.
"""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.utils.data import dataloader
from torch_geometric.nn.models import SchNet, ViSNet
from torch_geometric.utils import scatter

from torch_sake.neighbors import RadiusInteractionGraph, neighbor_list
from torch_sake.ops.geometry import edge_vectors


@dataclass(frozen=True)
class PeerInputs:
    """What the data and the configuration tell a peer.

    Args:
        cutoff: Radius of the neighborhoods, or None for all pairs.
        elements: Atomic numbers of the data, ascending.
        avg_num_neighbors: Average number of neighbors of an atom.
    """
    cutoff: float | None
    elements: list[int]
    avg_num_neighbors: float


class LoopedEdges(torch.nn.Module):
    """Edges, their lengths and vectors, with an edge from each atom to itself
    at the end: what ViSNet and the models of torchmd-net call `distance`.
    """
    def __init__(self, cutoff: float):
        super().__init__()
        self.cutoff = cutoff

    def forward(self, pos: Tensor, batch: Tensor,
                box: None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Returns edges [2, E + N], lengths [E + N], vectors [E + N, 3]."""
        edge_index, _ = neighbor_list(pos, self.cutoff, batch)
        vec = edge_vectors(pos, edge_index)
        loops = torch.arange(pos.size(0), device=pos.device).expand(2, -1)
        # The zeros of the loops are constants: a norm has no slope there.
        length = torch.cat([vec.norm(dim=1), vec.new_zeros(pos.size(0))])
        vec = torch.cat([vec, torch.zeros_like(pos)])
        return torch.cat([edge_index, loops], dim=1), length, vec


class FirstOutput(torch.nn.Module):
    """A model that returns the energy and something else."""
    def __init__(self, model: torch.nn.Module):
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """Returns energies [B, 1]."""
        return self.model(z, pos, batch)[0]


class PaiNNEnergy(torch.nn.Module):
    """PaiNN of schnetpack, with its usual sum over atoms."""
    def __init__(self, cutoff: float):
        super().__init__()
        # schnetpack 2.1.1 imports this type variable, which torch has renamed.
        vars(dataloader).setdefault('T_co', TypeVar('T_co', covariant=True))
        from schnetpack.atomistic import Atomwise
        from schnetpack.nn import CosineCutoff, GaussianRBF
        from schnetpack.representation import PaiNN
        self.cutoff = cutoff
        self.representation = PaiNN(
            n_atom_basis=128, n_interactions=3,
            radial_basis=GaussianRBF(n_rbf=20, cutoff=cutoff),
            cutoff_fn=CosineCutoff(cutoff))
        # Its own sum counts on atoms in the order of their graphs.
        self.readout = Atomwise(n_in=128, aggregation_mode=None,
                                per_atom_output_key='atom')

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """Returns energies [B, 1]."""
        from schnetpack import properties
        edge_index, _ = neighbor_list(pos, self.cutoff, batch)
        atoms = self.representation({
            properties.Z: z, properties.Rij: edge_vectors(pos, edge_index),
            properties.idx_j: edge_index[0], properties.idx_i: edge_index[1]})
        return scatter(self.readout(atoms)['atom'], batch)


class TypedEnergy(torch.nn.Module):
    """A model that numbers the elements of the data from zero on."""
    def __init__(self, cutoff: float | None, elements: list[int]):
        super().__init__()
        self.cutoff = cutoff
        types = torch.full((119,), -1)
        types[torch.tensor(elements)] = torch.arange(len(elements))
        self.register_buffer('types', types)
        self.num_types = len(elements)


class EGNNEnergy(TypedEnergy):
    """EGNN by the authors' code, with their sum over atoms."""
    def __init__(self, inputs: PeerInputs):
        super().__init__(inputs.cutoff, inputs.elements)
        from egnn_clean import EGNN
        self.model = EGNN(self.num_types, 128, 1, n_layers=7, attention=True)

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """Returns energies [B, 1]."""
        edge_index, _ = neighbor_list(pos, self.cutoff, batch)
        types = torch.nn.functional.one_hot(self.types[z], self.num_types)
        atoms, _ = self.model(types.to(pos), pos, edge_index, None)
        return scatter(atoms, batch)


class NequIPEnergy(TypedEnergy):
    """NequIP, with even and odd features up to l = :obj:`l_max`."""
    def __init__(self, inputs: PeerInputs, l_max: int):
        super().__init__(inputs.cutoff, inputs.elements)
        from ase.data import chemical_symbols
        from nequip.utils.global_state import set_global_state
        seed, dtype = int(torch.randint(2**31, ())), torch.get_default_dtype()
        # It does not build without, and sets seed and default type for all.
        set_global_state()
        torch.set_default_dtype(dtype)
        from nequip.model import NequIPGNNModel
        self.model = NequIPGNNModel(
            seed=seed, model_dtype=str(dtype).removeprefix('torch.'),
            type_names=[chemical_symbols[z] for z in inputs.elements],
            r_max=inputs.cutoff, num_bessels=8, polynomial_cutoff_p=6,
            num_layers=4, l_max=l_max, parity=True, num_features=32,
            radial_mlp_depth=2, radial_mlp_width=64,
            avg_num_neighbors=inputs.avg_num_neighbors,
            # Scale and references are those of the potential.
            per_type_energy_scales=1.0, per_type_energy_shifts=0.0,
            do_derivatives=False)

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """Returns energies [B, 1]."""
        from nequip.data import AtomicDataDict as keys
        edge_index, _ = neighbor_list(pos, self.cutoff, batch)
        return self.model({
            keys.POSITIONS_KEY: pos, keys.ATOM_TYPE_KEY: self.types[z],
            # Its edges lead from the center to the neighbor.
            keys.EDGE_INDEX_KEY: edge_index.flip(0), keys.BATCH_KEY: batch,
            keys.NUM_NODES_KEY: batch.bincount()})[keys.TOTAL_ENERGY_KEY]


class MACEEnergy(TypedEnergy):
    """MACE with two interactions and products of four bodies."""
    def __init__(self, inputs: PeerInputs, hidden_irreps: str):
        super().__init__(inputs.cutoff, inputs.elements)
        # e3nn 0.4.4 keeps a slice in a file of constants, which torch.load
        # refuses by now.
        torch.serialization.add_safe_globals([slice])
        from e3nn.o3 import Irreps
        from mace.modules import MACE, interaction_classes
        interaction = interaction_classes[
            'RealAgnosticResidualInteractionBlock']
        self.model = MACE(
            r_max=inputs.cutoff, num_bessel=8, num_polynomial_cutoff=5,
            max_ell=3, correlation=3, num_interactions=2,
            interaction_cls=interaction, interaction_cls_first=interaction,
            hidden_irreps=Irreps(hidden_irreps), MLP_irreps=Irreps('16x0e'),
            radial_MLP=[64, 64, 64], gate=torch.nn.functional.silu,
            num_elements=self.num_types, atomic_numbers=inputs.elements,
            # The references are those of the potential.
            atomic_energies=torch.zeros(self.num_types).numpy(),
            avg_num_neighbors=inputs.avg_num_neighbors)

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor) -> Tensor:
        """Returns energies [B]."""
        edge_index, shifts = neighbor_list(pos, self.cutoff, batch)
        num_graphs = int(batch.max()) + 1
        types = torch.nn.functional.one_hot(self.types[z], self.num_types)
        return self.model({
            # A second name for the positions, which it may ask for gradients.
            'positions': pos.view_as(pos), 'node_attrs': types.to(pos),
            'batch': batch, 'edge_index': edge_index, 'shifts': shifts,
            # Only the number of graphs is read from it.
            'ptr': batch.new_zeros(num_graphs + 1),
            'cell': pos.new_zeros(3 * num_graphs, 3),
        }, compute_force=False)['energy']


def build_schnet(inputs: PeerInputs) -> torch.nn.Module:
    """Returns SchNet of PyG in its default size."""
    return SchNet(cutoff=inputs.cutoff,
                  interaction_graph=RadiusInteractionGraph(inputs.cutoff))


def build_visnet(inputs: PeerInputs) -> torch.nn.Module:
    """Returns ViSNet of PyG in its default size."""
    model = ViSNet(cutoff=inputs.cutoff)
    model.representation_model.distance = LoopedEdges(inputs.cutoff)
    return FirstOutput(model)


def build_tensornet(inputs: PeerInputs) -> torch.nn.Module:
    """Returns TensorNet of torchmd-net."""
    from torchmdnet.models.model import TorchMD_Net
    from torchmdnet.models.output_modules import Scalar
    from torchmdnet.models.tensornet import TensorNet
    dtype = torch.get_default_dtype()
    model = TensorNet(hidden_channels=128, num_layers=2, num_rbf=32,
                      trainable_rbf=False, cutoff_upper=inputs.cutoff,
                      max_z=100, static_shapes=False, dtype=dtype)
    model.distance = LoopedEdges(inputs.cutoff)
    return FirstOutput(TorchMD_Net(model, Scalar(128, dtype=dtype),
                                   dtype=dtype))


def build_et(inputs: PeerInputs) -> torch.nn.Module:
    """Returns the equivariant transformer of torchmd-net."""
    from torchmdnet.models.model import TorchMD_Net
    from torchmdnet.models.output_modules import EquivariantScalar
    from torchmdnet.models.torchmd_et import TorchMD_ET
    dtype = torch.get_default_dtype()
    model = TorchMD_ET(hidden_channels=128, num_layers=6, num_rbf=32,
                       trainable_rbf=False, num_heads=8,
                       cutoff_upper=inputs.cutoff, max_z=100, dtype=dtype)
    model.distance = LoopedEdges(inputs.cutoff)
    return FirstOutput(TorchMD_Net(model, EquivariantScalar(128, dtype=dtype),
                                   dtype=dtype))
