from torch_sake.training.config import TrainConfig
from torch_sake.training.trainer import Trainer

__all__ = ['TrainConfig', 'Trainer']
