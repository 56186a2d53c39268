import torch_sake.utils.pyg  # noqa: F401
from torch_sake.nn.attention import SemanticAttention
from torch_sake.nn.edge_embedding import EdgeEmbedding
from torch_sake.nn.egnn_conv import EGNNConv
from torch_sake.nn.envelope import CosineEnvelope, PolynomialEnvelope
from torch_sake.nn.kinetic_conv import KineticConv
from torch_sake.nn.radial_basis import ExpNormalBasis
from torch_sake.nn.sake_conv import SAKEConv
from torch_sake.nn.vector_sake_conv import VectorSAKEConv
from torch_sake.ops.segments import Segments

__all__ = [
    'CosineEnvelope',
    'EGNNConv',
    'EdgeEmbedding',
    'ExpNormalBasis',
    'KineticConv',
    'PolynomialEnvelope',
    'SAKEConv',
    'Segments',
    'SemanticAttention',
    'VectorSAKEConv',
]
