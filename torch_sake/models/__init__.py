import torch_sake.utils.pyg  # noqa: F401
from torch_sake.models.baselines import GNN, LinearDynamics, RadialField
from torch_sake.models.egnn import EGNN
from torch_sake.models.molecule import MoleculeModel
from torch_sake.models.readout import Readout
from torch_sake.models.sake import SAKE
from torch_sake.models.sake_net import SAKENet
from torch_sake.models.vector_sake import VectorSAKE

__all__ = [
    'EGNN',
    'GNN',
    'LinearDynamics',
    'MoleculeModel',
    'RadialField',
    'Readout',
    'SAKE',
    'SAKENet',
    'VectorSAKE',
]
