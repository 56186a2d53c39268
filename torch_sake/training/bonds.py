import math

import torch

from torch_sake.neighbors.search import find_edges
from torch_sake.potentials.bonds import BondEnergy
from torch_sake.potentials.potential import Potential
from torch_sake.training.data import SAMPLE, TrainingData
from torch_sake.training.references import AtomicEnergyFit


@torch.no_grad()
def fit_bonds(potential: Potential, data: TrainingData) -> None:
    r"""Gives the :class:`BondEnergy` of a potential the energies that come
    closest, by least squares, to what the energies of isolated atoms leave of
    those of the training frames, of 10,000 of them if there are more.

    Args:
        potential (Potential): The untrained potential.
        data (TrainingData): The data.
    """
    bonds = next(module for module in potential.prior.modules()
                 if isinstance(module, BondEnergy))
    fit, train = AtomicEnergyFit(), data.split.train
    sample = data.frames[train[::math.ceil(train.numel() / SAMPLE)]]
    for part in data.eval_limit.batches(sample):
        inputs = part.z, part.pos, part.batch
        edges = find_edges(part.pos, bonds.cutoff, part.batch,
                           part.get('cell'), part.get('pbc'))
        fit.add(part.z, part.batch, part.energy - potential.references(
            *inputs, part.num_graphs), bonds.shares(*inputs, *edges))
    bonds.energies.copy_(fit.solve()[0])
