import copy
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data, Dataset

from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.labeled_frames import LabeledFrames
from torch_sake.datasets.frames.on_disk import FramesOnDisk

NUM_NAMES = 3  # of sources that are all named
# What frames have that do not have it of their own:
UNKNOWN = {'cell': torch.zeros(1, 3, 3, dtype=torch.double),
           'pbc': torch.zeros(1, 3, dtype=torch.bool),
           'stress': torch.full((1, 3, 3), torch.nan, dtype=torch.double)}


class JoinedFrames(LabeledFrames, Dataset):
    r"""The frames of several sources, one after the other, in memory or on
    disk. All of them have what one of them has: forces and stresses of NaN
    where they are not known, cells of zeros for molecules.

    .. code-block:: python

        JoinedFrames([read_frames('a.xyz'), FramesOnDisk('b.frames')])

    Args:
        parts (list of Frames or FramesOnDisk): The frames, of the same label,
            units and readout.

    Raises:
        ValueError: If these differ, with the names of two sources.
    """
    def __init__(self, parts: Sequence[Any]):
        super().__init__()
        self.parts = list(parts)
        if not self.parts:
            raise ValueError("'parts' must be at least one (got none)")
        first = self.parts[0]
        for part in self.parts[1:]:
            for what in ('units', 'readout', 'entries'):
                one, other = (getattr(frames, what) for frames in
                              (first, part))
                if what == 'entries':
                    one, other = sorted(one), sorted(other)
                if one != other:
                    raise ValueError(f"'{first.source}' and '{part.source}' "
                                     f"must have the same {what} (got {one} "
                                     f"and {other})")
        self.units, self.readout = first.units, first.readout
        source_units = [part.source_units for part in self.parts]
        if source_units.count(source_units[0]) == len(source_units):
            self._source_units = source_units[0]
        self.name = '+'.join(part.name for part in self.parts)
        self.source = in_a_row([part.source for part in self.parts])
        self.test_start = self.split_seed = None
        self.splits = {}
        self.entries = {name: torch.cat([
            part.entries[name][part._index] for part in self.parts])
            for name in first.entries}
        self.ends = list(accumulate(len(part) for part in self.parts))
        self.has_forces, self.has_stress, self.has_cells, self.has_infos = (
            any(getattr(part, f'has_{what}') for part in self.parts)
            for what in ('forces', 'stress', 'cells', 'infos'))
        self.is_in_memory = all(part.is_in_memory for part in self.parts)
        self.elements = sorted(set().union(*(
            part.elements for part in self.parts)))
        self._num_atoms = torch.cat([part.num_atoms for part in self.parts])
        self.assigned = {}
        for part, end in zip(self.parts, self.ends):
            for name, index in own_parts(part).items():
                index = index + end - len(part)
                self.assigned[name] = torch.cat([
                    self.assigned.get(name, index[:0]), index])

    @property
    def num_atoms(self) -> Tensor:
        r"""The number of atoms of each frame."""
        return self._num_atoms[self._index]

    def known(self, name: str) -> Tensor:
        r"""As :meth:`torch_sake.datasets.Frames.known`."""
        return torch.cat([part.known(name) for part in self.parts])[
            self._index]

    def info(self, index: int) -> dict[str, Any]:
        r"""As :meth:`torch_sake.datasets.Frames.info`."""
        part, number = self._find(self.indices()[index])
        return part.info(number)

    def mentions(self, name: str) -> bool:
        r"""As :meth:`torch_sake.datasets.Frames.mentions`."""
        return any(part.mentions(name) for part in self.parts)

    def origin(self, index: int) -> tuple[str, int]:
        r"""As :meth:`torch_sake.datasets.Frames.origin`."""
        part, number = self._find(self.indices()[index])
        return part.origin(number)

    def in_units(self, units: dict[str, str]) -> 'JoinedFrames':
        frames = copy.copy(self)
        frames.parts = [part.in_units(units) for part in self.parts]
        frames.units = dict(units)
        return frames

    def of_parts(self) -> Iterator[tuple[Any, Tensor]]:
        r"""Yields the frames of each source that there are, and which ones of
        all frames they are.
        """
        first = 0
        for part, end in zip(self.parts, self.ends):
            index = self._index
            rows = ((index >= first) & (index < end)).nonzero().flatten()
            yield part[index[rows] - first], rows
            first = end

    def len(self) -> int:
        return self.ends[-1]

    def get(self, idx: int) -> Data:
        part, number = self._find(int(idx))
        data = part[number]
        if self.has_forces and 'force' not in data:
            data.force = torch.full_like(data.pos, torch.nan)
        for key, there in (('cell', self.has_cells), ('pbc', self.has_cells),
                           ('stress', self.has_stress)):
            if there and key not in data:
                data[key] = UNKNOWN[key].clone()
        return self._add_entries(data, idx)

    def index_select(self, idx: Any) -> 'JoinedFrames':
        frames = super().index_select(idx)
        frames._indices = torch.as_tensor(frames._indices, dtype=torch.long)
        return frames

    def _find(self, idx: int) -> tuple[Any, int]:
        number = bisect_right(self.ends, int(idx))
        first = self.ends[number - 1] if number else 0
        return self.parts[number], int(idx) - first


AnyFrames = Frames | FramesOnDisk | JoinedFrames


def join_frames(parts: Sequence[AnyFrames]) -> AnyFrames:
    r"""Returns the frames of several sources as one; those of a single one
    are what they were.
    """
    return parts[0] if len(parts) == 1 else JoinedFrames(parts)


def own_parts(frames: AnyFrames) -> dict[str, Tensor]:
    r"""Returns which frames are for a part of a split, by its name."""
    parts = dict(frames.assigned)
    if frames.test_start is not None:
        parts['test'] = torch.arange(frames.test_start, len(frames))
    return parts


def assign_frames(frames: AnyFrames,
                  given: dict[str, AnyFrames]) -> AnyFrames:
    r"""Returns frames with those that are given for validation
    (:obj:`"val"`) or for testing (:obj:`"test"`) behind them, which
    :obj:`assigned` has then.
    """
    if not given:
        return frames
    joined = JoinedFrames([frames, *given.values()])
    joined.assigned = own_parts(frames)
    for name, part, end in zip(given, given.values(), joined.ends[1:]):
        if name in joined.assigned:
            raise ValueError(f"'{name}' must not be given for data with test "
                             f"frames of their own (got '{frames.source}')")
        joined.assigned[name] = torch.arange(end - len(part), end)
    return joined


def in_a_row(names: Sequence[str]) -> str:
    r"""Returns names as a text, the first ones if there are many."""
    if len(names) > NUM_NAMES:
        names = [*names[:NUM_NAMES - 1],
                 f'{len(names) - NUM_NAMES + 1} others']
    return ' and '.join(filter(None, [', '.join(names[:-1]), *names[-1:]]))
