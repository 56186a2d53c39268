import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from torch_sake.testing.structures import (
    Molecule,
    Structure,
    assert_finite,
    choose_pairs,
    evaluate,
    molecule_of,
)
from torch_sake.utils.plain_checks import check_positive_int, require

WINDOW = 9  # points, of which the median is taken
LEAST_POINTS = 50
STRETCHED = (0.85, 1.6)  # of its length
TURNED = (0.0, 360.0)  # degrees


def assert_smooth_scan(
    potential: Callable,
    structure: Structure,
    atoms: Sequence[int],
    start: float | None = None,
    end: float | None = None,
    num_points: int = 400,
    energy_tol: float = 1e-4,
    force_tol: float = 1e-3,
    length: str = 'Angstrom',
) -> None:
    r"""Asserts that energy and forces neither jump nor bend sharply as a bond
    is stretched or turned. Second differences of neighboring points, less
    their median over nine points, are at most a share of the largest change
    along the scan. A kink of the energy is a jump of the forces.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`, best in
            float64.
        structure (ase.Atoms or (torch.Tensor, torch.Tensor)): A molecule, or
            its atomic numbers and positions.
        atoms ([int]): Two atoms, whose distance changes, or four, whose
            dihedral angle does: all on the side of the last one moves.
        start, end (float, optional): The first and the last distance, or by
            how many degrees the bond is turned at the beginning and at the
            end; 0.85 and 1.6 times the distance, or one whole turn, if not
            given. (default: :obj:`None`)
        num_points (int, optional): Number of points, at least 50.
            (default: :obj:`400`)
        energy_tol (float, optional): The share of the energy.
            (default: :obj:`1e-4`)
        force_tol (float, optional): The share of the forces.
            (default: :obj:`1e-3`)
        length (str, optional): The unit of length.
            (default: :obj:`"Angstrom"`)

    Raises:
        AssertionError: If a second difference is too large, naming the atoms,
            the place and the values there, or outputs change too little to be
            told from rounding errors.
    """
    require(check_positive_int('num_points', num_points) >= LEAST_POINTS,
            f"'num_points' must be at least {LEAST_POINTS} "
            f"(got {num_points})")
    molecule, atoms = molecule_of(structure, length), list(atoms)
    if len(atoms) == 2:
        choose_pairs('atoms', [atoms], molecule, in_rings=True)
        dist = molecule.distance(tuple(atoms))
        limits, kind = [share * dist for share in STRETCHED], 'distance'
    else:
        require(len(atoms) == 4 and len(set(atoms)) == 4,
                f"'atoms' must be two or four atoms (got {atoms})")
        choose_pairs('atoms', [*zip(atoms, atoms[1:])], molecule,
                     in_rings=True)
        choose_pairs('atoms', [atoms[1:3]], molecule, in_rings=False)
        limits, kind = list(TURNED), 'turn'
    limits = [limit if given is None else given
              for given, limit in zip((start, end), limits)]
    require(limits[0] < limits[1] and (kind == 'turn' or limits[0] > 0),
            f"'end' must be above 'start' (got {limits[1]} and {limits[0]})")
    places = torch.linspace(*limits, num_points).to(molecule.pos)
    if kind == 'distance':
        pos = molecule.pulled(tuple(atoms), places)
    else:
        pos = _turned(molecule, atoms, places)
    energies, forces = evaluate(potential, molecule.z, pos)
    assert_finite(energies, f'{molecule.name(*atoms)} along the scan')
    name = f'along the {kind} of {molecule.name(*atoms)}'
    _assert_smooth('energy', name, energies[:, None], places, energy_tol)
    _assert_smooth('forces', name, forces.flatten(1), places, force_tol)


def _turned(molecule: Molecule, atoms: list[int], degrees: Tensor) -> Tensor:
    r"""Returns the positions in which a bond is turned."""
    first, second = atoms[1], atoms[2]
    side = molecule.side_of((first, second))
    require(atoms[3] in side and atoms[0] not in side,
            f"'atoms' must be one after the other, with a bond in the middle "
            f"(got {atoms})")
    axis = molecule.pos[second] - molecule.pos[first]
    axis = (axis / axis.norm())[None, None]
    vec = (molecule.pos[side] - molecule.pos[first])[None]  # [1, S, 3]
    angle = (degrees * (math.pi / 180)).view(-1, 1, 1)
    along = (vec * axis).sum(dim=2, keepdim=True) * axis
    cross = torch.linalg.cross(axis.expand_as(vec), vec)
    out = molecule.pos.repeat(degrees.numel(), 1, 1)
    out[:, side] = molecule.pos[first] + along + (
        torch.cos(angle) * (vec - along) + torch.sin(angle) * cross)
    return out


def _assert_smooth(output: str, name: str, values: Tensor, places: Tensor,
                   tol: float) -> None:
    scale = float((values.amax(dim=0) - values.amin(dim=0)).max())
    rounding = 1e-15 * float(values.abs().max())
    # Not the other way round, here and below: NaN must fail.
    assert tol * scale > rounding, (
        f"'{output}' {name}: largest change {scale:.3e} is too small to be "
        f"told from rounding errors")
    second = values.diff(n=2, dim=0)  # [P - 2, C]
    medians = second.unfold(0, WINDOW, 1).median(dim=2).values
    half = WINDOW // 2
    # Those at both ends are compared with the nearest whole window.
    index = torch.arange(second.size(0)).clamp(half, second.size(0) - 1 - half)
    rough = (second - medians[index.to(second.device) - half]).abs()
    largest, component = rough.max(dim=1)
    worst = int(largest.argmax())
    column = values[worst:worst + 3, component[worst]].tolist()
    assert float(largest[worst]) <= tol * scale, (
        f"'{output}' {name} must be smooth: the second difference at "
        f"{float(places[worst + 1]):.5g} is {float(largest[worst]):.3e} from "
        f"its neighbors, above {tol:g} of the largest change {scale:.3e} (got "
        f"{', '.join(f'{value:.8g}' for value in column)} at "
        f"{', '.join(f'{place:.5g}' for place in places[worst:worst + 3])})")
