from typing import Any, NamedTuple

import torch
from torch import Tensor

from torch_sake.utils.bounds import MAX_LENGTH
from torch_sake.utils.checks import check_devices, check_finite

# Periodic lattice vectors are taken to be linearly dependent if the volume of
# the parallelepiped of their directions is below:
MIN_VOLUME = 1e-6
# Images of an atom that are searched for neighbors: a cutoff of 50 cells.
MAX_IMAGES = 101**3


class Lattice(NamedTuple):
    r"""The periodic directions of graphs.

    Shapes:
        - lattice vectors, as rows, those of open directions zero, and the
          pseudo-inverse of this matrix, both :math:`(B, D, D)`
    """
    vectors: Tensor
    inverse: Tensor

    @property
    def heights(self) -> Tensor:
        r"""The distances :math:`(B, D)` of neighboring lattice planes,
        infinite in open directions.
        """
        return 1 / self.inverse.norm(dim=1)

    def check_images(self, cutoff: float) -> None:
        r"""Raises an error if the images of an atom within a cutoff are so
        many that they would fill the memory.
        """
        number = (2 * (cutoff / self.heights.double()).ceil() + 1).prod(dim=1)
        if number.numel() > 0 and bool(number.max() > MAX_IMAGES):
            graph = int(number.argmax())
            raise ValueError(
                f"'cell' must not be so small beside the cutoff that an atom "
                f"has more than {MAX_IMAGES} images (got "
                f"{self.vectors[graph].tolist()} with {cutoff:g} for graph "
                f"{graph})")

    def wrap(self, pos: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        r"""Returns positions within the cell and the numbers of lattice
        vectors that were taken away from the given ones, both
        :math:`(N, D)`.
        """
        fractional = torch.einsum('nd,ndk->nk', pos, self.inverse[batch])
        images = fractional.floor()
        return pos - self.shifts(images, batch), images.long()

    def shifts(self, images: Tensor, batch: Tensor) -> Tensor:
        r"""Returns the translations :math:`(E, D)` of numbers of lattice
        vectors :math:`(E, D)`, given the graph of each :math:`(E)`.
        """
        images = images.to(self.vectors.dtype)
        if self.vectors.size(0) == 1:
            return images @ self.vectors[0]
        return torch.einsum('ek,ekd->ed', images, self.vectors[batch])


def check_cell(
    cell: Any,
    pbc: Any,
    num_graphs: int | None,
    pos: Tensor,
) -> tuple[Tensor | None, Tensor | None]:
    r"""Returns the cells :math:`(B, D, D)` and the periodic directions
    :math:`(B, D)`, all of them if not given, or :obj:`None` twice if there is
    no cell.

    Args:
        cell (torch.Tensor or None): :math:`(B, D, D)` or, for one graph,
            :math:`(D, D)`.
        pbc (torch.Tensor or bool or None): :math:`(B, D)` or, for one graph,
            :math:`(D)`. A single bool stands for all directions.
        num_graphs (int or None): The number of graphs, if it is known.
        pos (torch.Tensor): The positions, for their dimension, type and
            device.

    Raises:
        TypeError, ValueError: If one of both is of the wrong type or shape.
    """
    if isinstance(pbc, (bool, list, tuple)):
        pbc = torch.as_tensor(pbc, device=pos.device)
    if pbc is not None and not isinstance(pbc, Tensor):
        raise TypeError(f"'pbc' must be a tensor (got {type(pbc)})")
    if cell is None:
        if pbc is not None and bool(pbc.any()):
            raise ValueError(f"'pbc' needs a 'cell' (got pbc={pbc.tolist()} "
                             f"and no cell)")
        return None, None
    size = pos.size(1)
    if not isinstance(cell, Tensor):
        raise TypeError(f"'cell' must be a tensor (got {type(cell)})")
    if cell.dtype != pos.dtype:
        raise TypeError(f"'cell' must be of the type of the positions, "
                        f"{pos.dtype} (got {cell.dtype})")
    check_devices(pos, cell=cell, pbc=pbc if isinstance(pbc, Tensor) else None)
    given, cell = cell, cell.unsqueeze(0) if cell.dim() == 2 else cell
    batch_size = 'B' if num_graphs is None else num_graphs
    if cell.dim() != 3 or list(cell.shape[1:]) != [size, size] or (
            num_graphs is not None and cell.size(0) != num_graphs):
        raise ValueError(f"'cell' must have shape [{batch_size}, {size}, "
                         f"{size}] (got {list(given.shape)})")
    if pbc is None:
        pbc = True
    if isinstance(pbc, bool) or pbc.dim() == 0:
        pbc = torch.full((cell.size(0), size), bool(pbc), device=pos.device)
    if pbc.dtype != torch.bool:
        raise TypeError(f"'pbc' must be of type torch.bool (got {pbc.dtype})")
    given, pbc = pbc, pbc.unsqueeze(0) if pbc.dim() == 1 else pbc
    if list(pbc.shape) != [cell.size(0), size]:
        raise ValueError(f"'pbc' must have shape [{cell.size(0)}, {size}] "
                         f"(got {list(given.shape)})")
    return cell, pbc


def build_lattice(cell: Tensor, pbc: Tensor) -> Lattice:
    r"""Returns the lattice of cells :math:`(B, D, D)` and their periodic
    directions :math:`(B, D)`.

    Raises:
        ValueError: If a cell is not finite or too large, or its periodic
            vectors span no volume.
    """
    check_lengths('cell', cell)
    vectors = torch.where(pbc.unsqueeze(2), cell, 0.0)
    # The volume that unit vectors along them span, with open directions
    # replaced by directions at right angles to all others:
    units = vectors / vectors.norm(dim=2, keepdim=True)
    units = torch.where(pbc.unsqueeze(2), units, 0.0).double()
    gram = units @ units.mT + torch.diag_embed((~pbc).to(units.dtype))
    volume = torch.linalg.det(gram).clamp(min=0).sqrt()
    if not (volume > MIN_VOLUME).all():
        graph = int((~(volume > MIN_VOLUME)).nonzero()[0])
        raise ValueError(
            f"'cell' must have a volume in its periodic directions (got "
            f"{cell[graph].tolist()} with pbc={pbc[graph].tolist()} for graph "
            f"{graph})")
    inverse = torch.linalg.pinv(vectors.double()).to(vectors.dtype)
    # Where a column is zero it must be so to the last digit:
    return Lattice(vectors, torch.where(pbc.unsqueeze(1), inverse, 0.0))


def check_lengths(name: str, value: Tensor) -> None:
    r"""Checks that lengths are finite, and not so large that nothing is left
    of their differences.
    """
    within = value.detach().abs() <= MAX_LENGTH  # which NaN is not
    if not within.all():
        check_finite(name, value)
        row = int((~within).flatten(1).any(dim=1).nonzero()[0])
        raise ValueError(f"'{name}' must be at most {MAX_LENGTH:g} "
                         f"(got {value[row].tolist()} in row {row})")
