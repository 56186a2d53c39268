import torch
from torch import Tensor

from torch_sake.models.readout import NUM_ELEMENTS


def fit_atomic_energies(z: Tensor, batch: Tensor, energy: Tensor) -> Tensor:
    r"""Returns the energies of the elements whose sums come closest to the
    given energies, by least squares in float64. Among equals (all frames may
    have the same composition) it is the solution of least norm.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, graphs :math:`(N)`, energies
          :math:`(M)`
        - **output:** energies by atomic number :math:`(100)`
    """
    counts = torch.zeros(energy.numel(), NUM_ELEMENTS, dtype=torch.double)
    counts.index_put_((batch, z), torch.ones(z.numel(), dtype=torch.double),
                      accumulate=True)
    present = counts.any(dim=0)
    solution = torch.linalg.lstsq(counts[:, present],
                                  energy.double().unsqueeze(1),
                                  driver='gelsd').solution
    out = torch.zeros(NUM_ELEMENTS, dtype=torch.double)
    out[present] = solution.squeeze(1)
    return out


def sum_atomic_energies(atomic_energies: Tensor, z: Tensor, batch: Tensor,
                        num_graphs: int) -> Tensor:
    r"""Returns the sums of the energies of the atoms of each graph."""
    out = torch.zeros(num_graphs, dtype=torch.double)
    return out.index_add(0, batch, atomic_energies[z])
