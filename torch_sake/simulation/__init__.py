from torch_sake.simulation.config import MDConfig
from torch_sake.simulation.dynamics import Simulation, SimulationStopped

__all__ = ['MDConfig', 'Simulation', 'SimulationStopped']
