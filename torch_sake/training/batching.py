from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.loader import DataLoader

from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.evaluation.config import EVAL_BATCH_SIZE
from torch_sake.neighbors import neighbor_list


@dataclass(frozen=True)
class BatchLimit:
    r"""How large a batch may be: as many frames as have at most a number of
    atoms or of edges in all, or just a number of frames.

    Args:
        number (int): The largest number.
        unit (str, optional): Of what: :obj:`"frames"`, :obj:`"atoms"` or
            :obj:`"edges"`. (default: :obj:`"frames"`)
        cutoff (float, optional): Distance from which on there are no edges;
            :obj:`None` stands for all pairs. (default: :obj:`None`)
    """
    number: int
    unit: str = 'frames'
    cutoff: float | None = None

    def sizes(self, frames: AnyFrames) -> Tensor:
        r"""Returns what each frame adds to a batch.

        Shapes:
            - **output:** :math:`(M)`
        """
        if self.unit == 'edges':
            return count_edges(frames, self.cutoff)
        if self.unit == 'atoms':
            return frames.num_atoms
        return torch.ones(len(frames), dtype=torch.long)

    def cut(self, sizes: Tensor) -> list[int]:
        r"""Returns where each batch of frames in a row begins and, as the last
        number, where the last one ends. A frame that is too large has a batch
        of its own.

        Args:
            sizes (torch.Tensor): What the frames add to a batch, :obj:`[M]`.
        """
        ends = sizes.cumsum(0).numpy()
        cuts, used = [0], 0
        while cuts[-1] < len(ends):
            end = int(ends.searchsorted(used + self.number, side='right'))
            cuts.append(max(end, cuts[-1] + 1))
            used = ends[cuts[-1] - 1]
        return cuts

    def batches(self, frames: AnyFrames, **kwargs) -> DataLoader:
        r"""Returns all frames in batches, in their order.

        Args:
            frames (Frames or FramesOnDisk): The frames.
            **kwargs (optional): Further arguments of the loader.
        """
        cuts = self.cut(self.sizes(frames))
        return DataLoader(frames, batch_sampler=[
            range(*ends) for ends in zip(cuts, cuts[1:])], **kwargs)


def share(batch: list[int], sizes: Tensor, rank: int,
          num_processes: int) -> list[int]:
    r"""Returns the frames of a batch that are those of one of several
    processes: from the largest to the smallest, each goes to the process that
    has least, and fewest if there are several. Each process gets a frame, if
    there are as many.

    Args:
        batch (list of int): The frames.
        sizes (torch.Tensor): What all frames that there are add to a batch.
        rank (int): The number of the process.
        num_processes (int): The number of processes.
    """
    size = dict(zip(batch, sizes[batch].tolist()))
    loads, owner = [(0, 0)] * num_processes, {}
    for index in sorted(batch, key=lambda index: -size[index]):
        load, number = min(loads)
        owner[index] = loads.index((load, number))
        loads[owner[index]] = load + size[index], number + 1
    return [index for index in batch if owner[index] == rank]


def count_edges(frames: AnyFrames, cutoff: float | None) -> Tensor:
    r"""Returns the number of edges of each frame, both directions of a pair.

    Shapes:
        - **output:** :math:`(M)`
    """
    counts = []
    for data in DataLoader(frames, batch_size=EVAL_BATCH_SIZE):
        edge_index, _ = neighbor_list(data.pos, cutoff, data.batch,
                                      data.get('cell'), data.get('pbc'))
        counts.append(data.batch[edge_index[1]].bincount(
            minlength=data.num_graphs))
    return torch.cat(counts)
