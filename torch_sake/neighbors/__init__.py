from torch_sake.neighbors.interaction_graph import RadiusInteractionGraph
from torch_sake.neighbors.search import neighbor_list

__all__ = ['RadiusInteractionGraph', 'neighbor_list']
