r"""Forecasts of moving things: particles, people, molecules."""

from typing import TYPE_CHECKING

from torch_sake.utils.lazy import lazy_names

if TYPE_CHECKING:
    from torch_sake.forecasting.config import DynamicsConfig
    from torch_sake.forecasting.data import load_dynamics
    from torch_sake.forecasting.forecaster import Forecaster, load_forecaster

__all__ = [
    'DynamicsConfig',
    'Forecaster',
    'load_dynamics',
    'load_forecaster',
]

__getattr__, __dir__ = lazy_names(__name__, {
    'DynamicsConfig': 'config',
    'Forecaster': 'forecaster',
    'load_dynamics': 'data',
    'load_forecaster': 'forecaster',
})
