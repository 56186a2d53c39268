r"""Registers :class:`~torch_sake.SAKEConv` with PyG's GraphGym, as the layer
:obj:`"sakeconv"`, on import.
"""

import torch
from torch_geometric.graphgym.models.layer import LayerConfig
from torch_geometric.graphgym.register import register_layer

from torch_sake.nn import SAKEConv


@register_layer('sakeconv')
class SAKEConvLayer(torch.nn.Module):
    r"""A :class:`~torch_sake.SAKEConv` on :obj:`batch.x`, :obj:`batch.pos`,
    :obj:`batch.vel` (if there is one) and :obj:`batch.edge_index`, which keeps
    what it returns in the batch, for the next layer.
    """
    def __init__(self, layer_config: LayerConfig, **kwargs):
        super().__init__()
        self.model = SAKEConv(layer_config.dim_in, layer_config.dim_out,
                              **kwargs)

    def forward(self, batch):
        """"""
        batch.x, batch.pos, batch.vel = self.model(batch.x, batch.pos,
                                                   batch.edge_index,
                                                   batch.get('vel'))
        return batch
