import warnings
from typing import Any

import numpy

from torch_sake.simulation.config import MDConfig

PRESSURE_TAU = 1000.0  # fs, time of the barostat


def build_dynamics(config: MDConfig, atoms: Any, rng: numpy.random.Generator,
                   state: dict[str, Any] | None) -> Any:
    r"""Returns what makes the steps of a simulation.

    Args:
        config (MDConfig): What the simulation is made of.
        atoms (ase.Atoms): The structure, with a calculator.
        rng (numpy.random.Generator): The random numbers of the heat bath.
        state (dict or None): The state that the simulation goes on from.
    """
    from ase import units
    from ase.md.langevinbaoab import LangevinBAOAB
    bath = {}
    if config.ensemble != 'nve':
        bath.update(temperature_K=config.temperature, rng=rng,
                    T_tau=1000 * units.fs / config.friction)
    if config.ensemble == 'npt':
        bath.update(externalstress=-config.pressure * units.GPa,
                    hydrostatic=config.isotropic,
                    P_tau=PRESSURE_TAU * units.fs)
        # The first forces are to come with the stress, like all others, as
        # they would differ in their last digits without it.
        atoms.get_stress()
    with warnings.catch_warnings():  # that it chooses the cell's mass
        warnings.simplefilter('ignore', UserWarning)
        dynamics = LangevinBAOAB(atoms, config.timestep * units.fs, **bath)
    if state is not None and config.ensemble == 'npt':
        # The force has velocities of the middle of a step in it. Both are
        # numbers if the shape of the cell is kept.
        dynamics.p_eps = state['cell_momentum'][()]
        dynamics.force_eps = state['cell_force'][()]
    return dynamics
