r"""Makes tensors of the arrays of frames and names the frame that is wrong."""

from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from torch_sake.neighbors.lattice import build_lattice
from torch_sake.utils.bounds import MAX_LABEL, MAX_LENGTH
from torch_sake.utils.checks import MAX_ATOMIC_NUMBER
from torch_sake.utils.files import one_line

# In any unit of length, lattice planes that are closer have no room for atoms:
MIN_HEIGHT = 0.01
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


def count_atoms(source: Source, z: list[Any], num_frames: int) -> Tensor:
    r"""Returns the number of atoms of each frame, :math:`(M)`."""
    if isinstance(z, Tensor) or getattr(z, 'ndim', 2) == 1:
        raise ValueError(f"{source}: 'z' must be a list with one array per "
                         f"frame where 'num_atoms' is not given")
    if len(z) != num_frames:
        raise ValueError(f"{source}: 'z' must hold one array per energy, "
                         f"{num_frames} (got {len(z)})")
    return torch.tensor([len(rows) for rows in z])


def concatenate(source: Source, key: str, value: list[Any],
                num_atoms: Tensor) -> Tensor:
    r"""Returns the rows of all frames, one after the other."""
    if len(value) != len(num_atoms):
        raise ValueError(f"{source}: '{key}' must hold one array per energy, "
                         f"{len(num_atoms)} (got {len(value)})")
    frames = []
    for index, (rows, num) in enumerate(zip(value, num_atoms.tolist())):
        if key == 'force' and rows is None:
            raise ValueError(f"{source.frame(index)}: 'force' must be given "
                             f"for all frames or for none (got None)")
        rows = to_tensor(source.frame(index), key, rows)
        expected = [num] if key == 'z' else [num, 3]
        if list(rows.shape) != expected:
            raise ValueError(f"{source.frame(index)}: '{key}' must have "
                             f"shape {expected} (got {list(rows.shape)})")
        frames.append(rows)
    return torch.cat(frames)


def to_slices(source: Source, num_atoms: int | Tensor,
              num_frames: int) -> Tensor:
    r"""Returns where the atoms of each frame begin, :math:`(M + 1)`."""
    num_atoms = torch.as_tensor(num_atoms)
    if num_atoms.dtype not in INTEGERS:
        raise TypeError(f"{source}: 'num_atoms' must be of integer type "
                        f"(got {num_atoms.dtype})")
    if num_atoms.dim() > 0 and list(num_atoms.shape) != [num_frames]:
        raise ValueError(f"{source}: 'num_atoms' must have shape "
                         f"[{num_frames}] (got {list(num_atoms.shape)})")
    num_atoms = num_atoms.long().expand(num_frames)
    if (num_atoms < 1).any():
        index = int((num_atoms < 1).nonzero()[0])
        raise ValueError(f'{source.frame(index)}: There are no atoms')
    return torch.cat([num_atoms.new_zeros(1), num_atoms.cumsum(0)])


def check_shapes(source: Source, arrays: dict[str, Tensor],
                 num_atoms: int) -> None:
    r"""Raises an error if arrays have other shapes than :math:`(N)` of
    atomic numbers and :math:`(N, 3)` of all else.
    """
    for key, value in arrays.items():
        expected = [num_atoms] if key == 'z' else [num_atoms, 3]
        if list(value.shape) != expected:
            raise ValueError(f"{source}: '{key}' of all frames must have "
                             f"shape {expected} (got {list(value.shape)})")


def check_values(source: Source, arrays: dict[str, Tensor], energy: Tensor,
                 atom_slices: Tensor) -> None:
    r"""Raises an error that names the first frame with a wrong value."""
    for key, value in arrays.items():
        if key == 'z':
            wrong = (value < 1) | (value > MAX_ATOMIC_NUMBER)
            rule = f'lie between 1 and {MAX_ATOMIC_NUMBER}'
        else:
            limit = MAX_LENGTH if key == 'pos' else MAX_LABEL
            wrong = ~(value.abs() <= limit).all(dim=1)
            rule = f'be finite and at most {limit:g}'
        if wrong.any():
            atom = int(wrong.nonzero()[0])
            where = source.frame(_frame_of(atom, atom_slices))
            raise ValueError(f"{where}: '{key}' must {rule} "
                             f"(got {value[atom].tolist()})")
    wrong = ~(energy.abs() <= MAX_LABEL)
    if wrong.any():
        index = int(wrong.nonzero()[0])
        raise ValueError(f"{source.frame(index)}: 'energy' must be finite and "
                         f"at most {MAX_LABEL:g} (got {float(energy[index])})")


def check_cells(source: Source, num_frames: int, cell: Any, pbc: Any,
                stress: Any) -> dict[str, Tensor]:
    r"""Returns what there is of the three, as tensors."""
    if cell is None:
        for name, value in (('pbc', pbc), ('stress', stress)):
            if value is not None:
                raise ValueError(f"{source}: '{name}' needs a 'cell'")
        return {}
    arrays = {'cell': to_tensor(source, 'cell', cell)}
    if pbc is None:
        pbc = torch.ones(num_frames, 3)
    arrays['pbc'] = to_tensor(source, 'pbc', pbc).bool()
    if stress is not None:
        arrays['stress'] = to_tensor(source, 'stress', stress)
    for name, value in arrays.items():
        expected = [num_frames, 3] if name == 'pbc' else [num_frames, 3, 3]
        if list(value.shape) != expected:
            raise ValueError(f"{source}: '{name}' of all frames must have "
                             f"shape {expected} (got {list(value.shape)})")
    if stress is not None:
        numbers = arrays['stress'].flatten(1)
        wrong = ~((numbers.abs() <= MAX_LABEL).all(dim=1)
                  | numbers.isnan().all(dim=1))
        if wrong.any():
            index = int(wrong.nonzero()[0])
            raise ValueError(f"{source.frame(index)}: 'stress' must be "
                             f"finite, or all NaN if it is not known, and at "
                             f"most {MAX_LABEL:g} "
                             f"(got {arrays['stress'][index].tolist()})")
        # Files have zeros for molecules, which are no labels.
        arrays['stress'] = torch.where(arrays['pbc'].any(dim=1)[:, None, None],
                                       arrays['stress'], torch.nan)
        if arrays['stress'].isnan().any(dim=2).any(dim=1).all():
            del arrays['stress']
    try:
        _check_lattice(arrays['cell'], arrays['pbc'])
    except ValueError:
        _name_frame(source, arrays['cell'], arrays['pbc'])
        raise
    return arrays


def _check_lattice(cell: Tensor, pbc: Tensor) -> None:
    heights = build_lattice(cell, pbc).heights
    wrong = ~(heights >= MIN_HEIGHT).all(dim=1)
    if wrong.any():
        index = int(wrong.nonzero()[0])
        raise ValueError(f"'cell' must have lattice planes at least "
                         f"{MIN_HEIGHT:g} apart, the size of an atom (got "
                         f"{heights[index].tolist()} apart)")


def _name_frame(source: Source, cell: Tensor, pbc: Tensor) -> None:
    r"""Raises the error of the first frame whose cell is wrong."""
    for index in range(cell.size(0)):
        try:
            _check_lattice(cell[index:index + 1], pbc[index:index + 1])
        except ValueError as error:
            raise ValueError(f'{source.frame(index)}: {error}') from None


def _frame_of(atom: int, atom_slices: Tensor) -> int:
    return int(torch.searchsorted(atom_slices, atom, right=True)) - 1
