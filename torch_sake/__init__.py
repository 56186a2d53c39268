r"""SAKE: spatial attention kinetic networks with E(n)-equivariance, for
PyTorch Geometric.
"""

from torch_sake.models import SAKE, SAKENet
from torch_sake.neighbors import RadiusInteractionGraph, neighbor_list
from torch_sake.nn import SAKEConv
from torch_sake.potential import Potential

__version__ = '0.1.0'

__all__ = [
    'Potential',
    'RadiusInteractionGraph',
    'SAKE',
    'SAKEConv',
    'SAKENet',
    'neighbor_list',
    '__version__',
]
