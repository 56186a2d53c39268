"""A layer: continuous filters, as in SchNet, with vectors that move the atoms.

    python examples/extending/layer.py

The layer is FilterConv. FilterNet makes a model of it, which the command line
takes by its import path:

    PYTHONPATH=examples/extending torch-sake train --model layer:FilterNet
"""

import torch
from torch.nn import Linear, Sequential, SiLU

from torch_sake.models import MoleculeModel
from torch_sake.nn import ExpNormalBasis, KineticConv
from torch_sake.ops.scatter import sum_edges


class FilterConv(KineticConv):
    r"""The sum of the neighbors' features, filtered by the distance,

    .. math::
        \mathbf{m}_{ij} = \mathbf{W} \mathbf{x}_j \odot f_{ij}
        \mathrm{MLP}(\boldsymbol{\phi}(d_{ij})), \qquad
        \vec{p}_i = \sum_j \mathbf{w}^{\top} \mathbf{m}_{ij} \vec{u}_{ij}

    Args:
        in_channels (int): Size of the input features.
        out_channels (int): Size of the output features.
        num_rbf (int, optional): Number of radial functions.
            (default: :obj:`8`)
        **kwargs (optional): Additional arguments of
            :class:`~torch_sake.nn.KineticConv`.
    """
    def __init__(self, in_channels, out_channels, num_rbf=8, **kwargs):
        super().__init__(in_channels, out_channels, **kwargs)
        hidden = self.hidden_channels
        self.basis = ExpNormalBasis(num_rbf, self.cutoff or 5.0)
        self.mlp_filter = Sequential(Linear(num_rbf, hidden), SiLU(),
                                     Linear(hidden, hidden))
        self.lin_source = Linear(in_channels, hidden, bias=False)
        self.mlp_node = Sequential(Linear(hidden, hidden), SiLU(),
                                   Linear(hidden, out_channels))
        if self.update_pos:
            self.lin_vel = Linear(hidden, 1, bias=False)
        self.reset_parameters()

    def message_inputs(self, x, **inputs):  # once for each node
        return {'source': self.lin_source(x)}

    def message(self, source_j, dist, direction, edge_weight):
        message = source_j * self.mlp_filter(self.basis(dist))  # [E, F]
        if edge_weight is not None:  # the envelope: smooth at the cutoff
            message = message * edge_weight
        if not self.update_pos:
            return message, None
        return message, direction * self.lin_vel(message)  # [E, D]

    def aggregate(self, inputs, targets):
        return [None if value is None else sum_edges(value, targets)
                for value in inputs]

    def update(self, inputs, x, pos, vel):
        message, new_vel = inputs
        x = self.skip(x) + self.mlp_node(message)
        if new_vel is None:
            return x, pos, vel
        return x, *self.update_kinetics(x, pos, vel, new_vel)


class FilterNet(MoleculeModel):
    def __init__(self, hidden_channels=64, num_layers=3, **kwargs):
        super().__init__(hidden_channels, num_layers=num_layers,
                         conv=FilterConv, **kwargs)


def main():
    from torch_sake import Potential
    from torch_sake.testing import (
        assert_equivariant_forces,
        assert_forces_match_energy,
        assert_smooth_at_cutoff,
    )
    potential = Potential(FilterNet(32, cutoff=5.0)).double()
    z = torch.tensor([8, 1, 1])
    pos = torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]).double()
    assert_equivariant_forces(potential, z, pos)
    assert_forces_match_energy(potential, z, pos)
    assert_smooth_at_cutoff(potential, z, pos, cutoff=5.0)
    print(potential(z, pos)[1])


if __name__ == '__main__':
    main()
