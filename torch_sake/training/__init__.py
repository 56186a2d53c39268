from typing import TYPE_CHECKING

from torch_sake.utils.lazy import lazy_names

if TYPE_CHECKING:
    from torch_sake.training.config import TrainConfig
    from torch_sake.training.look import look_at
    from torch_sake.training.trainer import Trainer

__all__ = ['TrainConfig', 'Trainer', 'look_at']

__getattr__, __dir__ = lazy_names(__name__, {
    'TrainConfig': 'config',
    'Trainer': 'trainer',
    'look_at': 'look',
})
