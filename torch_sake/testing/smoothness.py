from collections.abc import Callable

import torch
from torch import Tensor

from torch_sake.neighbors import neighbor_list
from torch_sake.neighbors.lattice import check_cell
from torch_sake.testing.compare import call
from torch_sake.utils.bounds import check_cutoff

NUM_COARSE = 64  # points of the whole line, which find the scale
NUM_FINE = 12  # steps before and after each crossing
POINTS_PER_CALL = 32


def assert_smooth_at_cutoff(
    potential: Callable,
    z: Tensor,
    pos: Tensor,
    cutoff: float,
    atom: int = -1,
    direction: Tensor | None = None,
    length: float | None = None,
    cell: Tensor | None = None,
    pbc: Tensor | None = None,
    step: float = 1e-4,
    energy_tol: float = 1e-7,
    force_tol: float = 1e-5,
) -> None:
    r"""Asserts that energy and forces are smooth as atoms come and go at the
    cutoff. An atom moves along a line, and wherever another one (or a periodic
    image of it) crosses the cutoff, second differences in steps of :math:`h`

    .. math::
        |E(s + h) - 2 E(s) + E(s - h) - c| &\leq \tau_E
        \max_{s^{\prime} s^{\prime\prime}}
        |E(s^{\prime}) - E(s^{\prime\prime})| \\
        |F(s + h) - 2 F(s) + F(s - h)| &\leq \tau_F
        \max_{F^{\prime} s^{\prime} s^{\prime\prime}}
        |F^{\prime}(s^{\prime}) - F^{\prime}(s^{\prime\prime})|

    are taken of the energy and of each component :math:`F` of each force.

    The scales on the right are the largest changes along the whole line:
    neither total energies, nor forces of atoms far from the line, nor the
    outputs near the cutoff alone, which are as small as one likes. Choose a
    line on which the atom starts at the distance of a bond and passes no other
    more closely: the repulsion there would be the scale.

    Second differences of a smooth function are :math:`h^2` times its
    curvature. In units of the scale, the curvature of a bond may be as large
    as 10 per squared Angstrom, which is :math:`\tau_E` for the default step:
    :math:`c`, the median of the second differences around the crossing, takes
    it off. Steps and kinks of the energy remain. Of forces, by default, a step
    of :math:`10^{-5}` scales, a kink where the slope changes by 0.1 scales per
    unit of length, and a curvature of 1000 are too much. The kink of a cosine
    envelope is about there; a :obj:`force_tol` of :math:`10^{-6}` finds it
    on lines where this one does not.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        z, pos (torch.Tensor): As for :func:`assert_forces_match_energy`.
        cutoff (float): The cutoff of the model.
        atom (int, optional): The atom that moves. (default: :obj:`-1`)
        direction (torch.Tensor, optional): Where it moves to; away from the
            mean of the others, if not given. (default: :obj:`None`)
        length (float, optional): How far it moves; if not given, twice the
            cutoff, where nothing is left of the neighbors that it had, or, if
            the system is periodic, half the cutoff. (default: :obj:`None`)
        cell, pbc (torch.Tensor, optional): As for
            :func:`assert_forces_match_energy`. (default: :obj:`None`)
        step (float, optional): The step :math:`h`, in units of the positions.
            (default: :obj:`1e-4`)
        energy_tol (float, optional): :math:`\tau_E`. (default: :obj:`1e-7`)
        force_tol (float, optional): :math:`\tau_F`. (default: :obj:`1e-5`)

    Raises:
        AssertionError: If a second difference is too large, naming the output
            and the distance, or outputs change too little along the line to be
            told from rounding errors.
        TypeError, ValueError: If positions are not of float64, or no atom
            crosses the cutoff.
    """
    if pos.dtype != torch.double:
        raise TypeError(f"'pos' must be of type torch.float64 for second "
                        f"differences (got {pos.dtype})")
    check_cutoff('cutoff', cutoff)
    cell, pbc = check_cell(cell, pbc, 1, pos)
    atom = range(z.numel())[atom]
    if direction is None:
        others = torch.arange(z.numel(), device=z.device) != atom
        direction = pos[atom] - pos[others].mean(dim=0)
        if not direction.norm() > 1e-6:
            direction = torch.ones_like(direction)
    direction = (direction / direction.norm()).to(pos)
    if length is None:
        periodic = pbc is not None and bool(pbc.any())
        length = cutoff / 2 if periodic else 2 * cutoff
    crossings = _crossings(pos, cutoff, atom, direction, length, cell, pbc)
    if crossings.numel() == 0:
        raise ValueError(
            f"'length' must be so long that atom {atom} crosses the cutoff "
            f"{cutoff} of another one in the direction "
            f"{[round(x, 4) for x in direction.tolist()]} (got {length})")

    fine = step * torch.arange(-NUM_FINE, NUM_FINE + 1).to(pos)
    places = torch.cat([torch.linspace(0, length, NUM_COARSE).to(pos),
                        (crossings.view(-1, 1) + fine).flatten()])
    energy, forces = _scan(potential, z, pos, atom, direction, places, cell,
                           pbc)
    for name, values, tol in (('energy', energy.view(-1, 1), energy_tol),
                              ('forces', forces.flatten(1), force_tol)):
        scale = float((values.amax(dim=0) - values.amin(dim=0)).max())
        rounding = 1e-15 * float(values.abs().max())
        # Not the other way round, here and below: NaN must fail.
        assert tol * scale > rounding, (
            f"'{name}' along the line: largest change {scale:.3e} is too "
            f"small to be told from rounding errors")
        windows = values[NUM_COARSE:].view(crossings.numel(), fine.numel(), -1)
        second = windows.diff(n=2, dim=1)
        if name == 'energy':
            second = second - second.median(dim=1, keepdim=True).values
        second = second.abs().amax(dim=(1, 2)) / scale
        worst = int(second.argmax())
        assert float(second[worst]) <= tol, (
            f"'{name}' where atom {atom} has moved by "
            f"{float(crossings[worst]):.6g} and another one crosses the "
            f"cutoff: second difference {float(second[worst]):.3e} of the "
            f"scale {scale:.3e} is above {tol:.1e}")


def _crossings(pos: Tensor, cutoff: float, atom: int, direction: Tensor,
               length: float, cell: Tensor | None,
               pbc: Tensor | None) -> Tensor:
    r"""Returns how far the atom has to move until another one is at the
    cutoff, for all of them, in ascending order.
    """
    edge_index, edge_shift = neighbor_list(pos, cutoff + length, None, cell,
                                           pbc)
    # Images of the atom itself move along.
    chosen = (edge_index[1] == atom) & (edge_index[0] != atom)
    vec = pos[edge_index[0, chosen]] - pos[atom] + edge_shift[chosen]
    along = vec @ direction
    square = along.square() - vec.square().sum(dim=1) + cutoff**2
    along, half = along[square > 0], square[square > 0].sqrt()
    places = torch.cat([along - half, along + half])
    return places[(places > 0) & (places < length)].sort().values


def _scan(potential: Callable, z: Tensor, pos: Tensor, atom: int,
          direction: Tensor, places: Tensor, cell: Tensor | None,
          pbc: Tensor | None) -> tuple[Tensor, Tensor]:
    r"""Returns energies :math:`(P)` and forces :math:`(P, N, 3)` after the
    atom has moved to each of the places.
    """
    outputs: list[tuple[Tensor, Tensor]] = []
    for chunk in places.split(POINTS_PER_CALL):
        size = chunk.numel()
        moved = pos.repeat(size, 1, 1)
        moved[:, atom] += chunk.view(-1, 1) * direction
        batch = torch.arange(size, device=z.device).repeat_interleave(
            z.numel())
        cells = () if cell is None else (cell.expand(size, 3, 3),
                                         pbc.expand(size, 3))
        with torch.no_grad():
            energy, forces, _ = call(potential, z.repeat(size),
                                     moved.view(-1, 3), batch, *cells)
        outputs.append((energy.view(size), forces.view(size, -1, 3)))
    energies, forces = zip(*outputs)
    return torch.cat(energies), torch.cat(forces)
