import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from torch_sake.datasets import Frames
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.utils.units import check_units

ON_DISK = 20_000  # frames that are read


@dataclass
class Sample:
    r"""The frames to look at, one after the other, in eV and Angstrom if
    their units are what they are said to be.

    Shapes:
        - **numbers:** of the frames in the data :math:`(M)`
        - **z:** :math:`(N)`, **pos:** :math:`(N, 3)`
        - **ptr:** where the atoms of each frame begin :math:`(M + 1)`
        - **energy:** NaN where it is not known :math:`(M)`
        - **force:** :math:`(N, 3)` or :obj:`None`
        - **cell**, **stress:** :math:`(M, 3, 3)` or :obj:`None`
        - **pbc:** :math:`(M, 3)`
    """
    numbers: Tensor
    z: Tensor
    pos: Tensor
    ptr: Tensor
    energy: Tensor
    force: Tensor | None
    cell: Tensor | None
    pbc: Tensor
    stress: Tensor | None
    units: dict[str, str]
    info: Callable[[int], dict[str, Any]]
    origin: Callable[[int], tuple[str, int]]

    @classmethod
    def of(cls, frames: AnyFrames, number: int = ON_DISK) -> 'Sample':
        r"""Returns all frames in memory, or about as many of a file as given,
        at equal distances.
        """
        in_memory = isinstance(frames, Frames)
        step = 1 if in_memory else math.ceil(len(frames) / number)
        chosen = frames[::step] if step > 1 else frames
        columns = (_columns(chosen) if in_memory else _read(chosen))
        length, energy = check_units(frames.units)
        factors = {'pos': length, 'cell': length, 'energy': energy,
                   'force': energy / length, 'stress': energy / length**3}
        for key, factor in factors.items():
            if columns.get(key) is not None and factor != 1:
                columns[key] = columns[key] * factor
        num_frames = columns['energy'].numel()
        if columns.get('pbc') is None:
            columns['pbc'] = torch.zeros(num_frames, 3, dtype=torch.bool)
        return cls(torch.arange(0, len(frames), step), units=frames.units,
                   info=frames.info, origin=frames.origin, **columns)

    def __len__(self) -> int:
        return self.energy.numel()

    @cached_property
    def sizes(self) -> Tensor:
        r"""The number of atoms of each frame."""
        return self.ptr.diff()

    @cached_property
    def batch(self) -> Tensor:
        r"""The frame of each atom."""
        return torch.arange(len(self)).repeat_interleave(self.sizes)

    def name_beside(self, place: int, other: int) -> str:
        r"""Returns what a frame is called beside another one."""
        (source, number), (beside, _) = (
            self.origin(int(self.numbers[index])) for index in (place, other))
        name = f'frame {number}'
        return name if source == beside else f'{source}, {name}'

    @cached_property
    def is_alone(self) -> Tensor:
        r"""Whether a frame is one atom that has no images, or is said to be
        isolated in its cell.
        """
        alone = self.sizes == 1
        for index in (alone & self.pbc.any(dim=1)).nonzero()[:, 0].tolist():
            kind = self.info(int(self.numbers[index])).get('config_type', '')
            alone[index] = 'isolated' in str(kind).lower()
        return alone

    def per_frame(self, values: Tensor, reduce: str = 'amax') -> Tensor:
        r"""Returns the largest (or another) value of the atoms of a frame.

        Shapes:
            - **input:** :math:`(N)`
            - **output:** :math:`(M)`
        """
        start = -torch.inf if reduce == 'amax' else torch.inf
        return values.new_full((len(self), ), start).scatter_reduce(
            0, self.batch, values, reduce)

    def atoms_of(self, frames: Tensor) -> Tensor:
        r"""Returns the atoms of frames, one frame after the other."""
        sizes = self.sizes[frames]
        first = self.ptr[frames] - (sizes.cumsum(0) - sizes)
        return torch.arange(int(sizes.sum())) + first.repeat_interleave(sizes)

    def select(self, frames: Tensor) -> 'Sample':
        r"""Returns some of the frames, given by their places here."""
        atoms = self.atoms_of(frames)
        sizes = self.sizes[frames]
        ptr = torch.cat([sizes.new_zeros(1), sizes.cumsum(0)])

        def of(value: Tensor | None, rows: Tensor) -> Any:
            return None if value is None else value[rows]
        return replace(
            self, numbers=self.numbers[frames], ptr=ptr, z=self.z[atoms],
            pos=self.pos[atoms], force=of(self.force, atoms),
            energy=self.energy[frames], pbc=self.pbc[frames],
            cell=of(self.cell, frames), stress=of(self.stress, frames))

    def some(self, max_atoms: int) -> 'Sample':
        r"""Returns frames at equal distances that have about as many atoms, or
        all frames.
        """
        step = math.ceil(self.z.numel() / max_atoms)
        return self if step == 1 else self.select(
            torch.arange(0, len(self), step))


def _columns(frames: Frames) -> dict[str, Any]:
    if frames._indices is not None:
        frames = frames.copy()
    data = frames._data
    return {'ptr': frames.slices['z'], 'energy': data[frames.label],
            **{key: data.get(key) for key in ('z', 'pos', 'force', 'cell',
                                              'pbc', 'stress')}}


def _read(frames: AnyFrames) -> dict[str, Any]:
    rows = list(frames)
    sizes = torch.tensor([data.z.numel() for data in rows])
    return {'ptr': torch.cat([sizes.new_zeros(1), sizes.cumsum(0)]),
            'energy': torch.cat([data[frames.label] for data in rows]),
            **{key: torch.cat([data[key] for data in rows])
               if key in rows[0] else None for key in (
                   'z', 'pos', 'force', 'cell', 'pbc', 'stress')}}
