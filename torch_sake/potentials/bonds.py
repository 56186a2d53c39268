import torch
from torch import Tensor

from torch_sake.neighbors import neighbor_list
from torch_sake.nn.envelope import PolynomialEnvelope
from torch_sake.ops.geometry import edge_vectors
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.potentials.zbl import covalent_radii
from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.units import LENGTHS

STRENGTH = 5.0
RANGE = 0.5  # Angstrom


class BondEnergy(torch.nn.Module):
    r"""What atoms gain from having neighbors, before anything is learned

    .. math::
        E = \sum_i b_{z_i} \left(1 - e^{-5 c_i}\right), \quad
        c_i = \sum_{j \neq i} e^{-(r_{ij} - R_i - R_j) / a} f(r_{ij})

    with the covalent radii :math:`R`, :math:`a = 0.5` Angstrom and the
    polynomial envelope :math:`f`. It is zero for an isolated atom, and nearly
    the constant :math:`b_z` for one with a bond. In between it follows bonds
    that are pulled apart (those of H\ :sub:`2` and CH\ :sub:`4` by GFN2-xTB).
    A potential that is trained with energies of isolated atoms has it as a
    prior, with :math:`b_z` fitted to the training frames: what is left to be
    learned is small then.

    Args:
        energies (torch.Tensor): The energies :math:`b_z` by atomic number, of
            shape :obj:`[100]`.
        cutoff (float, optional): Distance at which the envelope ends, in the
            unit of length. (default: :obj:`5.0`)
        length (str, optional): The unit of length.
            (default: :obj:`"Angstrom"`)

    Shapes:
        - **input:** as those of :class:`~torch_sake.ZBLRepulsion`
        - **output:** energies :math:`(B)` in float64
    """
    def __init__(self, energies: Tensor, cutoff: float = 5.0,
                 length: str = 'Angstrom'):
        super().__init__()
        self.cutoff = check_cutoff('cutoff', cutoff)
        self.range = RANGE / LENGTHS[length]
        self.envelope = PolynomialEnvelope(cutoff)
        self.register_buffer('energies', energies.double())
        self.register_buffer('radii', covalent_radii(length),
                             persistent=False)

    def shares(self, z: Tensor, pos: Tensor, batch: Tensor,
               edge_index: Tensor | None = None,
               edge_shift: Tensor | None = None) -> Tensor:
        r"""Returns :math:`1 - e^{-5 c_i}` of each atom, :math:`(N)`, in
        float64.
        """
        if edge_index is None:
            edge_index, _ = neighbor_list(pos, self.cutoff, batch)
        vec = edge_vectors(pos, edge_index, edge_shift)
        # The floor is far below any distance that can be reached.
        dist = (vec.square().sum(dim=1) + 1e-12).sqrt()  # [E]
        source, target = edge_index
        radii = self.radii.to(dist.dtype).index_select(0, z)
        stretch = dist - radii.index_select(0, source) - (
            radii.index_select(0, target))
        order = torch.exp(-stretch / self.range) * self.envelope(dist)
        order = sum_edges(order, Segments(target, z.numel()))
        return -torch.expm1(-STRENGTH * order).double()

    def forward(self, z: Tensor, pos: Tensor, batch: Tensor,
                edge_index: Tensor | None = None,
                edge_shift: Tensor | None = None,
                batch_size: int | None = None) -> Tensor:
        """"""
        if batch_size is None:
            batch_size = int(batch.max()) + 1 if batch.numel() > 0 else 0
        # Sums of binding energies are large, as those of references are.
        energies = self.energies.double().index_select(0, z)
        return sum_edges(
            energies * self.shares(z, pos, batch, edge_index, edge_shift),
            Segments(batch, batch_size))

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}(cutoff={self.cutoff})'


class Priors(torch.nn.ModuleList):
    r"""The sum of several priors of a :class:`~torch_sake.Potential`."""
    @property
    def cutoff(self) -> float:
        r"""The largest distance at which one of them ends."""
        return max(float(prior.cutoff) for prior in self)

    def forward(self, *args) -> Tensor:
        """"""
        return sum(prior(*args) for prior in self)
