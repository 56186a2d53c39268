from torch_sake.simulation import MDConfig, Simulation, SimulationStopped
from torch_sake.simulation.report import describe, plot_simulation


def md(config: MDConfig) -> None:
    r"""Simulates and reports what came of it."""
    simulation = Simulation(config)
    print(f'{simulation.atoms.get_chemical_formula()}: {config.ensemble}, '
          f'steps {simulation.step} to {config.num_steps} of '
          f'{config.timestep:g} fs')
    for remark in simulation.soundness.remarks:
        print(remark)
    try:
        simulation.run()
    except KeyboardInterrupt:
        print(f"\nStopped at step {simulation.step}; '--resume' goes on from "
              f"there.")
        plot(simulation)
        raise
    except SimulationStopped:
        plot(simulation)
        raise
    rows = plot(simulation)
    print(describe(rows, len(simulation.atoms), config.ensemble == 'nve'))
    simulation.check_result()
    print(f'The simulation is in {simulation.out}')


def plot(simulation: Simulation) -> dict[str, list[float]]:
    r"""Draws the log of a simulation and returns it."""
    rows: dict[str, list[float]] = {}
    if simulation.records.num_frames > 0:
        rows = simulation.records.rows()
        plot_simulation(rows, simulation.out)
    return rows
