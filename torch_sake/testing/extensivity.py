from collections.abc import Callable

import torch
from torch import Tensor

from torch_sake.testing.compare import assert_outputs, call


def assert_extensive(potential: Callable, z: Tensor, pos: Tensor,
                     other_z: Tensor, other_pos: Tensor,
                     distance: float = 100.0, atol: float = 1e-10) -> None:
    r"""Asserts that two systems far apart do not know of each other: as one
    graph, their energy is the sum of both, and their forces are those of each.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        z (torch.Tensor): Atomic numbers of one system.
        pos (torch.Tensor): Its positions, in float64.
        other_z (torch.Tensor): Atomic numbers of the other system.
        other_pos (torch.Tensor): Its positions. The system is moved away from
            the first, in one direction after the other.
        distance (float, optional): The gap between both, in units of the
            positions, which must be above the cutoff. (default: :obj:`100.0`)
        atol (float, optional): Largest difference, in units of the largest
            output if this is above 1. (default: :obj:`1e-10`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          atomic numbers :math:`(M)`, positions :math:`(M, 3)`

    Raises:
        AssertionError: If energies do not add up or forces differ.
    """
    energy, forces, _ = call(potential, z, pos)
    other_energy, other_forces, _ = call(potential, other_z, other_pos)
    for axis in range(pos.size(1)):
        shift = pos.new_zeros(pos.size(1))
        shift[axis] = (pos[:, axis].max() - other_pos[:, axis].min() +
                       distance)
        outputs = call(potential, torch.cat([z, other_z]),
                       torch.cat([pos, other_pos + shift]))
        expected = energy + other_energy, torch.cat([forces, other_forces])
        assert_outputs('of two systems far apart', outputs[:2], expected, atol)
