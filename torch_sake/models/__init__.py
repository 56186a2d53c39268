from torch_sake.models.sake import SAKE
from torch_sake.models.sake_net import SAKENet

__all__ = ['SAKE', 'SAKENet']
