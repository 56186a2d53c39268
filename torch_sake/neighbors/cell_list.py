import numpy
import torch
from torch import Tensor
from vesin import NeighborList

from torch_sake.neighbors.lattice import Lattice
from torch_sake.neighbors.pairs import MARGIN


def vesin_pairs(
    pos: Tensor,
    cutoff: float,
    batch: Tensor,
    lattice: Lattice | None = None,
) -> tuple[Tensor, Tensor | None]:
    r"""Returns candidates for the pairs closer than the cutoff, found by the
    cell lists of :obj:`vesin`. The time goes with the number of nodes, not of
    pairs.

    Shapes:
        - **input:** positions :math:`(N, D)` with :math:`D \leq 3`, graphs,
          in ascending order :math:`(N)`
        - **output:** sources and targets :math:`(2, E)`, numbers of lattice
          vectors :math:`(E, D)` *(with a lattice)*
    """
    size = pos.size(1)
    points = numpy.zeros((pos.size(0), 3))
    points[:, :size] = pos.detach().cpu().double().numpy()
    # In units of the cutoff: the number of cells that vesin looks into, and
    # the shortest cutoff that it takes, go with lengths as they are.
    reach = cutoff * (1 + MARGIN)
    points /= reach
    neighbors = NeighborList(cutoff=1.0, full_list=True)
    counts = torch.bincount(batch).tolist()
    boxes = numpy.zeros((len(counts), 3, 3))
    if lattice is not None:
        boxes = _boxes(lattice) / reach
    periodic = boxes.any(axis=2)
    boxes[periodic.any(axis=1)] = _complete(boxes[periodic.any(axis=1)])

    pairs = [numpy.empty((0, 2), dtype=numpy.int64)]
    images = [numpy.empty((0, 3), dtype=numpy.int64)]
    begin = 0
    for graph, count in enumerate(counts):
        if count > 1 or (count == 1 and periodic[graph].any()):
            found, image = neighbors.compute(
                points[begin:begin + count], box=boxes[graph],
                periodic=periodic[graph].tolist(), quantities='PS')
            pairs.append(found.astype(numpy.int64) + begin)
            images.append(image)
        begin += count
    target, source = torch.from_numpy(numpy.concatenate(pairs)).t()
    edge_index = torch.stack([source, target]).to(pos.device)
    if lattice is None:
        return edge_index, None
    image = torch.from_numpy(numpy.concatenate(images)).long()
    return edge_index, image[:, :size].to(pos.device)


def _boxes(lattice: Lattice) -> numpy.ndarray:
    r"""Returns the lattice vectors in three dimensions, :math:`(B, 3, 3)`."""
    size = lattice.vectors.size(1)
    boxes = numpy.zeros((lattice.vectors.size(0), 3, 3))
    boxes[:, :size, :size] = lattice.vectors.detach().cpu().double().numpy()
    return boxes


def _complete(boxes: numpy.ndarray) -> numpy.ndarray:
    r"""Returns cells with vectors in open directions, too, at right angles to
    all others: what they are has no effect, but they must span a volume.
    """
    for box in boxes:
        empty = ~box.any(axis=1)
        _, _, directions = numpy.linalg.svd(box)
        box[empty] = directions[3 - empty.sum():]
    return boxes
