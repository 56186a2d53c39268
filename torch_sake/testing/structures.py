r"""Molecules that assertions pull, press and turn."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from torch_sake.potentials.zbl import covalent_radii
from torch_sake.sampling.bonds import find_bonds, side_of
from torch_sake.testing.compare import call
from torch_sake.utils.checks import check_atomic_numbers, check_pos
from torch_sake.utils.elements import symbols_of
from torch_sake.utils.plain_checks import check_option, require
from torch_sake.utils.units import LENGTHS

POINTS_PER_CALL = 32
MAX_NUMBER = 118

Pair = tuple[int, int]
Structure = Any  # ase.Atoms, or atomic numbers and positions


class Molecule(NamedTuple):
    r"""Atomic numbers :math:`(N)`, positions :math:`(N, 3)`, covalent radii
    :math:`(N)` and bonds, in a unit of length.
    """
    z: Tensor
    pos: Tensor
    radii: Tensor
    bonds: list[Pair]

    def name(self, *atoms: int) -> str:
        r"""Returns what messages call some atoms."""
        return ' and '.join(f'{atom} ({symbols_of([int(self.z[atom])])})'
                            for atom in atoms)

    def distance(self, pair: Pair) -> float:
        return float((self.pos[pair[1]] - self.pos[pair[0]]).norm())

    def side_of(self, pair: Pair) -> list[int] | None:
        r"""Returns the atoms on the side of the second one of a pair, which
        is that one alone if the two have no bond, or :obj:`None` if it is
        part of a ring.
        """
        bond = min(pair), max(pair)
        if bond not in self.bonds:
            return [pair[1]]
        bonds, number = numpy.array(self.bonds), self.bonds.index(bond)
        bonds[number] = pair  # in this direction
        side = side_of(self.z.numel(), bonds, number)
        return None if side is None else numpy.flatnonzero(side).tolist()

    def pulled(self, pair: Pair, lengths: Tensor) -> Tensor:
        r"""Returns the positions in which two atoms are as far apart as given,
        with all that the second one carries, or that one alone in a ring.

        Shapes:
            - **input:** lengths :math:`(P)`
            - **output:** positions :math:`(P, N, 3)`
        """
        vec = self.pos[pair[1]] - self.pos[pair[0]]
        shift = (lengths - vec.norm())[:, None] * vec / vec.norm()
        out = self.pos.repeat(lengths.numel(), 1, 1)
        out[:, self.side_of(pair) or [pair[1]]] += shift[:, None]
        return out


def molecule_of(structure: Structure, length: str) -> Molecule:
    r"""Returns the molecule of a structure.

    Args:
        structure (ase.Atoms or (torch.Tensor, torch.Tensor)): The structure,
            or atomic numbers and positions.
        length (str): The unit of length.

    Raises:
        TypeError, ValueError: If it is none, or periodic.
    """
    check_option('length', length, LENGTHS)
    if hasattr(structure, 'numbers') and hasattr(structure, 'positions'):
        require(not structure.pbc.any(),
                f"'structure' must not be periodic (got "
                f"{structure.pbc.tolist()})")
        z = torch.tensor(structure.numbers, dtype=torch.long)
        pos = torch.tensor(structure.positions,
                           dtype=torch.double) / LENGTHS[length]
    elif isinstance(structure, (tuple, list)) and len(structure) == 2:
        z, pos = structure
    else:
        raise TypeError(f"'structure' must be ase.Atoms, or atomic numbers "
                        f"and positions (got {type(structure)})")
    check_atomic_numbers(z, MAX_NUMBER + 1)
    check_pos(pos, z.numel(), 3)
    pos = pos.detach()
    radii = covalent_radii(length).to(pos).index_select(0, z)
    bonds = find_bonds(z.cpu().numpy(),
                       pos.double().cpu().numpy() * LENGTHS[length])
    return Molecule(z, pos, radii, [(i, j) for i, j in bonds.tolist()])


def choose_pairs(name: str, pairs: Sequence[Pair] | None,
                 molecule: Molecule, in_rings: bool) -> list[Pair]:
    r"""Returns the pairs of atoms that are given, or the bonds.

    Args:
        name (str): What messages call them.
        pairs ([(int, int)], optional): The pairs.
        molecule (Molecule): The molecule.
        in_rings (bool): Whether they may be bonds of a ring.
    """
    number = molecule.z.numel()
    if pairs is None:
        pairs = [pair for pair in molecule.bonds
                 if in_rings or molecule.side_of(pair) is not None]
    require(len(pairs) > 0, f"'{name}' must be pairs of atoms, of which "
                            f"'structure' has none with a bond")
    out = []
    for pair in pairs:
        require(len(pair) == 2 and len(set(pair)) == 2 and all(
            type(atom) is int and 0 <= atom < number for atom in pair),
                f"'{name}' must be pairs of two of {number} atoms "
                f"(got {pair})")
        require(in_rings or molecule.side_of(tuple(pair)) is not None,
                f"'{name}' must not be in a ring (got {pair})")
        out.append((pair[0], pair[1]))
    return out


def evaluate(potential: Callable, z: Tensor,
             pos: Tensor) -> tuple[Tensor, Tensor]:
    r"""Returns the energies and the forces of the same atoms in several
    places.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(P, N, 3)`
        - **output:** energies :math:`(P)`, forces :math:`(P, N, 3)`
    """
    energies, forces = [], []
    for chunk in pos.split(POINTS_PER_CALL):
        size = chunk.size(0)
        batch = torch.arange(size, device=z.device).repeat_interleave(
            z.numel())
        with torch.no_grad():
            energy, force, _ = call(potential, z.repeat(size),
                                    chunk.reshape(-1, 3), batch)
        energies.append(energy.detach().view(size).double())
        forces.append(force.detach().view(size, -1, 3).double())
    return torch.cat(energies), torch.cat(forces)


def assert_finite(energies: Tensor, what: str) -> None:
    r"""Asserts that energies are finite."""
    assert bool(energies.isfinite().all()), (
        f"'energy' of {what} must be finite (got {energies.tolist()})")
