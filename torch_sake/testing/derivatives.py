from collections.abc import Callable

import torch
from torch import Tensor

from torch_sake.neighbors.lattice import check_cell
from torch_sake.potentials.strain import cell_volumes
from torch_sake.testing.compare import assert_close, call


def assert_forces_match_energy(potential: Callable, z: Tensor, pos: Tensor,
                               batch: Tensor | None = None,
                               cell: Tensor | None = None,
                               pbc: Tensor | None = None,
                               step: float = 1e-4,
                               atol: float = 1e-6) -> None:
    r"""Asserts that forces are minus the derivatives of the energies, by
    central differences along every coordinate.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        z (torch.Tensor): Atomic numbers.
        pos (torch.Tensor): Positions, in float64.
        batch (torch.Tensor, optional): Graph of each atom.
            (default: :obj:`None`)
        cell (torch.Tensor, optional): Lattice vectors of each graph.
            (default: :obj:`None`)
        pbc (torch.Tensor, optional): Whether they are periodic.
            (default: :obj:`None`)
        step (float, optional): Step of the differences, in units of the
            positions. (default: :obj:`1e-4`)
        atol (float, optional): Largest difference, in units of the largest
            force component if this is above 1. (default: :obj:`1e-6`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*, cells :math:`(B, 3, 3)` or
          :math:`(3, 3)` *(optional)*, periodic directions :math:`(B, 3)` or
          :math:`(3)` *(optional)*

    Raises:
        AssertionError: If a force differs from the slope of the energy.
    """
    forces = call(potential, z, pos, batch, cell, pbc)[1].detach()
    expected = torch.empty_like(forces)
    with torch.no_grad():
        for atom, axis in torch.cartesian_prod(torch.arange(pos.size(0)),
                                               torch.arange(pos.size(1))):
            def energy(shift: float, atom=atom, axis=axis) -> Tensor:
                moved = pos.clone()
                moved[atom, axis] += shift
                return call(potential, z, moved, batch, cell, pbc)[0].sum()

            expected[atom, axis] = -_slope(energy, step)
    assert_close("'forces' against differences of the energy", forces,
                 expected, atol)


def assert_stress_matches_energy(potential: Callable, z: Tensor, pos: Tensor,
                                 cell: Tensor, pbc: Tensor | None = None,
                                 batch: Tensor | None = None,
                                 step: float = 1e-5,
                                 atol: float = 1e-6) -> None:
    r"""Asserts that stresses are symmetric and, times the volume, the
    derivatives of the energies with respect to strain, by central differences

    .. math::
        V \sigma_{km} \approx \frac{E(\mathbf{1} + h \mathbf{S}_{km}) -
        E(\mathbf{1} - h \mathbf{S}_{km})}{2 h}, \quad
        \mathbf{S}_{km} = \tfrac{1}{2} \left( \vec{e}_k \otimes \vec{e}_m +
        \vec{e}_m \otimes \vec{e}_k \right)

    where a deformation acts on positions and cell together. Products with the
    volume are compared, as they are of the size of energies.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        z, pos, cell, pbc, batch (torch.Tensor): As for
            :func:`assert_forces_match_energy`; all lattice vectors are
            periodic if :obj:`pbc` is not given.
        step (float, optional): The strain :math:`h`. (default: :obj:`1e-5`)
        atol (float, optional): Largest difference, in units of the largest
            product if this is above 1. (default: :obj:`1e-6`)

    Raises:
        AssertionError: If a stress is not symmetric or differs from the slope
            of the energy.
    """
    cells, periodic = check_cell(cell, pbc, 1 if batch is None else None, pos)
    stress = call(potential, z, pos, batch, cell, pbc, True)[2]
    assert stress is not None and stress.shape == cells.shape, (
        f"'stress': must have shape {list(cells.shape)} (got "
        f"{None if stress is None else list(stress.shape)})")
    volume = cell_volumes(cells, periodic).view(-1, 1, 1)
    # The volume of molecules is infinite, and their stress zero.
    virial = stress.detach() * torch.where(volume.isinf(), 1.0, volume)
    assert_close("'stress' times volume against its transpose", virial,
                 virial.mT, 1e-10)

    expected = torch.empty_like(virial)
    with torch.no_grad():
        for k, m in torch.combinations(torch.arange(3),
                                       with_replacement=True):
            def energies(strain: float, k=k, m=m) -> Tensor:
                deformation = torch.eye(3).to(pos)
                deformation[k, m] += strain / 2
                deformation[m, k] += strain / 2
                return call(potential, z, pos @ deformation, batch,
                            cell @ deformation, pbc)[0]

            slope = _slope(energies, step)
            expected[:, k, m] = expected[:, m, k] = slope.to(expected.dtype)
    expected = torch.where(volume.isinf(), 0.0, expected)
    assert_close("'stress' times volume against differences of the energy",
                 virial, expected, atol)


def _slope(energy: Callable[[float], Tensor], step: float) -> Tensor:
    return (energy(step) - energy(-step)) / (2 * step)
