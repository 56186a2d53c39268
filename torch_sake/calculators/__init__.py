r"""Potentials in simulation programs. What needs one of these programs is
imported when it is asked for.
"""

import importlib
from typing import Any

from torch_sake.calculators.evaluator import Evaluation, Evaluator

HOMES = {'SAKECalculator': 'ase', 'openmm_force': 'openmm'}

__all__ = ['Evaluation', 'Evaluator', *HOMES]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    home = importlib.import_module(f'{__name__}.{HOMES[name]}')
    return getattr(home, name)
