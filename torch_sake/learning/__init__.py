r"""Potentials that label where they are unsure, and learn that."""

from typing import TYPE_CHECKING

from torch_sake.utils.lazy import lazy_names

if TYPE_CHECKING:
    from torch_sake.learning.config import LearnConfig
    from torch_sake.learning.learner import Learner

__all__ = ['LearnConfig', 'Learner']

__getattr__, __dir__ = lazy_names(__name__, {
    'LearnConfig': 'config',
    'Learner': 'learner',
})
