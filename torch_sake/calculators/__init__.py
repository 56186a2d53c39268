r"""Potentials in simulation programs. What needs one of these programs is
imported when it is asked for.
"""

from typing import TYPE_CHECKING

from torch_sake.calculators.evaluator import Evaluation, Evaluator
from torch_sake.utils.lazy import lazy_names

if TYPE_CHECKING:
    from torch_sake.calculators.ase import SAKECalculator
    from torch_sake.calculators.openmm import openmm_force

__all__ = ['Evaluation', 'Evaluator', 'SAKECalculator', 'openmm_force']

__getattr__, __dir__ = lazy_names(__name__, {
    'SAKECalculator': 'ase',
    'openmm_force': 'openmm',
})
