from typing import TYPE_CHECKING

from torch_sake.utils.lazy import lazy_names

if TYPE_CHECKING:
    from torch_sake.simulation.config import MDConfig
    from torch_sake.simulation.molecular_dynamics import (
        Simulation,
        SimulationStopped,
    )
    from torch_sake.simulation.soundness import Unsound

__all__ = ['MDConfig', 'Simulation', 'SimulationStopped', 'Unsound']

__getattr__, __dir__ = lazy_names(__name__, {
    'MDConfig': 'config',
    'Simulation': 'molecular_dynamics',
    'SimulationStopped': 'molecular_dynamics',
    'Unsound': 'soundness',
})
