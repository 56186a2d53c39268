import torch
from torch import Tensor

from torch_sake.neighbors import neighbor_list
from torch_sake.nn.envelope import PolynomialEnvelope
from torch_sake.ops.geometry import edge_vectors
from torch_sake.ops.plain import plain_operators_needed
from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments
from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.checks import MAX_ATOMIC_NUMBER
from torch_sake.utils.plain_checks import check_positive_float
from torch_sake.utils.units import BOHR, LENGTHS, check_units

COULOMB = 14.399645478  # e^2 / (4 pi epsilon_0) in eV Angstrom
# Of the universal screening function, with the exponents:
COEFFICIENTS = (0.18175, 0.50986, 0.28022, 0.02817)
EXPONENTS = (3.19980, 0.94229, 0.40290, 0.20162)
# In Angstrom, by atomic number from 1 on (Cordero et al. 2008, where C and
# Mn to Co are those of sp3 and low spin). Those of heavier elements are taken
# to be that of the last one.
COVALENT_RADII = (
    0.31, 0.28, 1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58, 1.66, 1.41,
    1.21, 1.11, 1.07, 1.05, 1.02, 1.06, 2.03, 1.76, 1.70, 1.60, 1.53, 1.39,
    1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22, 1.20, 1.19, 1.20, 1.20, 1.16,
    2.20, 1.95, 1.90, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44,
    1.42, 1.39, 1.39, 1.38, 1.39, 1.40, 2.44, 2.15, 2.07, 2.04, 2.03, 2.01,
    1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.90, 1.87, 1.87, 1.75,
    1.70, 1.62, 1.51, 1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.40,
    1.50, 1.50, 2.60, 2.21, 2.15, 2.06, 2.00, 1.96, 1.90, 1.87, 1.80, 1.69)


class ZBLRepulsion(torch.nn.Module):
    r"""The repulsion of nuclei at short distances after Ziegler, Biersack and
    Littmark

    .. math::
        E = \frac{1}{2} \sum_{i \neq j} \frac{e^2}{4 \pi \epsilon_0}
        \frac{z_i z_j}{r_{ij}} \, \phi \left( \frac{r_{ij}}{a_{ij}} \right)
        f_{ij}(r_{ij}), \quad
        a_{ij} = \frac{0.8854 \, a_0}{z_i^{0.23} + z_j^{0.23}}

    with the universal screening function :math:`\phi` and an envelope
    :math:`f_{ij}` that ends at the sum of the covalent radii, or at a share
    of it: where bonds begin, this term has nothing to say (Ziegler, Biersack
    and Littmark, "The Stopping and Range of Ions in Solids", 1985). As the
    :obj:`prior` of a :class:`~torch_sake.Potential` it keeps atoms apart where
    no data are. Its first and second derivatives are continuous.

    Args:
        cutoff (float, optional): Largest length at which the envelopes end,
            whatever the radii are, in the unit of length. Not above the cutoff
            of the model. (default: :obj:`5.0`)
        length (str, optional): The unit of length (:obj:`"Angstrom"`,
            :obj:`"Bohr"` or :obj:`"nm"`). (default: :obj:`"Angstrom"`)
        energy (str, optional): The unit of energy (:obj:`"eV"`,
            :obj:`"meV"`, :obj:`"kcal/mol"`, :obj:`"kJ/mol"` or
            :obj:`"Hartree"`). (default: :obj:`"eV"`)
        scale (float, optional): The share of the sum of the covalent radii at
            which the envelopes end. Training has 0.7: no bond of common
            elements is as short, not even a hot triple bond, so that nothing
            is added to the energies of the data. (default: :obj:`1.0`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)`, edges :math:`(2, E)` *(optional)*, their shifts
          :math:`(E, 3)` *(optional)*
        - **output:** energies :math:`(B)`

    Raises:
        TypeError, ValueError: If the cutoff or the scale is not positive and
            finite, or a unit is not known.
    """
    def __init__(self, cutoff: float = 5.0, length: str = 'Angstrom',
                 energy: str = 'eV', scale: float = 1.0):
        super().__init__()
        self.cutoff = check_cutoff('cutoff', cutoff)
        self.scale = check_positive_float('scale', scale)
        units = {'length': length, 'energy': energy}
        length, energy = check_units(units)
        self.bohr = BOHR / length
        self.coulomb = COULOMB / length / energy
        radii = covalent_radii(units['length'])
        ends = (scale * (radii + radii[:, None])).clamp(max=self.cutoff)
        ends[0, 0] = 1.0  # of two without a nucleus
        self.register_buffer('ends', ends, persistent=False)
        self.envelope = PolynomialEnvelope(1.0)

    def forward(
        self,
        z: Tensor,
        pos: Tensor,
        batch: Tensor,
        edge_index: Tensor | None = None,
        edge_shift: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """"""
        if edge_index is None:
            edge_index, _ = neighbor_list(pos, self.cutoff, batch)
        if batch_size is None:
            batch_size = int(batch.max()) + 1 if batch.numel() > 0 else 0
        if not plain_operators_needed(pos):
            # What is zero need not be computed, and differentiated.
            near = self._find_near(z, pos, edge_index, edge_shift)
            if near.numel() == 0:  # with a graph, if it is of positions
                zeros = pos.new_zeros(batch_size)
                return zeros + 0.0 * pos.sum() if pos.requires_grad else zeros
            edge_index = edge_index.index_select(1, near)
            if edge_shift is not None:
                edge_shift = edge_shift.index_select(0, near)
        dist = _distances(pos, edge_index, edge_shift)  # [E]
        end = self._ends(z, edge_index).to(dist.dtype)
        source, target = (z.index_select(0, index).to(dist.dtype)
                          for index in edge_index)
        scale = 0.8854 * self.bohr / (source**0.23 + target**0.23)
        screening = sum(
            coefficient * torch.exp(-exponent * dist / scale)
            for coefficient, exponent in zip(COEFFICIENTS, EXPONENTS))
        energy = 0.5 * self.coulomb * source * target / dist * screening
        energy = energy * self.envelope(dist / end)
        return sum_edges(energy, Segments(
            batch.index_select(0, edge_index[1]), batch_size))

    @torch.no_grad()
    def _find_near(self, z: Tensor, pos: Tensor, edge_index: Tensor,
                   edge_shift: Tensor | None) -> Tensor:
        r"""Returns the edges that are shorter than where envelopes end."""
        dist = _distances(pos, edge_index, edge_shift)
        return (dist < self._ends(z, edge_index)).nonzero()[:, 0]

    def _ends(self, z: Tensor, edge_index: Tensor) -> Tensor:
        source, target = (z.index_select(0, index).long()
                          for index in edge_index)
        return self.ends.view(-1).index_select(
            0, source * self.ends.size(0) + target)

    def __repr__(self) -> str:
        return (f'{self.__class__.__name__}(cutoff={self.cutoff}, '
                f'scale={self.scale})')


def _distances(pos: Tensor, edge_index: Tensor,
               edge_shift: Tensor | None) -> Tensor:
    vec = edge_vectors(pos, edge_index, edge_shift)
    # The floor is far below any distance that can be reached.
    return (vec.square().sum(dim=1) + 1e-12).sqrt()


def covalent_radii(length: str = 'Angstrom') -> Tensor:
    r"""Returns the covalent radii by atomic number in a unit of length."""
    radii = torch.tensor([0.0, *COVALENT_RADII])
    rest = radii[-1:].expand(MAX_ATOMIC_NUMBER + 1 - len(radii))
    return torch.cat([radii, rest]) / LENGTHS[length]
