import torch_sake.utils.pyg  # noqa: F401
from torch_sake.neighbors.edges import Edges
from torch_sake.neighbors.interaction_graph import RadiusInteractionGraph
from torch_sake.neighbors.search import neighbor_list
from torch_sake.neighbors.skin import SkinNeighborList

__all__ = ['Edges', 'RadiusInteractionGraph', 'SkinNeighborList',
           'neighbor_list']
