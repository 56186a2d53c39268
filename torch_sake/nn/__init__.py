from torch_sake.nn.attention import SemanticAttention
from torch_sake.nn.edge_embedding import EdgeEmbedding
from torch_sake.nn.envelope import CosineEnvelope, PolynomialEnvelope
from torch_sake.nn.radial_basis import ExpNormalBasis
from torch_sake.nn.sake_conv import SAKEConv

__all__ = [
    'CosineEnvelope',
    'EdgeEmbedding',
    'ExpNormalBasis',
    'PolynomialEnvelope',
    'SAKEConv',
    'SemanticAttention',
]
