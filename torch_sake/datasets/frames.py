from typing import Any, Dict, List, NamedTuple, Optional, Union

import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.checks import INTEGERS, check_option
from torch_sake.datasets.split import Split
from torch_sake.models.readout import READOUTS
from torch_sake.neighbors.lattice import build_lattice


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


class Frames(InMemoryDataset):
    r"""Structures labeled with energies and, if these are known, forces and
    stresses, in memory.

    Each frame is a :class:`~torch_geometric.data.Data` object with the
    attribute names of :class:`~torch_geometric.datasets.MD17`: :obj:`z`
    (:obj:`[n]`, integer), :obj:`pos` (:obj:`[n, 3]`), :obj:`energy`
    (:obj:`[1]`) and :obj:`force` (:obj:`[n, 3]`), the latter three in double
    precision: total energies are large numbers of which a small part matters.
    Without forces there is no :obj:`force`. If any frame is periodic, all have
    :obj:`cell` (:obj:`[1, 3, 3]`, zero for molecules) and :obj:`pbc`
    (:obj:`[1, 3]`), and if the stress of any is known, all have :obj:`stress`
    (:obj:`[1, 3, 3]`, NaN where it is not known).

    Frames may be labeled with another property than an energy. Its name, the
    :obj:`label` of the frames, is then a key of :obj:`units` and an attribute
    of each frame in the place of :obj:`energy`.

    Splits that the data are published with are in :obj:`splits`, by their
    names. A selection of frames has none.

    .. code-block:: python

        frames = Frames(z=[z0, z1], pos=[pos0, pos1], energy=[e0, e1],
                        force=[force0, force1], name='dimers',
                        units={'length': 'Angstrom', 'energy': 'eV'},
                        source='dimers.xyz')
        frames[0]    # Data
        frames[:1]   # Frames

    Args:
        z (list or torch.Tensor): Atomic numbers, either one array :obj:`[n]`
            per frame or, together with :obj:`num_atoms`, those of all frames
            one after the other, :obj:`[N]`.
        pos (list or torch.Tensor): Positions, one array :obj:`[n, 3]` per
            frame or :obj:`[N, 3]`.
        energy (list or torch.Tensor): Energies, or what the frames are labeled
            with, one per frame.
        force (list or torch.Tensor, optional): Forces, one array
            :obj:`[n, 3]` per frame or :obj:`[N, 3]`, of all frames or of none.
            (default: :obj:`None`)
        num_atoms (int or torch.Tensor, optional): Number of atoms of every
            frame, or of each frame. Needed if arrays are given as one tensor.
            (default: :obj:`None`)
        cell (list or torch.Tensor, optional): Lattice vectors of each frame,
            as rows, :obj:`[M, 3, 3]`. (default: :obj:`None`)
        pbc (list or torch.Tensor, optional): Whether each of them is periodic,
            :obj:`[M, 3]`; all if not given. (default: :obj:`None`)
        stress (list or torch.Tensor, optional): Stress of each frame,
            :obj:`[M, 3, 3]`, in energy per volume, positive where the cell
            wants to shrink; NaN where it is not known.
            (default: :obj:`None`)
        name (str): Short name of the data.
        units (dict): Names of the units, with the keys :obj:`'length'` and
            :obj:`'energy'` (or the name of another property). Forces are in
            energy per length, stresses in energy per length cubed.
        source (str): Where the data come from, as the user asked for it.
        test_start (int, optional): Index of the first frame of a pre-defined
            test set, which extends to the last frame. A selection of frames
            has none. (default: :obj:`None`)
        first_frame (int, optional): Number of the first frame in the source,
            of which these are a part, for the messages of errors.
            (default: :obj:`0`)
        readout (str, optional): How atoms make up the property, see
            :class:`~torch_sake.Property`. (default: :obj:`"add"`)
        split_seed (int, optional): The seed of the published random split, in
            the place of that of a run. (default: :obj:`None`)

    Raises:
        TypeError: If atomic numbers are not integers.
        ValueError: If shapes do not fit together, a number is not finite or an
            atomic number is outside of 1 to 118.
    """
    def __init__(
        self,
        z: Union[List[Any], Tensor],
        pos: Union[List[Any], Tensor],
        energy: Union[List[Any], Tensor],
        force: Union[List[Any], Tensor, None] = None,
        num_atoms: Union[int, Tensor, None] = None,
        cell: Union[List[Any], Tensor, None] = None,
        pbc: Union[List[Any], Tensor, None] = None,
        stress: Union[List[Any], Tensor, None] = None,
        *,
        name: str,
        units: Dict[str, str],
        source: str,
        test_start: Optional[int] = None,
        first_frame: int = 0,
        readout: str = 'add',
        split_seed: Optional[int] = None,
    ):
        super().__init__()
        if len(units) != 2 or 'length' not in units:
            raise ValueError(f"'units' must have the keys 'length' and "
                             f"'energy', or another label (got {units})")
        self.name = name
        self.units = dict(units)
        self.source = source
        self.test_start = test_start
        self.splits: Dict[str, Split] = {}
        self.split_seed = split_seed
        self.readout = check_option('readout', readout, READOUTS)
        if self.label != 'energy':
            for key, value in (('force', force), ('cell', cell)):
                if value is not None:
                    raise ValueError(f"'{key}' must not be given for frames "
                                     f"labeled with '{self.label}'")

        source = Source(source, first_frame)
        energy = _to_tensor(source, 'energy', energy).reshape(-1)
        num_frames = energy.numel()
        if num_frames == 0:
            raise ValueError(f'{source}: There are no frames')
        arrays = {'z': z, 'pos': pos}
        if force is not None:
            arrays['force'] = force
        if num_atoms is None:
            num_atoms = _count_atoms(source, z, num_frames)
            arrays = {key: _concatenate(source, key, value, num_atoms)
                      for key, value in arrays.items()}
        arrays = {key: _to_tensor(source, key, value)
                  for key, value in arrays.items()}
        atom_slices = _to_slices(source, num_atoms, num_frames)
        _check_shapes(source, arrays, num_atoms=int(atom_slices[-1]))
        _check_values(source, arrays, energy, atom_slices)
        if test_start is not None and not 0 < test_start < num_frames:
            raise ValueError(f"'test_start' must lie between 1 and "
                             f"{num_frames - 1} (got {test_start})")

        per_frame = {self.label: energy,
                     **_check_cells(source, num_frames, cell, pbc, stress)}
        self._data = Data(**per_frame, **arrays)
        self.slices = {
            **dict.fromkeys(per_frame, torch.arange(num_frames + 1)),
            **dict.fromkeys(arrays, atom_slices),
        }

    @property
    def label(self) -> str:
        r"""The name of what the frames are labeled with."""
        return label_name(self.units)

    @property
    def has_forces(self) -> bool:
        r"""Whether the frames are labeled with forces."""
        return 'force' in self._data

    @property
    def has_stress(self) -> bool:
        r"""Whether the stress of any frame is known."""
        return 'stress' in self._data

    @property
    def num_atoms(self) -> Tensor:
        r"""The number of atoms of each frame."""
        return self.slices['z'].diff()[torch.as_tensor(self.indices())]

    def index_select(self, idx: Any) -> 'Frames':
        frames = super().index_select(idx)
        frames.test_start = frames.split_seed = None
        frames.splits = {}
        return frames

    def copy(self, idx: Optional[Any] = None) -> 'Frames':
        if idx is not None:
            return self.index_select(idx).copy()
        return super().copy()

    def __repr__(self) -> str:
        return (f"{self.__class__.__name__}({len(self)}, "
                f"source='{self.source}')")


def label_name(units: Dict[str, str]) -> str:
    r"""Returns what has the unit that is not that of lengths."""
    name, = set(units) - {'length'}
    return name


def _to_tensor(source: Union[Source, str], key: str, value: Any) -> Tensor:
    # Python numbers would become single precision without a type.
    dtype = None if key == 'z' else torch.float64
    try:
        tensor = torch.as_tensor(value, dtype=dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{source}: '{key}' must be an array of numbers "
                        f"({error})") from error
    if key == 'z' and tensor.dtype not in INTEGERS:
        raise TypeError(f"{source}: 'z' must be of integer type "
                        f"(got {tensor.dtype})")
    return tensor.long() if key == 'z' else tensor


def _count_atoms(source: Source, z: List[Any], num_frames: int) -> Tensor:
    if isinstance(z, Tensor) or getattr(z, 'ndim', 2) == 1:
        raise ValueError(f"{source}: 'z' must be a list with one array per "
                         f"frame where 'num_atoms' is not given")
    if len(z) != num_frames:
        raise ValueError(f"{source}: 'z' must hold one array per energy, "
                         f"{num_frames} (got {len(z)})")
    return torch.tensor([len(rows) for rows in z])


def _concatenate(source: Source, key: str, value: List[Any],
                 num_atoms: Tensor) -> Tensor:
    if len(value) != len(num_atoms):
        raise ValueError(f"{source}: '{key}' must hold one array per energy, "
                         f"{len(num_atoms)} (got {len(value)})")
    frames = []
    for index, (rows, num) in enumerate(zip(value, num_atoms.tolist())):
        if key == 'force' and rows is None:
            raise ValueError(f"{source.frame(index)}: 'force' must be given "
                             f"for all frames or for none (got None)")
        rows = _to_tensor(source.frame(index), key, rows)
        expected = [num] if key == 'z' else [num, 3]
        if list(rows.shape) != expected:
            raise ValueError(f"{source.frame(index)}: '{key}' must have "
                             f"shape {expected} (got {list(rows.shape)})")
        frames.append(rows)
    return torch.cat(frames)


def _to_slices(source: Source, num_atoms: Union[int, Tensor],
               num_frames: int) -> Tensor:
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


def _check_shapes(source: Source, arrays: Dict[str, Tensor],
                  num_atoms: int) -> None:
    for key, value in arrays.items():
        expected = [num_atoms] if key == 'z' else [num_atoms, 3]
        if list(value.shape) != expected:
            raise ValueError(f"{source}: '{key}' of all frames must have "
                             f"shape {expected} (got {list(value.shape)})")


def _check_values(source: Source, arrays: Dict[str, Tensor], energy: Tensor,
                  atom_slices: Tensor) -> None:
    for key, value in arrays.items():
        if key == 'z':
            wrong, rule = (value < 1) | (value > 118), 'lie between 1 and 118'
        else:
            wrong, rule = ~value.isfinite().all(dim=1), 'be finite'
        if wrong.any():
            atom = int(wrong.nonzero()[0])
            where = source.frame(_frame_of(atom, atom_slices))
            raise ValueError(f"{where}: '{key}' must {rule} "
                             f"(got {value[atom].tolist()})")
    if not energy.isfinite().all():
        index = int((~energy.isfinite()).nonzero()[0])
        raise ValueError(f"{source.frame(index)}: 'energy' must be finite "
                         f"(got {float(energy[index])})")


def _check_cells(source: Source, num_frames: int, cell: Any, pbc: Any,
                 stress: Any) -> Dict[str, Tensor]:
    r"""Returns what there is of the three, as tensors."""
    if cell is None:
        for name, value in (('pbc', pbc), ('stress', stress)):
            if value is not None:
                raise ValueError(f"{source}: '{name}' needs a 'cell'")
        return {}
    arrays = {'cell': _to_tensor(source, 'cell', cell)}
    if pbc is None:
        pbc = torch.ones(num_frames, 3)
    arrays['pbc'] = _to_tensor(source, 'pbc', pbc).bool()
    if stress is not None:
        arrays['stress'] = _to_tensor(source, 'stress', stress)
    for name, value in arrays.items():
        expected = [num_frames, 3] if name == 'pbc' else [num_frames, 3, 3]
        if list(value.shape) != expected:
            raise ValueError(f"{source}: '{name}' of all frames must have "
                             f"shape {expected} (got {list(value.shape)})")
    try:
        build_lattice(arrays['cell'], arrays['pbc'])
    except ValueError:
        _name_frame(source, arrays['cell'], arrays['pbc'])
        raise
    return arrays


def _name_frame(source: Source, cell: Tensor, pbc: Tensor) -> None:
    r"""Raises the error of the first frame whose cell is wrong."""
    for index in range(cell.size(0)):
        try:
            build_lattice(cell[index:index + 1], pbc[index:index + 1])
        except ValueError as error:
            raise ValueError(f'{source.frame(index)}: {error}') from None


def _frame_of(atom: int, atom_slices: Tensor) -> int:
    return int(torch.searchsorted(atom_slices, atom, right=True)) - 1
