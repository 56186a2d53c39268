from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import numpy
import torch
from torch import Tensor
from torch_geometric.data import Data, InMemoryDataset

from torch_sake.datasets.frames.frame_arrays import (
    ATOMIC,
    Source,
    check_cells,
    check_infos,
    check_values,
    find_unknown,
    to_rows,
    to_tensor,
)
from torch_sake.datasets.frames.labeled_frames import LabeledFrames
from torch_sake.models.readout import READOUTS
from torch_sake.utils.plain_checks import check_option


class Frames(LabeledFrames, InMemoryDataset):
    r"""Structures labeled with energies, forces and stresses, as far as these
    are known, in memory.

    Each frame is a :class:`~torch_geometric.data.Data` object with the
    attribute names of :class:`~torch_geometric.datasets.MD17`: :obj:`z`
    (:obj:`[n]`, integer), :obj:`pos` (:obj:`[n, 3]`), :obj:`energy`
    (:obj:`[1]`) and :obj:`force` (:obj:`[n, 3]`), the latter three in double
    precision: total energies are large numbers of which a small part matters.
    Energies and forces that are not known are NaN. Where no forces are known,
    there is no :obj:`force`. If any frame is periodic, all have :obj:`cell`
    (:obj:`[1, 3, 3]`, zero for molecules) and :obj:`pbc` (:obj:`[1, 3]`), and
    if the stress of any is known, all have :obj:`stress` (:obj:`[1, 3, 3]`,
    NaN where it is not known).

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
            with, one per frame; :obj:`None` in a list where it is not known.
        force (list or torch.Tensor, optional): Forces, one array
            :obj:`[n, 3]` per frame, :obj:`None` where they are not known, or
            :obj:`[N, 3]`. (default: :obj:`None`)
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
        infos ([dict], optional): What else is known of each frame, as numbers
            and texts by their names, such as :obj:`'config_type'`.
            (default: :obj:`None`)

    Raises:
        TypeError: If atomic numbers are not integers.
        ValueError: If shapes do not fit together, a number is not finite or an
            atomic number is outside of 1 to 118.
    """
    is_in_memory = True

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
        infos: Sequence[Mapping[str, Any]] | None = None,
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

        self.entries = {}
        self._numbers = None
        self._first_frame = first_frame
        source = Source(source, first_frame)
        no_energy, no_force = find_unknown(energy), find_unknown(force)
        if no_energy:
            energy = [0.0 if one is None else one for one in energy]
        if no_force and len(no_force) == len(energy):
            force, no_force = None, []
        energy = to_tensor(source, 'energy', energy).reshape(-1)
        num_frames = energy.numel()
        if num_frames == 0:
            raise ValueError(f'{source}: There are no frames')
        self._infos = check_infos(source, infos, num_frames)
        arrays = {'z': z, 'pos': pos}
        if force is not None:
            arrays['force'] = force
        arrays, atom_slices = to_rows(source, arrays, num_atoms, num_frames)
        check_values(source, {**arrays, 'energy': energy}, atom_slices)
        energy[no_energy] = torch.nan
        for index in no_force:
            arrays['force'][atom_slices[index]:atom_slices[index + 1]] = (
                torch.nan)
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
        r"""Whether the forces of any frame are known."""
        return 'force' in self._data

    @property
    def has_stress(self) -> bool:
        r"""Whether the stress of any frame is known."""
        return 'stress' in self._data

    @property
    def has_cells(self) -> bool:
        r"""Whether frames have cells, of zeros for molecules."""
        return 'cell' in self._data

    @property
    def has_infos(self) -> bool:
        r"""Whether anything else is known of any frame."""
        return self._infos is not None

    def info(self, index: int) -> dict[str, Any]:
        r"""Returns what else is known of a frame, such as its
        :obj:`'config_type'`.
        """
        infos = self._infos
        return {} if infos is None else dict(infos[self.indices()[index]])

    def mentions(self, name: str) -> bool:
        r"""Returns whether an entry of this name is known of any frame of the
        source.
        """
        return any(name in info for info in self._infos or ())

    def origin(self, index: int) -> tuple[str, int]:
        r"""Returns where a frame comes from, and its number there."""
        number = int(self.indices()[index])
        if self._numbers is not None:
            number = self._numbers[number]
        return self.source, self._first_frame + number

    def known(self, name: str) -> Tensor:
        r"""Returns whether a label of each frame is known: its energy (or
        what it is labeled with), :obj:`"force"` or :obj:`"stress"`.

        Shapes:
            - **output:** :math:`(M)`
        """
        if name not in self._data:
            return torch.zeros(len(self), dtype=torch.bool)
        value = self._data[name]
        known = ~value.reshape(len(value), -1)[:, 0].isnan()
        if name in ATOMIC:
            known = known[self.slices['z'][:-1]]
        return known[self._index]

    @property
    def elements(self) -> list[int]:
        r"""The atomic numbers that there are in the data, ascending."""
        return self._data.z.unique().tolist()

    @property
    def num_atoms(self) -> Tensor:
        r"""The number of atoms of each frame."""
        return self.slices['z'].diff()[self._index]

    def get(self, idx: int) -> Data:
        return self._add_entries(super().get(idx), idx)

    def _multiply(self, factors: dict[str, float]) -> None:
        self._data, self._data_list = copy(self._data), None
        for key, factor in factors.items():
            if key in self._data:
                self._data[key] = factor * self._data[key]

    def copy(self, idx: Any | None = None) -> 'Frames':
        if idx is not None:
            return self.index_select(idx).copy()
        bare = copy(self)  # or entries would be there as labels are
        bare.entries = {}
        frames = super(Frames, bare).copy()
        frames.entries = {name: values[self._index]
                          for name, values in self.entries.items()}
        if frames.slices is None:  # PyG keeps none of a single frame
            frames.slices = {key: torch.tensor([0, value.size(0)])
                             for key, value in frames._data}
        if self._infos is not None:
            frames._infos = [self._infos[index] for index in self.indices()]
        frames._numbers = [index if self._numbers is None else
                           self._numbers[index] for index in self.indices()]
        return frames


def molecule_frames(z: Any, pos: Any, energy: Any, force: Any,
                    **about: Any) -> Frames:
    r"""Returns the frames of one molecule.

    Shapes:
        - **input:** atomic numbers :math:`(n)`, positions :math:`(M, n, 3)`,
          energies :math:`(M)`, forces :math:`(M, n, 3)`
    """
    return Frames(numpy.tile(z, len(pos)), pos.reshape(-1, 3), energy,
                  force.reshape(-1, 3), num_atoms=len(z), **about)
