from typing import Any

import numpy
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.datasets.frames.frame_arrays import (
    Source,
    check_cells,
    check_values,
    to_rows,
    to_tensor,
)
from torch_sake.datasets.frames.split import Split
from torch_sake.models.readout import READOUTS
from torch_sake.utils.plain_checks import check_option

# What of a frame is no label:
STRUCTURE = ('z', 'pos', 'cell', 'pbc')


class LabeledFrames:
    r"""What frames in memory and those on disk have in common."""
    units: dict[str, str]
    source: str
    test_start: int | None
    split_seed: int | None
    splits: dict[str, Split]

    @property
    def label(self) -> str:
        r"""The name of what the frames are labeled with."""
        return label_name(self.units)

    def index_select(self, idx: Any) -> Any:
        frames = super().index_select(idx)  # type: ignore[misc]
        frames.test_start = frames.split_seed = None
        frames.splits = {}
        return frames

    def __repr__(self) -> str:
        return (f"{self.__class__.__name__}({len(self)}, "
                f"source='{self.source}')")


class Frames(LabeledFrames, InMemoryDataset):
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
            wants to shrink; NaN where it is not known, as that of a molecule
            always is.
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
        z: list[Any] | Tensor,
        pos: list[Any] | Tensor,
        energy: list[Any] | Tensor,
        force: list[Any] | Tensor | None = None,
        num_atoms: int | Tensor | None = None,
        cell: list[Any] | Tensor | None = None,
        pbc: list[Any] | Tensor | None = None,
        stress: list[Any] | Tensor | None = None,
        *,
        name: str,
        units: dict[str, str],
        source: str,
        test_start: int | None = None,
        first_frame: int = 0,
        readout: str = 'add',
        split_seed: int | None = None,
    ):
        super().__init__()
        if len(units) != 2 or 'length' not in units:
            raise ValueError(f"'units' must have the keys 'length' and "
                             f"'energy', or another label (got {units})")
        self.name = name
        self.units = dict(units)
        self.source = source
        self.test_start = test_start
        self.splits = {}
        self.split_seed = split_seed
        self.readout = check_option('readout', readout, READOUTS)
        if self.label != 'energy':
            for key, value in (('force', force), ('cell', cell)):
                if value is not None:
                    raise ValueError(f"'{key}' must not be given for frames "
                                     f"labeled with '{self.label}'")

        source = Source(source, first_frame)
        energy = to_tensor(source, 'energy', energy).reshape(-1)
        num_frames = energy.numel()
        if num_frames == 0:
            raise ValueError(f'{source}: There are no frames')
        arrays = {'z': z, 'pos': pos}
        if force is not None:
            arrays['force'] = force
        arrays, atom_slices = to_rows(source, arrays, num_atoms, num_frames)
        check_values(source, {**arrays, 'energy': energy}, atom_slices)
        if test_start is not None and not 0 < test_start < num_frames:
            raise ValueError(f"'test_start' must lie between 1 and "
                             f"{num_frames - 1} (got {test_start})")

        per_frame = {self.label: energy,
                     **check_cells(source, num_frames, cell, pbc, stress)}
        self._data = Data(**per_frame, **arrays)
        self.slices = {
            **dict.fromkeys(per_frame, torch.arange(num_frames + 1)),
            **dict.fromkeys(arrays, atom_slices),
        }

    @property
    def has_forces(self) -> bool:
        r"""Whether the frames are labeled with forces."""
        return 'force' in self._data

    @property
    def has_stress(self) -> bool:
        r"""Whether the stress of any frame is known."""
        return 'stress' in self._data

    @property
    def elements(self) -> list[int]:
        r"""The atomic numbers that there are in the data, ascending."""
        return self._data.z.unique().tolist()

    @property
    def num_atoms(self) -> Tensor:
        r"""The number of atoms of each frame."""
        return self.slices['z'].diff()[torch.as_tensor(self.indices())]

    def copy(self, idx: Any | None = None) -> 'Frames':
        if idx is not None:
            return self.index_select(idx).copy()
        return super().copy()


def molecule_frames(z: Any, pos: Any, energy: Any, force: Any,
                    **about: Any) -> Frames:
    r"""Returns the frames of one molecule.

    Shapes:
        - **input:** atomic numbers :math:`(n)`, positions :math:`(M, n, 3)`,
          energies :math:`(M)`, forces :math:`(M, n, 3)`
    """
    return Frames(numpy.tile(z, len(pos)), pos.reshape(-1, 3), energy,
                  force.reshape(-1, 3), num_atoms=len(z), **about)


def label_name(units: dict[str, str]) -> str:
    r"""Returns what has the unit that is not that of lengths."""
    name, = set(units) - {'length'}
    return name
