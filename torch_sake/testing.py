r"""Assertions of what a model of positions has to fulfil. They serve this
package's own tests and are made to be run on models of your own, in float64:

.. code-block:: python

    from torch_sake import Potential
    from torch_sake.testing import (assert_batch_independent,
                                    assert_equivariant_forces,
                                    assert_forces_match_energy)

    potential = Potential(MyModel().double())
    assert_equivariant_forces(potential, z, pos)
    assert_forces_match_energy(potential, z, pos)
    assert_batch_independent(potential, [(z, pos), (other_z, other_pos)])
"""

from typing import Callable, Optional, Sequence, Tuple

import torch
from torch import Tensor

Outputs = Tuple[Optional[Tensor], Optional[Tensor], Optional[Tensor]]


def random_orthogonal(num_dimensions: int,
                      generator: Optional[torch.Generator] = None,
                      reflection: bool = False) -> Tensor:
    r"""Returns a random rotation of float64, uniform over all of them, or, if
    :obj:`reflection` is set, a random rotation times a reflection.

    Shapes:
        - **output:** orthogonal matrix :math:`(D, D)`
    """
    matrix = torch.randn(num_dimensions, num_dimensions, dtype=torch.double,
                         generator=generator)
    q, r = torch.linalg.qr(matrix)
    q = q * r.diagonal().sign()
    if (torch.linalg.det(q) < 0) != reflection:
        q[:, 0] = -q[:, 0]
    return q


def assert_equivariant(
    function: Callable[[Tensor, Optional[Tensor]], Outputs],
    pos: Tensor,
    vel: Optional[Tensor] = None,
    atol: float = 1e-10,
    seed: int = 0,
) -> None:
    r"""Asserts that a function of positions and velocities follows every
    rotation, reflection and translation of space.

    Args:
        function (callable): Takes :obj:`pos` and :obj:`vel` and returns
            :obj:`(scalars, points, vectors)`, of which any may be
            :obj:`None`: scalars do not change, points move along, vectors turn
            along. Points and vectors have the dimension of space last.
        pos (torch.Tensor): Positions, in float64.
        vel (torch.Tensor, optional): Velocities. (default: :obj:`None`)
        atol (float, optional): Largest difference, in units of the largest
            output if this is above 1. (default: :obj:`1e-10`)
        seed (int, optional): Seed of the random transformations.
            (default: :obj:`0`)

    Shapes:
        - **input:** positions :math:`(N, D)`, velocities :math:`(N, D)`
          *(optional)*

    Raises:
        AssertionError: If an output does not follow, naming it.
    """
    generator = torch.Generator().manual_seed(seed)
    scalars, points, vectors = function(pos, vel)
    for reflection in (False, True):
        q = random_orthogonal(pos.size(-1), generator, reflection).to(pos)
        t = torch.randn(pos.size(-1), generator=generator,
                        dtype=torch.double).to(pos)
        outputs = function(pos @ q + t, None if vel is None else vel @ q)
        kind = 'a rotation and reflection' if reflection else 'a rotation'
        for name, value, expected in zip(
            ('scalars', 'points', 'vectors'), outputs,
            (scalars, None if points is None else points @ q + t,
             None if vectors is None else vectors @ q)):
            _assert_close(f"'{name}' under {kind} and a translation", value,
                          expected, atol)


def assert_equivariant_forces(potential: Callable, z: Tensor, pos: Tensor,
                              batch: Optional[Tensor] = None,
                              atol: float = 1e-10, seed: int = 0) -> None:
    r"""Asserts that energies of a :class:`~torch_sake.Potential` do not
    change under rotations, reflections and translations, that forces turn
    along, and that both follow a permutation of the atoms.

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*

    Raises:
        AssertionError: If an output does not follow, naming it.
    """
    def function(pos: Tensor, vel: Optional[Tensor]) -> Outputs:
        energy, forces, _ = potential(z, pos, batch)
        return energy, None, forces

    assert_equivariant(function, pos, atol=atol, seed=seed)
    energy, _, forces = function(pos, None)
    generator = torch.Generator().manual_seed(seed)
    for order in (torch.arange(z.numel()).flip(0),
                  torch.randperm(z.numel(), generator=generator)):
        order = order.to(z.device)
        outputs = potential(z[order], pos[order],
                            None if batch is None else batch[order])
        _assert_close("'energy' under a permutation", outputs[0],
                      energy, atol)
        _assert_close("'forces' under a permutation", outputs[1],
                      forces[order], atol)


def assert_forces_match_energy(potential: Callable, z: Tensor, pos: Tensor,
                               batch: Optional[Tensor] = None,
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
        step (float, optional): Step of the differences, in units of the
            positions. (default: :obj:`1e-4`)
        atol (float, optional): Largest difference, in units of the largest
            force component if this is above 1. (default: :obj:`1e-6`)

    Shapes:
        - **input:** atomic numbers :math:`(N)`, positions :math:`(N, 3)`,
          graphs :math:`(N)` *(optional)*

    Raises:
        AssertionError: If a force differs from the slope of the energy.
    """
    forces = potential(z, pos, batch)[1].detach()
    expected = torch.empty_like(forces)
    with torch.no_grad():
        for atom, axis in torch.cartesian_prod(torch.arange(pos.size(0)),
                                               torch.arange(pos.size(1))):
            energies = []
            for sign in (1, -1):
                moved = pos.clone()
                moved[atom, axis] += sign * step
                energies.append(potential(z, moved, batch)[0].sum())
            expected[atom, axis] = (energies[1] - energies[0]) / (2 * step)
    _assert_close("'forces' against differences of the energy", forces,
                  expected, atol)


def assert_batch_independent(
    potential: Callable,
    graphs: Sequence[Tuple[Tensor, Tensor]],
    atol: float = 1e-10,
    seed: int = 0,
) -> None:
    r"""Asserts that energies and forces of each graph are the same alone and
    in a batch, whatever the order of its atoms.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        graphs ([(torch.Tensor, torch.Tensor)]): Atomic numbers and positions
            of each graph.
        atol (float, optional): Largest difference, in units of the largest
            output if this is above 1. (default: :obj:`1e-10`)
        seed (int, optional): Seed of the order. (default: :obj:`0`)

    Raises:
        AssertionError: If a graph depends on the others.
    """
    singles = [potential(z, pos) for z, pos in graphs]
    energy = torch.cat([single[0] for single in singles]).detach()
    forces = torch.cat([single[1] for single in singles]).detach()
    z = torch.cat([z for z, _ in graphs])
    pos = torch.cat([pos for _, pos in graphs])
    batch = torch.cat([
        torch.full_like(z, index) for index, (z, _) in enumerate(graphs)
    ])
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randperm(z.numel(), generator=generator).to(z.device)
    for name, order in (('in order', torch.arange(z.numel())),
                        ('mixed', mixed)):
        order = order.to(z.device)
        outputs = potential(z[order], pos[order], batch[order])
        _assert_close(f"'energy' of a batch, {name}", outputs[0],
                      energy, atol)
        _assert_close(f"'forces' of a batch, {name}", outputs[1],
                      forces[order], atol)


def _assert_close(name: str, value: Optional[Tensor],
                  expected: Optional[Tensor], atol: float) -> None:
    assert (value is None) == (expected is None), (
        f"{name}: one of both is None (got {value} and {expected})")
    if value is None or expected.numel() == 0:
        return
    value, expected = value.detach(), expected.detach()
    assert value.shape == expected.shape, (
        f"{name}: shapes differ ({list(value.shape)} and "
        f"{list(expected.shape)})")
    scale = max(1.0, float(expected.abs().max()))
    error = float((value - expected).abs().max()) / scale
    # Not the other way round: NaN must fail.
    assert error <= atol, (f"{name}: largest difference {error:.3e} of scale "
                           f"{scale:.3e} is above {atol:.1e}")
