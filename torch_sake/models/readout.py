r"""How a property of a graph is made up of what its atoms contribute."""


import torch
from torch import Tensor

from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments

NUM_ELEMENTS = 100  # as in PyG's SchNet; 0 is the padding
READOUTS = ('add', 'mean', 'extent', 'dipole')


def atomic_masses() -> Tensor:
    r"""Returns the masses of the elements by atomic number, :math:`(100)`.

    Raises:
        ImportError: If :obj:`ase`, which knows them, is missing.
    """
    try:
        import ase.data
    except ImportError as error:
        raise ImportError("Moments about the center of mass need the atomic "
                          "masses of 'ase': pip install ase") from error
    return torch.from_numpy(ase.data.atomic_masses[:NUM_ELEMENTS].copy())


def center(pos: Tensor, mass: Tensor, batch: Tensor,
           batch_size: int | None = None) -> Tensor:
    r"""Returns the positions relative to the center of mass of their graph.

    Shapes:
        - **input:** positions :math:`(N, 3)`, masses :math:`(N)`, graphs
          :math:`(N)`
        - **output:** positions :math:`(N, 3)`
    """
    mass = mass.to(pos.dtype).unsqueeze(1)
    if batch_size is None:
        batch_size = int(batch.max()) + 1 if batch.numel() > 0 else 0
    graphs = Segments(batch, batch_size)
    total = sum_edges(mass, graphs)  # [B, 1]
    middle = sum_edges(mass * pos, graphs) / total  # [B, 3]
    return pos - middle.index_select(0, batch)


def atom_weights(readout: str, pos: Tensor, batch: Tensor, batch_size: int,
                 mass: Tensor | None = None) -> Tensor:
    r"""Returns the weight of each atom in the sum that makes up a property, in
    float64: :math:`1` for :obj:`"add"`, one over the number of atoms for
    :obj:`"mean"`, and for :obj:`"extent"` the square of the distance to the
    center of mass, for which the masses have to be given.

    Shapes:
        - **input:** positions :math:`(N, 3)`, graphs :math:`(N)`, masses
          :math:`(N)`
        - **output:** weights :math:`(N)`
    """
    if readout == 'extent':
        return center(pos.double(), mass, batch,
                      batch_size).square().sum(dim=1)
    ones = torch.ones_like(batch, dtype=torch.double)
    if readout == 'mean':
        return ones / sum_edges(ones, Segments(batch, batch_size))[batch]
    return ones
