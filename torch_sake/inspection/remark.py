from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from torch_sake.datasets import Split
from torch_sake.datasets.frames.load import AnyFrames

SHOWN = 3  # numbers of frames in a line


@dataclass(frozen=True)
class Remark:
    r"""What is likely wrong with labels, and what to do about it.

    Args:
        message (str): What was found, in one line, without the frames.
        frames (tuple of int, optional): The frames that it is about, or none
            if it is about all. (default: :obj:`()`)
        is_outlier (bool, optional): Whether :obj:`--drop_outliers` leaves
            these frames out. (default: :obj:`False`)
        source (str, optional): The source that it is about, of several.
            (default: :obj:`None`)
        label (str, optional): The label whose unit or sign is likely wrong, if
            it is one alone. (default: :obj:`None`)
    """
    message: str
    frames: tuple[int, ...] = ()
    is_outlier: bool = False
    source: str | None = None
    label: str | None = None

    def __str__(self) -> str:
        return (f'{name_frames(self.frames)}: ' if self.frames else ''
                ) + self.message

    def line(self, source: str, dropped: bool = False) -> str:
        r"""Returns the remark as a line with all that there is to do.

        Args:
            source (str): What the frames are of.
            dropped (bool, optional): Whether outliers are left out already.
                (default: :obj:`False`)
        """
        if not self.frames:
            return f'{source}: {self}'
        hint = '' if dropped or not self.is_outlier else (
            "; '--drop_outliers true' leaves {} out".format(
                'it' if len(self.frames) == 1 else 'them'))
        return f'{source}, {self}{hint}'

    def lines(self, frames: AnyFrames, dropped: bool = False) -> Iterator[str]:
        r"""Yields such a line for each source of the frames."""
        if not self.frames:
            yield self.line(self.source or frames.source, dropped)
        for source, numbers in by_source(self.frames, frames).items():
            yield replace(self, frames=tuple(numbers)).line(source, dropped)


def name_frames(frames: Iterable[int]) -> str:
    r"""Returns the numbers of frames in words, the first ones of many."""
    numbers = [str(int(index)) for index in frames]
    if len(numbers) == 1:
        return f'frame {numbers[0]}'
    more = len(numbers) - SHOWN
    if more > 1:
        return f"frames {', '.join(numbers[:SHOWN])} and {more} more"
    return f"frames {', '.join(numbers[:-1])} and {numbers[-1]}"


def by_source(indices: Iterable[int],
              frames: AnyFrames) -> dict[str, list[int]]:
    r"""Returns the numbers that some frames have in their sources, by these.
    """
    numbers: dict[str, list[int]] = {}
    for index in indices:
        source, number = frames.origin(index)
        numbers.setdefault(source, []).append(number)
    return numbers


def outliers_of(remarks: Iterable[Remark]) -> list[int]:
    r"""Returns the frames that :obj:`--drop_outliers` leaves out."""
    return sorted({index for remark in remarks if remark.is_outlier
                   for index in remark.frames})


def leave_out(split: Split, frames: list[int]) -> Split:
    r"""Returns a split without some frames."""
    out = torch.tensor(frames, dtype=torch.long)
    return Split(**{name: part[~torch.isin(part, out)]
                    for name, part in vars(split).items()})


def as_numbers(frames: Tensor) -> tuple[int, ...]:
    return tuple(frames.tolist())
