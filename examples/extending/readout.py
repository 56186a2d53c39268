"""A readout: the property is that of the highest atom, made smooth.

    python examples/extending/readout.py

TopModel makes a model of it, which the command line takes by its import path:

    PYTHONPATH=examples/extending torch-sake train --data qm9:homo \
        --root data/qm9 --model readout:TopModel
"""

import torch
from torch_geometric.utils import softmax

from torch_sake import VectorSAKE
from torch_sake.models.readout import Readout


class Top(Readout):
    r"""The softmax-weighted sum :math:`\sum_i w_i q_i` with :math:`w_i =
    \mathrm{softmax}_i(q_i)`, which does not grow with the molecule.
    """
    name = 'top'
    has_references = False  # it is not linear in the parts

    def forward(self, parts, z, pos, batch, batch_size):
        weights = softmax(parts, batch, num_nodes=batch_size)
        return super().forward(weights * parts, z, pos, batch, batch_size)


class TopModel(VectorSAKE):
    def __init__(self, readout='top', **kwargs):  # not that of the data
        super().__init__(readout=Top(), **kwargs)


def main():
    model = TopModel(hidden_channels=16, num_layers=1, cutoff=3.0)
    z = torch.tensor([8, 1, 1])
    pos = torch.tensor([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    one = model(z, pos)
    batch = torch.tensor([0, 0, 0, 0, 0, 0])
    two = model(z.repeat(2), torch.cat([pos, pos + 100]), batch)
    torch.testing.assert_close(one, two)  # two molecules far apart
    print(one)


if __name__ == '__main__':
    main()
