import copy
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.datasets.frames.split import Split
from torch_sake.utils.plain_checks import require
from torch_sake.utils.units import conversion_factors

# What of a frame is no label:
STRUCTURE = ('z', 'pos', 'cell', 'pbc')


class LabeledFrames:
    r"""What frames in memory and those on disk have in common."""
    units: dict[str, str]
    source: str
    test_start: int | None
    split_seed: int | None
    splits: dict[str, Split]
    entries: dict[str, Tensor]
    # Before a conversion:
    _source_units: dict[str, str] | None = None
    # Frames that are given for a part of the split, by its name:
    assigned: dict[str, Tensor] = {}
    is_in_memory = False

    @property
    def _index(self) -> Tensor:
        indices = self.indices()  # type: ignore[attr-defined]
        return torch.as_tensor(indices, dtype=torch.long)

    def with_entries(self, **entries: Tensor) -> Any:
        r"""Returns the frames with further entries, which their batches have
        then, too, such as a :obj:`weight`.

        Shapes:
            - **input:** one number for each frame :math:`(M)`
        """
        frames = copy.copy(self)
        frames.entries = dict(self.entries)
        for name, values in entries.items():
            whole = values.new_zeros(self.len())  # type: ignore[attr-defined]
            whole[self._index] = values
            frames.entries[name] = whole
        return frames

    def _add_entries(self, data: Data, idx: int) -> Data:
        for name, values in self.entries.items():
            data[name] = values[idx:idx + 1]
        return data

    @property
    def source_units(self) -> dict[str, str]:
        r"""The units before a conversion by :meth:`in_units`."""
        return self._source_units or self.units

    def in_units(self, units: dict[str, str]) -> Any:
        r"""Returns the frames in other units.

        Args:
            units (dict): The names of the units of :obj:`'length'` and
                :obj:`'energy'`.

        Raises:
            ValueError: If a unit is not known, or the frames are labeled with
                another property than an energy.
        """
        if units == self.units:
            return self
        require(self.label == 'energy' and label_name(units) == 'energy',
                f"{self.source}: The units must be {units} (got {self.units}, "
                f"which cannot be converted)")
        frames = copy.copy(self)
        frames._source_units, frames.units = self.source_units, dict(units)
        frames._multiply(conversion_factors(self.units, units))
        return frames

    def _multiply(self, factors: dict[str, float]) -> None:
        r"""Multiplies what frames consist of, by name."""
        raise NotImplementedError

    def where(self, index: int) -> str:
        r"""Returns what messages call a frame: where it comes from, and its
        number there.
        """
        source, number = self.origin(index)  # type: ignore[attr-defined]
        return f"'{source}', frame {number}"

    @property
    def label(self) -> str:
        r"""The name of what the frames are labeled with."""
        return label_name(self.units)

    def index_select(self, idx: Any) -> Any:
        frames = super().index_select(idx)  # type: ignore[misc]
        frames.test_start = frames.split_seed = None
        frames.splits = {}
        frames.assigned = {}
        return frames

    def __repr__(self) -> str:
        return (f"{self.__class__.__name__}({len(self)}, "
                f"source='{self.source}')")


def label_name(units: dict[str, str]) -> str:
    r"""Returns what has the unit that is not that of lengths."""
    name, = set(units) - {'length'}
    return name
