r"""Structures that occur more than once."""

from collections.abc import Iterator

import numpy
import torch
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.datasets.frames.frames import Frames
from torch_sake.datasets.frames.joined_frames import AnyFrames, JoinedFrames
from torch_sake.datasets.frames.on_disk import FramesOnDisk

# What tells ions apart, and its part of their numbers:
STATE = {'charge': 0x1E3779B97F4A7C15, 'spin': 0x42B2AE3D27D4EB4F}
TOLERANCE = 1e-6  # of positions and cells
# Structures are compared by sums of all positions, in steps. One that was
# written with few digits may be at the border of two of them, hardly at that
# of steps that begin half a step later, too.
STEP, BEGINNINGS, NUM_SUMS = 2e-5, (0.0, 0.5), 3
BLOCK = 100_000  # atoms at a time


def structure_keys(frames: AnyFrames) -> Tensor:
    r"""Returns two numbers for each frame, of which one is the same for those
    with the same atoms in the same order at the same places of the same cell,
    as far as digits in files tell, and, if frames have these, with the same
    charge and spin, and hardly for others: see :func:`same_structure`.

    Args:
        frames (Frames or FramesOnDisk): The frames, of which those on disk
            are read.

    Shapes:
        - **output:** :math:`(M, 2)`
    """
    index = torch.as_tensor(frames.indices(), dtype=torch.long)
    of_state = torch.zeros(len(frames), 1, dtype=torch.long)
    for name, factor in STATE.items():
        if name in frames.entries:
            of_state += frames.entries[name][index].long()[:, None] * factor
    if isinstance(frames, JoinedFrames):
        out = torch.empty(len(frames), len(BEGINNINGS), dtype=torch.long)
        for part, rows in frames.of_parts():
            out[rows] = structure_keys(part)
        return out + of_state
    keys = [torch.empty(0, len(BEGINNINGS), dtype=torch.long)]
    size = int(frames.num_atoms.max()) if len(frames) else 0
    # Each of its own, to be the same whatever the size is:
    of_z, of_steps, of_cell, of_pos = map(torch.from_numpy, (
        numpy.random.default_rng(0).integers(2**62, size=size),
        numpy.random.default_rng(1).integers(2**62, size=NUM_SUMS),
        numpy.random.default_rng(2).uniform(-1, 1, (9, NUM_SUMS)),
        numpy.random.default_rng(3).uniform(-1, 1, (size, 3, NUM_SUMS))))
    for z, pos, cell, num_atoms in _blocks(frames):
        frame = torch.arange(len(num_atoms)).repeat_interleave(num_atoms)
        place = torch.arange(len(z)) - (num_atoms.cumsum(0) -
                                        num_atoms)[frame]
        parts = torch.einsum('nd,ndk->nk', pos, of_pos[place])
        sums = parts.new_zeros(len(num_atoms), NUM_SUMS).index_add(
            0, frame, parts) + cell.flatten(1) @ of_cell
        steps = torch.stack([(sums / STEP + begin).floor().long()
                             for begin in BEGINNINGS], dim=1)
        # What is beyond 64 bits is lost, which does not matter.
        atoms = z.new_zeros(len(num_atoms)).index_add(0, frame,
                                                      z * of_z[place])
        keys.append((steps * of_steps).sum(dim=2) + atoms.unsqueeze(1))
    return torch.cat(keys) + of_state


def _blocks(frames: Frames | FramesOnDisk) -> Iterator[tuple[Tensor, ...]]:
    r"""Yields the atomic numbers, the positions, the cells and the numbers of
    atoms of some frames at a time.
    """
    num_atoms = frames.num_atoms
    block = (num_atoms.cumsum(0) - num_atoms) // BLOCK
    first = 0
    for size in block.unique_consecutive(return_counts=True)[1].tolist():
        counts = num_atoms[first:first + size]
        if isinstance(frames, Frames):  # without objects for each
            data = frames._data
            index = torch.as_tensor(frames.indices())[first:first + size]
            begin = frames.slices['z'][index]
            rows = (begin - counts.cumsum(0) + counts).repeat_interleave(
                counts) + torch.arange(int(counts.sum()))
            z, pos = data.z[rows], data.pos[rows]
            cell = data.cell[index] if 'cell' in data else None
        else:
            some = [frames[first + index] for index in range(size)]
            z = torch.cat([data.z for data in some])
            pos = torch.cat([data.pos for data in some])
            cell = torch.cat([data.cell for data in some]) if (
                'cell' in some[0]) else None
        yield z, pos, pos.new_zeros(size, 3, 3) if cell is None else cell, (
            counts)
        first += size


def match_keys(keys: Tensor, others: Tensor) -> Tensor:
    r"""Returns the first of some structures that each of others is, by their
    keys, or -1.

    Shapes:
        - **input:** :math:`(M, 2)` and :math:`(K, 2)`
        - **output:** indices :math:`(K)`
    """
    out = torch.full_like(others[:, 0], -1)
    if len(keys) == 0:
        return out
    for column, other in zip(keys.unbind(dim=1), others.unbind(dim=1)):
        column, order = column.sort(stable=True)
        place = torch.searchsorted(column, other.contiguous()).clamp(
            max=len(column) - 1)
        out = torch.where((column[place] == other) & (out < 0), order[place],
                          out)
    return out


def same_structure(data: Data, other: Data) -> bool:
    r"""Whether two frames have the same atoms in the same order, at places
    and in cells that differ by rounding alone, and the same charge and spin,
    if they have some.
    """
    if not data.z.equal(other.z) or any(
            name in data and not data[name].equal(other[name])
            for name in STATE):
        return False
    cells = [frame.get('cell', frame.pos.new_zeros(1, 3, 3))
             for frame in (data, other)]
    return all(torch.allclose(one, two, rtol=0.0, atol=TOLERANCE)
               for one, two in ((data.pos, other.pos), cells))
