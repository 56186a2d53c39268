from collections.abc import Callable

import torch
from torch import Tensor

Outputs = tuple[Tensor | None, Tensor | None, Tensor | None]


def assert_close(name: str, value: Tensor | None,
                 expected: Tensor | None, atol: float) -> None:
    r"""Asserts that two tensors differ by :obj:`atol` at most, in units of
    the largest expected value if this is above 1.

    Raises:
        AssertionError: If they do not, naming what was compared.
    """
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
    hint = '' if value.dtype == torch.double else f' (in {value.dtype})'
    assert error <= atol, (f"{name}: largest difference {error:.3e} of scale "
                           f"{scale:.3e} is above {atol:.1e}{hint}")


def assert_outputs(kind: str, outputs: Outputs, expected: Outputs,
                   atol: float) -> None:
    r"""Asserts that energies, forces and stresses are those expected."""
    for name, value, other in zip(('energy', 'forces', 'stress'), outputs,
                                  expected):
        assert_close(f"'{name}' {kind}", value, other, atol)


def call(potential: Callable, z: Tensor, pos: Tensor,
         batch: Tensor | None = None, cell: Tensor | None = None,
         pbc: Tensor | None = None,
         compute_stress: bool = False) -> Outputs:
    r"""Calls a potential, which need not know of cells if there is none."""
    if cell is None and pbc is None:
        return potential(z, pos, batch)
    if not compute_stress:
        return potential(z, pos, batch, cell, pbc)
    return potential(z, pos, batch, cell, pbc, compute_stress=True)


def have_volume(cell: Tensor | None) -> bool:
    r"""Returns whether stresses can be asked for: there are cells and all of
    them, but the zeros of molecules, have a volume.
    """
    if cell is None:
        return False
    cell = cell.view(-1, 3, 3)
    cell = cell[(cell != 0).flatten(1).any(dim=1)]
    size = cell.norm(dim=2).prod(dim=1)
    return cell.size(0) > 0 and bool(
        (torch.linalg.det(cell).abs() > 1e-6 * size).all())
