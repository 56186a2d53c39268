r"""What tells that a structure is none, or has become none."""

from typing import Any

import numpy
import torch

from torch_sake.neighbors import neighbor_list
from torch_sake.ops.geometry import edge_vectors
from torch_sake.utils.plain_checks import require

# In Angstrom. Atoms that are closer lie on each other; at one point, smooth
# forces are zero by symmetry.
MIN_DISTANCE = 0.1
# Of the sum of covalent radii. No bond is as short:
MIN_BOND = 0.5
# Of the neighbors of an atom, where a potential has no cutoff:
FAR = 100.0
# By which a volume may change, up or down. No potential knows more.
MAX_VOLUME_RATIO = 10.0


class Unsound(RuntimeError):
    r"""What came out cannot be trusted. It is written all the same."""


class Soundness:
    r"""Looks at a structure before something is done to it, and afterwards.

    Args:
        atoms (ase.Atoms): The structure before.
        cutoff (float, optional): The cutoff of the potential in Angstrom;
            without one, a length beyond which there is nothing to learn.

    Raises:
        ValueError: If two of its atoms lie on each other.
    """
    def __init__(self, atoms: Any, cutoff: float | None):
        self.cutoff = FAR if cutoff is None else cutoff
        self.volume = atoms.cell.volume
        self.lost = lost_atoms(atoms, self.cutoff)
        self.remarks: list[str] = []
        first, second, dist, bond = closest_pair(atoms)
        require(dist >= MIN_DISTANCE,
                f"'structure' must have atoms that do not lie on each other "
                f"(got atoms {first} and {second} at a distance of {dist:.3g} "
                f"Angstrom)")
        if self.lost:
            self.remarks.append(f'{self._alone(self.lost)}: nothing acts on '
                                f'them')
        if dist < MIN_BOND * bond:
            self.remarks.append(_too_close(first, second, dist, bond))

    def faults(self, atoms: Any, forces_matter: bool = False) -> list[str]:
        r"""Returns what is wrong with what the structure has become.

        Args:
            atoms (ase.Atoms): The structure afterwards.
            forces_matter (bool, optional): If set to :obj:`True`, it is wrong
                that nothing acts on an atom, also where nothing did before.
                (default: :obj:`False`)
        """
        faults, lost = [], lost_atoms(atoms, self.cutoff)
        new = [atom for atom in lost if atom not in self.lost]
        if new:
            faults.append(f'{self._alone(new)}: the structure has come apart')
        elif lost and (forces_matter or len(lost) == len(atoms)):
            faults.append(f'{self._alone(lost)}: nothing acts on them')
        first, second, dist, bond = closest_pair(atoms)
        if dist < MIN_BOND * bond:
            faults.append(_too_close(first, second, dist, bond))
        if self.volume_is_lost(atoms):
            faults.append(self.change_of_volume(atoms))
        return faults

    def change_of_volume(self, atoms: Any) -> str:
        r"""Returns in words how the volume has changed."""
        return (f'The volume has changed from {self.volume:.4g} to '
                f'{atoms.cell.volume:.4g} Angstrom^3')

    def volume_is_lost(self, atoms: Any) -> bool:
        r"""Returns whether a cell has collapsed or burst."""
        if self.volume == 0:
            return False
        ratio = atoms.cell.volume / self.volume
        return not 1 / MAX_VOLUME_RATIO < ratio < MAX_VOLUME_RATIO

    def _alone(self, lost: list[int]) -> str:
        return (f'Atoms {lost} have no neighbor within the cutoff, '
                f'{self.cutoff:.3g} Angstrom')


def closest_pair(atoms: Any,
                 share: float = MIN_BOND) -> tuple[int, int, float, float]:
    r"""Returns two atoms, or an atom twice for an image of its own, their
    distance and the sum of their covalent radii. They are the closest ones if
    these lie on each other, else those that are the closest for their size.
    The distance is infinite if no two atoms are closer than a share of that
    sum.
    """
    from ase.data import covalent_radii
    radii = covalent_radii[atoms.numbers]
    edge_index, dist = _neighbors(atoms, max(2 * share * radii.max(),
                                             MIN_DISTANCE))
    if len(dist) == 0:
        return 0, 0, numpy.inf, 0.0
    source, target = edge_index
    bond = radii[source] + radii[target]
    pair = dist.argmin() if dist.min() < MIN_DISTANCE else (
        (dist / bond).argmin())
    return (*sorted((int(source[pair]), int(target[pair]))),
            float(dist[pair]), float(bond[pair]))


def lost_atoms(atoms: Any, cutoff: float) -> list[int]:
    r"""Returns those of several atoms that have no neighbor within a cutoff in
    Angstrom: nothing acts on them.
    """
    if len(atoms) == 1:
        return []
    edge_index, _ = _neighbors(atoms, cutoff)
    return sorted({*range(len(atoms))} - {*edge_index[1].tolist()})


def _neighbors(atoms: Any,
               cutoff: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    r"""Returns the pairs of atoms within a cutoff and their distances."""
    pos = torch.tensor(atoms.positions)
    cell = torch.from_numpy(atoms.cell.array) if atoms.pbc.any() else None
    edge_index, shift = neighbor_list(pos, cutoff, cell=cell,
                                      pbc=torch.from_numpy(atoms.pbc))
    dist = edge_vectors(pos, edge_index, shift).norm(dim=1)
    return edge_index.numpy(), dist.numpy()


def _too_close(first: int, second: int, dist: float, bond: float) -> str:
    return (f'Atoms {first} and {second} are {dist:.3g} Angstrom apart, '
            f'closer than any bond (their covalent radii add up to '
            f'{bond:.3g})')
