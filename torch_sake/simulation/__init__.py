from torch_sake.simulation.config import MDConfig
from torch_sake.simulation.dynamics import Simulation, SimulationStopped
from torch_sake.simulation.soundness import Unsound

__all__ = ['MDConfig', 'Simulation', 'SimulationStopped', 'Unsound']
