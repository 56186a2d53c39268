import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from torch_sake.neighbors import neighbor_list

MOLECULE_SPACING = 1.4  # Angstrom, about that of atoms in a molecule
BOX_SPACING = 2.7  # of a solid with 0.05 atoms per cubic Angstrom


class System(NamedTuple):
    r"""What a model is given: a batch of like molecules, or one periodic box.
    """
    name: str
    z: Tensor
    pos: Tensor
    batch: Tensor | None = None
    cell: Tensor | None = None

    @property
    def num_atoms(self) -> int:
        r"""The number of atoms of the whole batch."""
        return self.z.numel()

    @property
    def batch_size(self) -> int:
        r"""The number of graphs."""
        return 1 if self.batch is None else int(self.batch[-1]) + 1

    @property
    def inputs(self) -> tuple[Tensor | None, ...]:
        r"""What a potential takes."""
        return self.z, self.pos, self.batch, self.cell

    def to(self, device: torch.device, dtype: torch.dtype) -> 'System':
        r"""Returns the system on a device, in a type of numbers."""
        return System(self.name, *(
            value if value is None else value.to(device, dtype if
            value.is_floating_point() else None) for value in self.inputs))

    def num_edges(self, cutoff: float | None) -> int:
        r"""Returns the number of edges within a cutoff."""
        return neighbor_list(self.pos, cutoff, self.batch,
                             self.cell)[0].size(1)


def molecules(num_atoms: int, batch_size: int, seed: int = 0) -> System:
    r"""Returns compact clusters of C, H and O with the density of a molecule.
    """
    grid = MOLECULE_SPACING * _grid(math.ceil(round(num_atoms**(1 / 3), 6)))
    grid = grid[(grid - grid.mean(dim=0)).norm(dim=1).argsort()[:num_atoms]]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(batch_size, num_atoms, 3, generator=generator)
    elements = torch.tensor([1, 6, 8])[torch.randint(
        3, (num_atoms, ), generator=generator)]
    return System(f'{batch_size} x {num_atoms} atoms',
                  elements.repeat(batch_size),
                  (grid + 0.3 * noise).view(-1, 3),
                  torch.arange(batch_size).repeat_interleave(num_atoms))


def box(num_atoms: int, seed: int = 0) -> System:
    r"""Returns a cubic periodic box of a disordered solid, with the cube
    number next to :obj:`num_atoms` of atoms.
    """
    side = max(round(num_atoms**(1 / 3)), 1)
    grid = BOX_SPACING * _grid(side)
    generator = torch.Generator().manual_seed(seed)
    pos = grid + 0.5 * torch.rand(grid.shape, generator=generator)
    return System(f'box of {len(pos)} atoms',
                  torch.full((len(pos), ), 6), pos,
                  cell=side * BOX_SPACING * torch.eye(3))


def _grid(side: int) -> Tensor:
    return torch.cartesian_prod(*[torch.arange(float(side))] * 3).view(-1, 3)


def all_systems(atoms: list[int], batch_sizes: list[int],
                boxes: list[int]) -> Iterator[System]:
    r"""Yields molecules of all sizes in batches of all sizes, then boxes."""
    for num_atoms in atoms:
        for batch_size in batch_sizes:
            yield molecules(num_atoms, batch_size)
    for num_atoms in boxes:
        yield box(num_atoms)
