import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.evaluation.metrics import predict_label
from torch_sake.neighbors.search import find_edges
from torch_sake.potentials.bonds import BondEnergy
from torch_sake.potentials.potential import Potential
from torch_sake.training.data import SAMPLE, TrainingData
from torch_sake.training.references import AtomicEnergyFit

# What bonds of one composition differ in is their lengths, from which no
# energies of elements follow:
RCOND = 0.03


def fit_bonds(potential: Potential, data: TrainingData) -> None:
    r"""Gives the :class:`BondEnergy` of a potential the energies that come
    closest, by least squares, to what the energies of isolated atoms leave of
    those of the training frames, of 10,000 of them if there are more. What
    compositions do not determine is as small as can be.

    Args:
        potential (Potential): The untrained potential.
        data (TrainingData): The data.
    """
    def energy(part: Data) -> Tensor:
        return potential.references(part.z, part.pos, part.batch,
                                    part.num_graphs)

    bonds = find_bonds(potential)
    bonds.energies.copy_(fit_energies(bonds, data, energy))


def shift_bonds(potential: Potential, data: TrainingData) -> None:
    r"""Adds to the energies of the :class:`BondEnergy` of a trained potential
    what comes closest to its errors: bonds of another level of theory are
    stronger or weaker, whatever their lengths.

    Args:
        potential (Potential): The trained potential, with the energies of
            isolated atoms of the data.
        data (TrainingData): The data.
    """
    bonds = find_bonds(potential)
    if bonds is not None:
        bonds.energies += fit_energies(
            bonds, data, lambda part: predict_label(potential, part))


def find_bonds(potential: Potential) -> BondEnergy | None:
    r"""Returns the energy of bonds that a potential has as a prior."""
    parts = () if potential.prior is None else potential.prior.modules()
    return next((part for part in parts if isinstance(part, BondEnergy)),
                None)


@torch.no_grad()
def fit_energies(bonds: BondEnergy, data: TrainingData,
                 energy: Callable[[Data], Tensor]) -> Tensor:
    r"""Returns the energies of bonds, :obj:`[100]`, that come closest to what
    is left of those of the training frames.

    Args:
        bonds (BondEnergy): What has the shares of atoms.
        data (TrainingData): The data.
        energy (callable): Returns the energies of a batch that are known.
    """
    fit, train = AtomicEnergyFit(), data.split.train
    sample = data.frames[train[::math.ceil(train.numel() / SAMPLE)]]
    for part in data.eval_limit.batches(sample):
        inputs = part.z, part.pos, part.batch
        edges = find_edges(part.pos, bonds.cutoff, part.batch,
                           part.get('cell'), part.get('pbc'))
        fit.add(part.z, part.batch, part.energy - energy(part),
                bonds.shares(*inputs, *edges))
    return fit.solve(RCOND)[0]
