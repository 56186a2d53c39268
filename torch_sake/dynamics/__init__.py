r"""Forecasts of moving things: particles, people, molecules."""

from torch_sake.dynamics.config import DynamicsConfig
from torch_sake.dynamics.data import load_dynamics
from torch_sake.dynamics.forecaster import Forecaster, load_forecaster

__all__ = [
    'DynamicsConfig',
    'Forecaster',
    'load_dynamics',
    'load_forecaster',
]
