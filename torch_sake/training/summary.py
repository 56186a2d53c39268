import math
from dataclasses import dataclass
from typing import Iterable, List

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.training.references import AtomicEnergyFit


@dataclass
class Summary:
    r"""What follows from the labels of frames.

    Args:
        atomic_energies (torch.Tensor): Energies of the elements, see
            :func:`~torch_sake.training.references.fit_atomic_energies`,
            :obj:`[100]`.
        scale (float): Root mean square of the forces or, without forces, of
            what the atomic energies leave of the energies; 1 if it is zero.
        volume_per_atom (float): Mean volume of an atom in the frames with a
            stress, zero if there are none.
        elements (list of int): The atomic numbers that there are.
    """
    atomic_energies: Tensor
    scale: float
    volume_per_atom: float
    elements: List[int]


def summarize(loader: Iterable[Data]) -> Summary:
    r"""Returns the summary of the frames in batches, of which one at a time is
    in memory.
    """
    fit, elements = AtomicEnergyFit(), set()
    square = volume = 0.0
    num_components = num_atoms = 0
    for data in loader:
        fit.add(data.z, data.batch, data.energy)
        elements.update(data.z.unique().tolist())
        if 'force' in data:
            square += float(data.force.square().sum())
            num_components += data.force.numel()
        if 'stress' in data:
            known = ~data.stress.isnan().flatten(1).any(dim=1)
            volume += float(torch.linalg.det(data.cell[known]).abs().sum())
            num_atoms += int(data.ptr.diff()[known].sum())
    atomic_energies, rest = fit.solve()
    if num_components > 0:
        rest = math.sqrt(square / num_components)
    return Summary(atomic_energies, rest or 1.0, volume / max(num_atoms, 1),
                   sorted(elements))
