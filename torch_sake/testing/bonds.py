r"""Atoms that are pressed together and pulled apart."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from torch_sake.testing.structures import (
    Molecule,
    Pair,
    Structure,
    assert_finite,
    choose_pairs,
    evaluate,
    molecule_of,
)
from torch_sake.utils.elements import number_of
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import LENGTHS

PRESSED = 0.3  # Angstrom
PULLED = 4.0
APART = 50.0
AROUND = (0.85, 1.25)  # of its length, where the energy of a bond is lowest


def assert_repulsive(
    potential: Callable,
    structure: Structure,
    pairs: Sequence[Pair] | None = None,
    start: float = 0.7,
    shortest: float | None = None,
    num_points: int = 60,
    length: str = 'Angstrom',
) -> None:
    r"""Asserts that atoms that are pressed together repel each other: the
    energy rises with every step from a share of the sum of their covalent
    radii down to :obj:`shortest`.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        structure (ase.Atoms or (torch.Tensor, torch.Tensor)): A molecule, or
            its atomic numbers and positions.
        pairs ([(int, int)], optional): Atoms that are pressed together. The
            second one moves, with all that hangs on it if the two have a bond
            that is in no ring. All bonds, if not given.
            (default: :obj:`None`)
        start (float, optional): The share. (default: :obj:`0.7`)
        shortest (float, optional): The last distance, 0.3 Angstrom if not
            given. (default: :obj:`None`)
        num_points (int, optional): Number of distances. (default: :obj:`60`)
        length (str, optional): The unit of length.
            (default: :obj:`"Angstrom"`)

    Raises:
        AssertionError: If the energy falls, naming the atoms, the distances
            and the energies.
    """
    molecule = molecule_of(structure, length)
    last = PRESSED / LENGTHS[length] if shortest is None else shortest
    for pair in choose_pairs('pairs', pairs, molecule, in_rings=True):
        first = start * float(molecule.radii[list(pair)].sum())
        require(0 < last < first,
                f"'shortest' must be positive and below 'start' times the sum "
                f"of the covalent radii, {first:.4g} (got {last})")
        lengths = torch.linspace(first, last, num_points).to(molecule.pos)
        energies = _energies(potential, molecule, pair, lengths, 'pressed')
        falls = ~(energies.diff() > 0)
        if falls.any():
            where = int(falls.nonzero()[0])
            raise AssertionError(
                f"'energy' of {molecule.name(*pair)}, pressed together, must "
                f"rise: it goes from {energies[where]:.6g} at a distance of "
                f"{lengths[where]:.4g} to {energies[where + 1]:.6g} at "
                f"{lengths[where + 1]:.4g} {length}")


def assert_bonds_hold(
    potential: Callable,
    structure: Structure,
    bonds: Sequence[Pair] | None = None,
    longest: float | None = None,
    tol: float = 0.02,
    num_points: int = 60,
    length: str = 'Angstrom',
) -> None:
    r"""Asserts that the energy rises as bonds are stretched, from its lowest
    value at 0.85 to 1.25 times their length on, up to where they are broken:
    it never falls below an earlier value by more than a share of the largest
    rise.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        structure (ase.Atoms or (torch.Tensor, torch.Tensor)): A molecule, or
            its atomic numbers and positions.
        bonds ([(int, int)], optional): The bonds, by two atoms each. The
            second one moves, with all that hangs on it. All bonds that are
            in no ring, if not given. (default: :obj:`None`)
        longest (float, optional): The last length, 4 Angstrom if not given.
            (default: :obj:`None`)
        tol (float, optional): The share. (default: :obj:`0.02`)
        num_points (int, optional): Number of lengths. (default: :obj:`60`)
        length (str, optional): The unit of length.
            (default: :obj:`"Angstrom"`)

    Raises:
        AssertionError: If the energy falls or does not rise, naming the atoms,
            the lengths and the energies.
    """
    molecule = molecule_of(structure, length)
    last = PULLED / LENGTHS[length] if longest is None else longest
    for pair in choose_pairs('bonds', bonds, molecule, in_rings=False):
        low, high = (share * molecule.distance(pair) for share in AROUND)
        require(last > high, f"'longest' must be above {AROUND[1]} times the "
                             f"length of each bond, {high:.4g} (got {last})")
        lengths = torch.linspace(low, last, num_points).to(molecule.pos)
        energies = _energies(potential, molecule, pair, lengths, 'stretched')
        start = int(energies[lengths <= high].argmin())
        lengths, energies = lengths[start:], energies[start:]
        highest, places = energies.cummax(0)
        rise, falls = energies.max() - energies[0], highest - energies
        worst = int(falls.argmax())
        where = int(places[worst])
        name = f"'energy' of {molecule.name(*pair)}, pulled apart,"
        assert rise > 0, (
            f"{name} must rise: it is {energies[0]:.6g} at a length of "
            f"{lengths[0]:.4g} and {energies[-1]:.6g} at {lengths[-1]:.4g} "
            f"{length}")
        assert falls[worst] <= tol * rise, (
            f"{name} must not fall by more than {tol:g} of its rise, "
            f"{rise:.4g}: it goes from {energies[where]:.6g} at a length of "
            f"{lengths[where]:.4g} to {energies[worst]:.6g} at "
            f"{lengths[worst]:.4g} {length}")


def assert_dissociates(
    potential: Callable,
    structure: Structure,
    atomic_energies: Mapping[str | int, float] | None = None,
    bonds: Sequence[Pair] | None = None,
    distance: float | None = None,
    tol: float = 1e-3,
    length: str = 'Angstrom',
) -> None:
    r"""Asserts that molecules that are pulled apart have the energy of their
    parts: those on both sides of each bond and, if their energies are given,
    all atoms.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        structure (ase.Atoms or (torch.Tensor, torch.Tensor)): A molecule, or
            its atomic numbers and positions.
        atomic_energies (dict, optional): The energies of isolated atoms, by
            symbol or atomic number. (default: :obj:`None`)
        bonds ([(int, int)], optional): As for :func:`assert_bonds_hold`.
        distance (float, optional): How far apart the parts are; 50 Angstrom
            if not given. (default: :obj:`None`)
        tol (float, optional): Largest difference, in the unit of energy.
            (default: :obj:`1e-3`)
        length (str, optional): The unit of length.
            (default: :obj:`"Angstrom"`)

    Raises:
        AssertionError: If energies differ, naming the parts and both energies.
    """
    molecule = molecule_of(structure, length)
    far = APART / LENGTHS[length] if distance is None else distance
    for pair in choose_pairs('bonds', bonds, molecule, in_rings=False):
        whole = _energies(potential, molecule, pair, molecule.pos.new_tensor(
            [far]), 'dissociated')
        is_second = torch.zeros_like(molecule.z, dtype=torch.bool)
        is_second[molecule.side_of(pair)] = True
        parts = [float(evaluate(potential, molecule.z[side],
                                molecule.pos[None, side])[0])
                 for side in (~is_second, is_second)]
        _assert_sum(f'{molecule.name(*pair)}, {far:g} {length} apart',
                    float(whole), parts, 'both parts', tol)
    if atomic_energies is None:
        return
    given = {number_of('atomic_energies', element): float(energy)
             for element, energy in atomic_energies.items()}
    line = torch.zeros_like(molecule.pos)
    line[:, 0] = far * torch.arange(molecule.z.numel()).to(line)
    whole, _ = evaluate(potential, molecule.z, line[None])
    missing = [number for number in molecule.z.unique().tolist()
               if number not in given]
    require(not missing, f"'atomic_energies' must have all elements of "
                         f"'structure' (got none of the atomic numbers "
                         f"{missing})")
    for number in molecule.z.unique():
        alone, _ = evaluate(potential, number.view(1), line[None, :1])
        _assert_sum(f'an isolated atom of the atomic number {int(number)}',
                    float(alone), [given[int(number)]], "'atomic_energies'",
                    tol)
    _assert_sum(f'{molecule.z.numel()} atoms, {far:g} {length} apart',
                float(whole), [given[number]
                               for number in molecule.z.tolist()],
                "'atomic_energies'", tol)


def _energies(potential: Callable, molecule: Molecule, pair: Pair,
              lengths: Tensor, how: str) -> Tensor:
    energies, _ = evaluate(potential, molecule.z,
                           molecule.pulled(pair, lengths))
    assert_finite(energies, f'{molecule.name(*pair)}, {how}')
    return energies


def _assert_sum(name: str, energy: float, parts: list[float], of: str,
                tol: float) -> None:
    # Not the other way round: NaN must fail.
    assert abs(energy - sum(parts)) <= tol, (
        f"'energy' of {name} must be the sum of {of}, {sum(parts):.8g}, to "
        f"{tol:g} (got {energy:.8g}, a difference of "
        f"{energy - sum(parts):.3e})")
