r"""Makes tensors of the arrays of frames and names the frame that is wrong."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from torch_sake.neighbors.lattice import build_lattice
from torch_sake.utils.bounds import MAX_LABEL, MAX_LENGTH
from torch_sake.utils.checks import MAX_ATOMIC_NUMBER
from torch_sake.utils.messages import one_line

# In any unit of length, lattice planes that are closer have no room for atoms:
MIN_HEIGHT = 0.01
# Of the arrays, beside their rows, which are those of atoms or of frames:
COLUMNS = {'pos': [3], 'force': [3], 'cell': [3, 3], 'pbc': [3],
           'stress': [3, 3]}
ATOMIC = ('z', 'pos', 'force')
# Of arrays in files, where atomic numbers take a byte:
INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Source(NamedTuple):
    r"""What messages call the frames: where they come from, and the number of
    the first of them there.
    """
    name: str
    first_frame: int = 0

    def __str__(self) -> str:
        return self.name

    def frame(self, index: int) -> str:
        return f'{self.name}, frame {self.first_frame + index}'


def to_tensor(source: Source | str, key: str, value: Any) -> Tensor:
    r"""Returns an array as a tensor, all but atomic numbers in float64."""
    try:
        # Python numbers are double precision to NumPy only.
        tensor = torch.as_tensor(value if isinstance(value, Tensor) else
                                 numpy.asarray(value))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{source}: '{key}' must be an array of numbers "
                        f"({one_line(str(error))})") from error
    # Both would become real numbers without a word.
    if tensor.is_complex() or (tensor.dtype == torch.bool and key != 'pbc'):
        raise TypeError(f"{source}: '{key}' must be an array of numbers "
                        f"(got {tensor.dtype})")
    if key == 'z' and tensor.dtype not in INTEGERS:
        raise TypeError(f"{source}: 'z' must be of integer type "
                        f"(got {tensor.dtype})")
    return tensor.long() if key == 'z' else tensor.double()


def find_unknown(values: Any) -> list[int]:
    r"""Returns the indices of the frames whose label is :obj:`None`, which
    stands for what is not known.
    """
    if not isinstance(values, (list, tuple)):
        return []
    return [index for index, value in enumerate(values) if value is None]


def check_infos(source: Source, infos: Sequence[Mapping[str, Any]] | None,
                num_frames: int) -> list[dict[str, Any]] | None:
    r"""Returns what else is known of each frame, as numbers and texts of
    Python, or :obj:`None` if there is nothing.
    """
    if infos is None:
        return None
    if len(infos) != num_frames:
        raise ValueError(f"{source}: 'infos' must be of {num_frames} frames "
                         f"(got {len(infos)})")
    out = []
    for index, info in enumerate(infos):
        if not isinstance(info, Mapping):
            raise TypeError(f"{source.frame(index)}: 'infos' must be "
                            f"dictionaries (got {type(info)})")
        out.append({key: value.item() if isinstance(value, numpy.generic) else
                    value for key, value in info.items()})
        for key, value in out[-1].items():
            if not isinstance(key, str) or not isinstance(
                    value, (str, int, float)):
                raise TypeError(f"{source.frame(index)}: 'infos' must be "
                                f"numbers and texts by name (got {key!r} of "
                                f"{type(value)})")
    return out if any(out) else None


def to_rows(source: Source, arrays: dict[str, Any],
            num_atoms: int | Tensor | None,
            num_frames: int) -> tuple[dict[str, Tensor], Tensor]:
    r"""Returns arrays of all atoms as tensors, the rows of one frame after
    those of another, and where the atoms of each frame begin.

    Shapes:
        - **output:** tensors :math:`(N, *)`, indices :math:`(M + 1)`
    """
    if num_atoms is None:
        z = arrays['z']
        if isinstance(z, Tensor) or getattr(z, 'ndim', 2) == 1:
            raise ValueError(f"{source}: 'z' must be a list with one array "
                             f"per frame where 'num_atoms' is not given")
        for key, value in arrays.items():
            if len(value) != num_frames:
                raise ValueError(f"{source}: '{key}' must hold one array per "
                                 f"energy, {num_frames} (got {len(value)})")
        num_atoms = torch.tensor([len(rows) for rows in z])
        arrays = {key: _concatenate(source, key, value, num_atoms.tolist())
                  for key, value in arrays.items()}
    slices = _to_slices(source, torch.as_tensor(num_atoms), num_frames)
    arrays = {key: to_tensor(source, key, value)
              for key, value in arrays.items()}
    for key, value in arrays.items():
        _check_shape(source, key, value, [int(slices[-1])])
    return arrays, slices


def _concatenate(source: Source, key: str, value: list[Any],
                 num_atoms: list[int]) -> Tensor:
    frames = []
    for index, (rows, number) in enumerate(zip(value, num_atoms)):
        where = source.frame(index)
        if key == 'force' and rows is None:
            rows = torch.zeros(number, 3)  # for now
        frames.append(_check_shape(where, key, to_tensor(where, key, rows),
                                   [number]))
    return torch.cat(frames)


def _to_slices(source: Source, num_atoms: Tensor, num_frames: int) -> Tensor:
    if num_atoms.dtype not in INTEGERS:
        raise TypeError(f"{source}: 'num_atoms' must be of integer type "
                        f"(got {num_atoms.dtype})")
    if num_atoms.dim() > 0:
        _check_shape(str(source), 'num_atoms', num_atoms, [num_frames])
    num_atoms = num_atoms.long().expand(num_frames)
    if (num_atoms < 1).any():
        index = int((num_atoms < 1).nonzero()[0])
        raise ValueError(f'{source.frame(index)}: There are no atoms')
    return torch.cat([num_atoms.new_zeros(1), num_atoms.cumsum(0)])


def _check_shape(where: Source | str, key: str, value: Tensor,
                 rows: list[int]) -> Tensor:
    expected = rows + COLUMNS.get(key, [])
    if list(value.shape) != expected:
        of_all = ' of all frames' if isinstance(where, Source) else ''
        raise ValueError(f"{where}: '{key}'{of_all} must have shape "
                         f"{expected} (got {list(value.shape)})")
    return value


def check_values(source: Source, arrays: dict[str, Tensor],
                 atom_slices: Tensor) -> None:
    r"""Raises an error that names the first frame with a wrong value."""
    for key, value in arrays.items():
        if key == 'z':
            right = (value >= 1) & (value <= MAX_ATOMIC_NUMBER)
            rule = f'lie between 1 and {MAX_ATOMIC_NUMBER}'
        else:
            limit = MAX_LENGTH if key == 'pos' else MAX_LABEL
            rows = value.reshape(len(value), -1)
            right = (rows.abs() <= limit).all(dim=1)
            rule = f'be finite and at most {limit:g}'
            if key == 'stress':
                right |= rows.isnan().all(dim=1)
                rule = (f'be finite, or all NaN if it is not known, and at '
                        f'most {limit:g}')
        if not right.all():
            index = row = int((~right).nonzero()[0])
            if key in ATOMIC:
                index = int(torch.searchsorted(atom_slices, row,
                                               right=True)) - 1
            raise ValueError(f"{source.frame(index)}: '{key}' must {rule} "
                             f"(got {value[row].tolist()})")


def check_cells(source: Source, num_frames: int, cell: Any, pbc: Any,
                stress: Any) -> dict[str, Tensor]:
    r"""Returns what there is of the three, as tensors."""
    if cell is None:
        for key, value in (('pbc', pbc), ('stress', stress)):
            if value is not None:
                raise ValueError(f"{source}: '{key}' needs a 'cell'")
        return {}
    given = {'cell': cell,
             'pbc': torch.ones(num_frames, 3) if pbc is None else pbc}
    if stress is not None:
        given['stress'] = stress
    arrays = {key: _check_shape(source, key, to_tensor(source, key, value),
                                [num_frames]) for key, value in given.items()}
    arrays['pbc'] = arrays['pbc'].bool()
    if stress is not None:
        stress = arrays.pop('stress')
        check_values(source, {'stress': stress}, stress)
        # Files have zeros for molecules, which are no labels.
        periodic = arrays['pbc'].any(dim=1)[:, None, None]
        stress = torch.where(periodic, stress, torch.nan)
        if not stress.isnan().flatten(1).any(dim=1).all():
            arrays['stress'] = stress
    _check_lattices(source, arrays['cell'], arrays['pbc'])
    return arrays


def _check_lattices(source: Source, cell: Tensor, pbc: Tensor,
                    first: int = 0) -> None:
    r"""Raises an error that names the first frame whose cell is wrong."""
    try:
        heights = build_lattice(cell, pbc).heights
        wrong = ~(heights >= MIN_HEIGHT).all(dim=1)
        if wrong.any():
            raise ValueError(f"'cell' must have lattice planes at least "
                             f"{MIN_HEIGHT:g} apart, the size of an atom (got "
                             f"{heights[wrong][0].tolist()} apart)")
    except ValueError as error:
        if len(cell) == 1:
            raise ValueError(f'{source.frame(first)}: {error}') from None
        for index in range(len(cell)):
            _check_lattices(source, cell[index:index + 1],
                            pbc[index:index + 1], index)
        raise
