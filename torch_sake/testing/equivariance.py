from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from torch_sake.neighbors.lattice import check_cell
from torch_sake.testing.compare import (
    Outputs,
    assert_close,
    assert_outputs,
    call,
    have_volume,
)


def random_orthogonal(num_dimensions: int,
                      generator: torch.Generator | None = None,
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
    function: Callable[[Tensor, Tensor | None], Outputs],
    pos: Tensor,
    vel: Tensor | None = None,
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
        AssertionError: If an output does not follow, naming it, or if there
            is none.
    """
    scalars, points, vectors = function(pos, vel)
    assert any(output is not None for output in (scalars, points, vectors)), (
        "'function' must return scalars, points or vectors (got none)")
    for kind, q, t in _transformations(pos, seed):
        outputs = function(pos @ q + t, None if vel is None else vel @ q)
        for name, value, expected in zip(
            ('scalars', 'points', 'vectors'), outputs,
            (scalars, None if points is None else points @ q + t,
             None if vectors is None else vectors @ q)):
            assert_close(f"'{name}' under {kind}", value, expected, atol)


def assert_equivariant_forces(potential: Callable, z: Tensor, pos: Tensor,
                              batch: Tensor | None = None,
                              cell: Tensor | None = None,
                              pbc: Tensor | None = None,
                              atol: float = 1e-10, seed: int = 0) -> None:
    r"""Asserts that energies of a :class:`~torch_sake.Potential` do not
    change under rotations, reflections and translations, that forces turn
    along, and that both follow a permutation of the atoms.

    Cells turn along, too. Atoms may then be replaced by any of their periodic
    images, and stresses follow, if all cells have a volume.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        z, pos, batch, cell, pbc (torch.Tensor): As for
            :func:`assert_forces_match_energy`.
        atol, seed (optional): As for :func:`assert_equivariant`.

    Raises:
        AssertionError: If an output does not follow, naming it.
    """
    compute_stress = have_volume(cell)

    def check(kind: str, expected: Outputs, *inputs: Tensor | None) -> None:
        outputs = call(potential, *inputs, compute_stress)
        assert_outputs(f'under {kind}', outputs, expected, atol)

    energy, forces, stress = call(potential, z, pos, batch, cell, pbc,
                                  compute_stress)
    for kind, q, t in _transformations(pos, seed):
        turned = None if stress is None else q.t() @ stress @ q
        check(kind, (energy, forces @ q, turned), z, pos @ q + t, batch,
              None if cell is None else cell @ q, pbc)
    generator = torch.Generator().manual_seed(seed)
    for order in (torch.arange(z.numel()).flip(0),
                  torch.randperm(z.numel(), generator=generator)):
        order = order.to(z.device)
        check('a permutation', (energy, forces[order], stress), z[order],
              pos[order], None if batch is None else batch[order], cell, pbc)
    if cell is not None:
        cells, periodic = check_cell(cell, pbc, None, pos)
        graph = torch.zeros_like(z) if batch is None else batch
        images = torch.randint(-2, 3, pos.shape, generator=generator).to(pos)
        images = images * periodic[graph]
        moved = pos + torch.einsum('nk,nkd->nd', images, cells[graph])
        check('a move to periodic images', (energy, forces, stress), z, moved,
              batch, cell, pbc)


def _transformations(pos: Tensor,
                     seed: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    for reflection in (False, True):
        q = random_orthogonal(pos.size(-1), generator, reflection).to(pos)
        t = torch.randn(pos.size(-1), generator=generator,
                        dtype=torch.double).to(pos)
        kind = 'a rotation and reflection' if reflection else 'a rotation'
        yield f'{kind} and a translation', q, t
