r"""SAKE: spatial attention kinetic networks with E(n)-equivariance, for
PyTorch Geometric.
"""

import warnings

# torch-geometric makes a call of which torch warns since 2.14:
with warnings.catch_warnings():
    warnings.filterwarnings('ignore', '.*torch.jit.script', FutureWarning)
    import torch_geometric  # noqa: F401

from torch_sake.checkpoint import load_potential, load_property
from torch_sake.models import SAKE, SAKENet, VectorSAKE
from torch_sake.neighbors import RadiusInteractionGraph, neighbor_list
from torch_sake.nn import SAKEConv, VectorSAKEConv
from torch_sake.potentials.ensemble import Ensemble
from torch_sake.potentials.potential import Potential
from torch_sake.potentials.property import Property
from torch_sake.potentials.zbl import ZBLRepulsion
from torch_sake.version import __version__

__all__ = [
    'Ensemble',
    'Potential',
    'Property',
    'RadiusInteractionGraph',
    'SAKE',
    'SAKEConv',
    'SAKENet',
    'VectorSAKE',
    'VectorSAKEConv',
    'ZBLRepulsion',
    'load_potential',
    'load_property',
    'neighbor_list',
    '__version__',
]
