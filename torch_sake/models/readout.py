r"""How a property of a graph is made up of what its atoms contribute."""

from typing import Any

import torch
from torch import Tensor
from torch_geometric.nn.aggr import (
    Aggregation,
    MultiAggregation,
    SumAggregation,
)
from torch_geometric.nn.resolver import aggregation_resolver

from torch_sake.ops.scatter import sum_edges
from torch_sake.ops.segments import Segments

NUM_ELEMENTS = 100  # as in PyG's SchNet; 0 is the padding


class Readout(torch.nn.Module):
    r"""The sum over the atoms of a graph or, with an aggregation of PyG, what
    that makes of them: the base of all readouts. Another one is a class of
    its own, here or of a user, who gives it to a model as :obj:`readout`. Here
    it is added to :obj:`READOUTS`, and is known everywhere then.

    Args:
        aggr (str or Aggregation, optional): The aggregation.
            (default: :obj:`"sum"`)

    Shapes:
        - **input:** parts of the atoms :math:`(N, 1)`, atomic numbers
          :math:`(N)`, positions :math:`(N, 3)`, graphs :math:`(N)`
        - **output:** properties :math:`(B, 1)`
    """
    name = 'add'
    # Whether it is linear in the parts, so that elements may have constant
    # ones, the references.
    has_references = True
    # It grows with this power of the mean square distance of atoms from the
    # center of mass.
    power = 0.0

    def __init__(self, aggr: str | Aggregation = 'sum'):
        super().__init__()
        self.aggr = aggregation_resolver(aggr)

    def forward(self, parts: Tensor, z: Tensor, pos: Tensor, batch: Tensor,
                batch_size: int) -> Tensor:
        """"""
        return self.aggr(parts, batch, dim_size=batch_size, dim=0)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str,
                              *args: Any) -> None:
        # In 0.1.0, the aggregation stood where the readout stands.
        for name in self.aggr.state_dict():
            if prefix + name in state_dict:
                state_dict[f'{prefix}aggr.{name}'] = state_dict.pop(
                    prefix + name)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __repr__(self) -> str:
        return f'{self.__class__.__name__}({self.aggr})'

    @property
    def is_sum(self) -> bool:
        r"""Whether the property is the sum of the parts as they are."""
        return type(self).forward is Readout.forward and isinstance(
            self.aggr, SumAggregation)


class Mean(Readout):
    r"""The mean over the atoms."""
    name = 'mean'

    def __init__(self):
        super().__init__('mean')


class Extent(Readout):
    r"""The electronic spatial extent, :math:`\sum_i q_i {|\vec{r}_i -
    \vec{r}_\mathrm{c}|}^2`, about the center of mass. It needs :obj:`ase` for
    the masses.
    """
    name = 'extent'
    power = 1.0

    def __init__(self):
        super().__init__()
        self.register_buffer('atomic_mass', atomic_masses(), persistent=False)

    def forward(self, parts: Tensor, z: Tensor, pos: Tensor, batch: Tensor,
                batch_size: int) -> Tensor:
        """"""
        arm = center(pos, self.atomic_mass[z], batch, batch_size)  # [N, 3]
        square = arm.to(parts.dtype).square().sum(dim=1, keepdim=True)
        return super().forward(parts * square, z, pos, batch, batch_size)


class Dipole(Extent):
    r"""The dipole moment, :math:`\left| \sum_i q_i (\vec{r}_i -
    \vec{r}_\mathrm{c}) \right|`, of charges that need not add up to zero.
    """
    name = 'dipole'
    has_references = False
    power = 0.5

    def forward(self, parts: Tensor, z: Tensor, pos: Tensor, batch: Tensor,
                batch_size: int) -> Tensor:
        """"""
        arm = center(pos, self.atomic_mass[z], batch, batch_size)  # [N, 3]
        moment = Readout.forward(self, parts * arm.to(parts.dtype), z, pos,
                                 batch, batch_size)
        return moment.norm(dim=-1, keepdim=True)


_CLASSES = {kind.name: kind for kind in (Readout, Mean, Extent, Dipole)}
READOUTS = tuple(_CLASSES)


def find_readout(readout: Any) -> Readout:
    r"""Returns a readout, given itself, its name or an aggregation of PyG.

    Raises:
        ValueError: If there is no such readout.
    """
    if isinstance(readout, Readout):
        return readout
    if isinstance(readout, str) and readout in READOUTS:
        return _CLASSES[readout]()
    try:
        out = Readout(readout)
    except (TypeError, ValueError):
        out = None
    if out is None or not isinstance(out.aggr, Aggregation) or isinstance(
            out.aggr, MultiAggregation):  # more than one number
        names = ', '.join(map(repr, READOUTS))
        raise ValueError(f"'readout' must be {names}, a Readout or an "
                         f"aggregation of PyG (got {readout!r})")
    return out


def sums_over_atoms(model: Any) -> bool:
    r"""Whether what a model returns, which may be that of PyG, is the sum of
    parts of atoms.
    """
    readout = getattr(model, 'readout', None)
    if isinstance(readout, Readout):
        return readout.is_sum
    return isinstance(readout, SumAggregation) and not getattr(
        model, 'dipole', False)


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
