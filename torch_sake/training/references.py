import math

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.models.readout import NUM_ELEMENTS, find_readout

# Smaller singular values, relative to the largest one, are rounding:
RCOND = 1e-10
# So is what is left of energies, relative to them:
ROUNDING = 1e-12


class AtomicEnergyFit:
    r"""The fit of :func:`fit_atomic_energies` to frames that come in batches.
    All that is kept of the equations :math:`A \, x = b` is the triangular
    factor of :math:`(A \; b)`.
    """
    def __init__(self):
        self.factor = torch.zeros(0, NUM_ELEMENTS + 1, dtype=torch.double)
        self.num_frames = 0

    def add(self, z: Tensor, batch: Tensor, energy: Tensor,
            weight: Tensor | None = None) -> None:
        r"""Adds frames, see :func:`fit_atomic_energies`. Energies of NaN
        are not known.
        """
        rows = torch.zeros(energy.numel(), NUM_ELEMENTS + 1,
                           dtype=torch.double)
        if weight is None:
            weight = torch.ones(z.numel(), dtype=torch.double)
        rows.index_put_((batch, z), weight, accumulate=True)
        rows[:, -1] = energy
        known = ~energy.isnan()
        rows = torch.cat([self.factor, rows[known]])
        present = rows.any(dim=0)
        factor = torch.linalg.qr(rows[:, present], mode='r').R
        self.factor = factor.new_zeros(factor.size(0), NUM_ELEMENTS + 1)
        self.factor[:, present] = factor
        self.num_frames += int(known.sum())

    def choice(self) -> tuple[int, list[int]]:
        r"""Returns the number of compositions that do not follow from each
        other, and the elements whose energies do not follow from these.
        """
        counts = self.factor[:, :-1]
        present = counts.any(dim=0).nonzero().flatten()
        if present.numel() == 0:
            return 0, []
        _, values, directions = torch.linalg.svd(counts[:, present])
        rank = int((values > RCOND * values.max()).sum())
        free = (directions[rank:].abs() > RCOND).any(dim=0)
        return rank, present[free].tolist()

    def solve(self, rcond: float = RCOND) -> tuple[Tensor, float]:
        r"""Returns the energies by atomic number, :obj:`[100]`, and the root
        mean square of what they leave.

        Args:
            rcond (float, optional): Which part of the largest one smaller
                singular values count for zero; if it is given, of counts with
                columns of norm one, as elements may be rare.
                (default: that of rounding)
        """
        counts, energy = self.factor[:, :-1], self.factor[:, -1]
        present = counts.any(dim=0)
        columns, size = counts[:, present], torch.ones(())
        if rcond != RCOND:
            size = torch.linalg.vector_norm(columns, dim=0)
        out = torch.zeros(NUM_ELEMENTS, dtype=torch.double)
        out[present] = torch.linalg.lstsq(
            columns / size, energy.unsqueeze(1), rcond=rcond,
            driver='gelsd').solution.squeeze(1) / size
        rest = torch.linalg.vector_norm(energy - counts @ out)
        if rest <= ROUNDING * torch.linalg.vector_norm(energy):
            rest = 0.0
        return out, float(rest) / math.sqrt(max(self.num_frames, 1))


def fit_atomic_energies(z: Tensor, batch: Tensor, energy: Tensor,
                        weight: Tensor | None = None) -> Tensor:
    r"""Returns the energies of the elements whose sums, in which each atom
    may have a weight, come closest to the given energies, by least squares in
    float64. Among equals (all frames may have the same composition) it is the
    solution of least norm.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, graphs :math:`(N)`, energies
          :math:`(M)`, weights :math:`(N)` *(optional)*
        - **output:** energies by atomic number :math:`(100)`
    """
    fit = AtomicEnergyFit()
    fit.add(z, batch, energy, weight)
    return fit.solve()[0]


def batch_weights(readout: str, data: Data) -> Tensor:
    r"""Returns the weights :math:`(N)` of the atoms of a batch in a property:
    what a :class:`~torch_sake.models.readout.Readout` multiplies their parts
    by.
    """
    with torch.enable_grad():
        parts = torch.ones(data.num_nodes, 1, dtype=torch.double,
                           requires_grad=True)
        out = find_readout(readout)(parts, data.z, data.pos.double(),
                                    data.batch, data.num_graphs)
        return torch.autograd.grad(out.sum(), parts)[0].squeeze(1)
