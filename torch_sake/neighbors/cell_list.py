import numpy
import torch
from torch import Tensor
from vesin import NeighborList

# Candidates are searched a little further than the cutoff: rounding must not
# lose an edge. The final test of the distances drops what is too much.
MARGIN = 1e-5


def vesin_pairs(pos: Tensor, cutoff: float, batch: Tensor) -> Tensor:
    r"""Returns candidates for the pairs closer than the cutoff, found by the
    cell lists of :obj:`vesin`. The time goes with the number of nodes, not of
    pairs.

    Shapes:
        - **input:** positions :math:`(N, D)` with :math:`D \leq 3`, graphs,
          in ascending order :math:`(N)`
        - **output:** sources and targets :math:`(2, E)`
    """
    points = numpy.zeros((pos.size(0), 3))
    points[:, :pos.size(1)] = pos.detach().cpu().numpy()
    neighbors = NeighborList(cutoff=cutoff * (1 + MARGIN), full_list=True)
    pairs, begin = [numpy.empty((0, 2), dtype=numpy.int64)], 0
    for count in torch.bincount(batch).tolist():
        if count > 1:
            found, = neighbors.compute(points[begin:begin + count],
                                       box=numpy.zeros((3, 3)),
                                       periodic=False, quantities='P')
            pairs.append(found.astype(numpy.int64) + begin)
        begin += count
    target, source = torch.from_numpy(numpy.concatenate(pairs)).t()
    return torch.stack([source, target]).to(pos.device)
