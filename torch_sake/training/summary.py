import math
from dataclasses import dataclass
from typing import Iterable, List, Optional

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.training.references import AtomicEnergyFit, batch_weights

# The power of the mean square distance of atoms from the center of mass that a
# moment about it grows with:
MOMENTS = {'dipole': 0.5, 'extent': 1.0}


@dataclass
class Summary:
    r"""What follows from the labels of frames.

    Args:
        atomic_energies (torch.Tensor, optional): Energies of the elements, or
            other references, see
            :func:`~torch_sake.training.references.fit_atomic_energies`,
            :obj:`[100]`. A dipole moment has none.
        scale (float): Root mean square of the forces or, without forces, of
            what the references leave of the labels; 1 if it is zero.
        moment_size (float): Size of what multiplies the charge of an atom in a
            moment about the center of mass: the mean square distance, or the
            root of it for a dipole moment. That of anything else is 1.
        volume_per_atom (float): Mean volume of an atom in the frames with a
            stress, zero if there are none.
        elements (list of int): The atomic numbers that there are.
    """
    atomic_energies: Optional[Tensor]
    scale: float
    moment_size: float
    volume_per_atom: float
    elements: List[int]


def summarize(loader: Iterable[Data], label: str = 'energy',
              readout: str = 'add') -> Summary:
    r"""Returns the summary of the frames in batches, of which one at a time is
    in memory.

    Args:
        loader (iterable of Data): The batches.
        label (str, optional): What the frames are labeled with.
            (default: :obj:`"energy"`)
        readout (str, optional): How atoms make it up.
            (default: :obj:`"add"`)
    """
    fit, elements = AtomicEnergyFit(), set()
    square = volume = moment = 0.0
    num_components = num_atoms = num_arms = 0
    for data in loader:
        # Without references, all of a dipole moment is learned.
        learned = data.get('force')
        if readout == 'dipole':
            learned = data[label]
        else:
            fit.add(data.z, data.batch, data[label],
                    batch_weights(readout, data))
        elements.update(data.z.unique().tolist())
        if learned is not None:
            square += float(learned.square().sum())
            num_components += learned.numel()
        if readout in MOMENTS:
            moment += float(batch_weights('extent', data).sum())
            num_arms += data.num_nodes
        if 'stress' in data:
            known = ~data.stress.isnan().flatten(1).any(dim=1)
            volume += float(torch.linalg.det(data.cell[known]).abs().sum())
            num_atoms += int(data.ptr.diff()[known].sum())
    atomic_energies = rest = None
    if readout != 'dipole':
        atomic_energies, rest = fit.solve()
    if num_components > 0:
        rest = math.sqrt(square / num_components)
    moment_size = 1.0
    if readout in MOMENTS:
        moment_size = (moment / num_arms)**MOMENTS[readout]
    return Summary(atomic_energies, rest or 1.0, moment_size,
                   volume / max(num_atoms, 1), sorted(elements))
