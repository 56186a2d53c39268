import torch
from torch_geometric.data import Data
from torch_geometric.graphgym import register
from torch_geometric.graphgym.models.layer import LayerConfig

import torch_sake.graphgym  # noqa: F401


def test_layer():
    layer = register.layer_dict['sakeconv'](LayerConfig(dim_in=3, dim_out=5))
    data = Data(x=torch.randn(4, 3), pos=torch.randn(4, 3),
                edge_index=torch.tensor([[0, 1, 2], [1, 0, 1]]))
    pos = data.pos
    out = layer(data)
    assert out.x.shape == (4, 5)
    assert torch.allclose(out.pos, pos + out.vel)
