import math

import torch

from torch_sake.evaluation.metrics import predict_label
from torch_sake.neighbors.search import find_edges
from torch_sake.potentials.bonds import BondEnergy
from torch_sake.potentials.potential import Potential
from torch_sake.training.data import SAMPLE, TrainingData
from torch_sake.training.references import AtomicEnergyFit

# What bonds of one composition differ in is their lengths, from which no
# energies of elements follow:
RCOND = 0.03


@torch.no_grad()
def fit_bonds(potential: Potential, data: TrainingData,
              learned: bool = False) -> None:
    r"""Gives the :class:`BondEnergy` of a potential, if it has one, the
    energies that come closest, by least squares, to what the energies of
    isolated atoms leave of those of the training frames, of 10,000 of them if
    there are more. What compositions do not determine is as small as can be.

    Args:
        potential (Potential): The potential.
        data (TrainingData): The data.
        learned (bool, optional): Whether what the potential says, rather than
            isolated atoms, is taken off, and the energies are shifted.
            (default: :obj:`False`)
    """
    bonds = next((module for module in potential.modules()
                  if isinstance(module, BondEnergy)), None)
    if bonds is None:
        return
    fit, train = AtomicEnergyFit(), data.split.train
    sample = data.frames[train[::math.ceil(train.numel() / SAMPLE)]]
    for part in data.eval_limit.batches(sample):
        inputs = part.z, part.pos, part.batch
        edges = find_edges(part.pos, bonds.cutoff, part.batch,
                           part.get('cell'), part.get('pbc'))
        said = predict_label(potential, part) if learned else (
            potential.references(*inputs, part.num_graphs))
        fit.add(part.z, part.batch, part.energy - said,
                bonds.shares(*inputs, *edges))
    found = fit.solve(RCOND)[0].to(bonds.energies.device)
    bonds.energies.copy_(bonds.energies + found if learned else found)
