from typing import Optional

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.models.readout import (NUM_ELEMENTS, atom_weights,
                                       atomic_masses)


def fit_atomic_energies(z: Tensor, batch: Tensor, energy: Tensor,
                        weight: Optional[Tensor] = None) -> Tensor:
    r"""Returns the energies of the elements whose sums, in which each atom
    may have a weight, come closest to the given energies, by least squares in
    float64. Among equals (all frames may have the same composition) it is the
    solution of least norm.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, graphs :math:`(N)`, energies
          :math:`(M)`, weights :math:`(N)` *(optional)*
        - **output:** energies by atomic number :math:`(100)`
    """
    counts = torch.zeros(energy.numel(), NUM_ELEMENTS, dtype=torch.double)
    if weight is None:
        weight = torch.ones(z.numel(), dtype=torch.double)
    counts.index_put_((batch, z), weight, accumulate=True)
    present = counts.any(dim=0)
    solution = torch.linalg.lstsq(counts[:, present],
                                  energy.double().unsqueeze(1),
                                  driver='gelsd').solution
    out = torch.zeros(NUM_ELEMENTS, dtype=torch.double)
    out[present] = solution.squeeze(1)
    return out


def sum_atomic_energies(atomic_energies: Tensor, z: Tensor, batch: Tensor,
                        num_graphs: int,
                        weight: Optional[Tensor] = None) -> Tensor:
    r"""Returns the sums of the energies of the atoms of each graph, in which
    each atom may have a weight.
    """
    out = torch.zeros(num_graphs, dtype=torch.double)
    energy = atomic_energies[z]
    return out.index_add(0, batch, energy if weight is None else
                         weight * energy)


def batch_weights(readout: str, data: Data) -> Tensor:
    r"""Returns the weight of each atom of a batch in a property, see
    :func:`~torch_sake.models.readout.atom_weights`.
    """
    mass = atomic_masses()[data.z] if readout == 'extent' else None
    return atom_weights(readout, data.pos, data.batch, data.num_graphs, mass)


def moment_size(readout: str, data: Data) -> float:
    r"""Returns the size of what multiplies the charge of an atom in a moment
    about the center of mass: the mean square distance, or the root of it for a
    dipole moment. That of anything else is 1.
    """
    if readout not in ('extent', 'dipole'):
        return 1.0
    square = float(batch_weights('extent', data).mean())
    return square if readout == 'extent' else square**0.5
