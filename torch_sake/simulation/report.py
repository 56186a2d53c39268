import os.path as osp

import numpy

from torch_sake.utils.figures import new_figure, save_figure

# In K; no molecule has such a temperature:
MAX_TEMPERATURE = 1e4
# That of the least certain atom:
UNCERTAINTY = 'uncertainty of forces [eV/Angstrom]'


def energy_drift(rows: dict[str, list[float]],
                 num_atoms: int) -> dict[str, float]:
    r"""Returns the slope of the line through the total energies, in meV per
    atom and 100 ps, and the root mean square and the largest distance from
    it, in meV per atom.
    """
    time = numpy.array(rows['time [fs]']) / 1e5
    energy = numpy.array(rows['total energy [eV]']) * 1000 / num_atoms
    if len(time) < 3:
        return {'drift': 0.0, 'fluctuation': 0.0, 'largest': 0.0}
    slope, offset = numpy.polyfit(time, energy, 1)
    rest = energy - slope * time - offset
    return {'drift': float(slope),
            'fluctuation': float(numpy.sqrt(numpy.square(rest).mean())),
            'largest': float(numpy.abs(rest).max())}


def heat(rows: dict[str, list[float]]) -> list[str]:
    r"""Returns what there is to say of a temperature that is none."""
    highest = max(rows['temperature [K]'])
    if highest <= MAX_TEMPERATURE:
        return []
    return [f'The temperature has been {highest:.0f} K: the potential or the '
            f'time step cannot be trusted']


def describe(rows: dict[str, list[float]], num_atoms: int,
             conserves_energy: bool) -> str:
    r"""Returns what there is to say of a simulation, from its log."""
    temperature = numpy.array(rows['temperature [K]'])
    lines = [f"{rows['time [fs]'][-1] / 1000:g} ps, temperature "
             f"{temperature.mean():.1f} +- {temperature.std():.1f} K"]
    if conserves_energy:
        drift = energy_drift(rows, num_atoms)
        lines.append(
            f"total energy: drift {drift['drift']:.4f} meV per atom and "
            f"100 ps, fluctuation {drift['fluctuation']:.4f}, largest "
            f"deviation {drift['largest']:.4f} meV per atom")
    for name in ('volume [Angstrom^3]', 'pressure [GPa]'):
        if name in rows:
            values = numpy.array(rows[name])
            lines.append(f'{name}: {values.mean():.4g} +- {values.std():.2g}')
    if UNCERTAINTY in rows:
        values = numpy.array(rows[UNCERTAINTY])
        lines.append(f"largest {UNCERTAINTY}: {values.max():.4g}, at step "
                     f"{rows['step'][values.argmax()]:.0f}, the mean is "
                     f"{values.mean():.4g}")
    return '\n'.join(lines)


def plot_simulation(rows: dict[str, list[float]], folder: str) -> None:
    r"""Draws energies and temperature into :obj:`md.png`."""
    figure, axes = new_figure(2)
    time = numpy.array(rows['time [fs]']) / 1000
    for name in ('potential', 'kinetic', 'total'):
        energy = numpy.array(rows[f'{name} energy [eV]'])
        axes[0].plot(time, energy - energy[0], label=name, linewidth=0.8)
    axes[0].set(xlabel='time (ps)', ylabel='energy, from its first value (eV)')
    axes[0].legend()
    axes[1].plot(time, rows['temperature [K]'], linewidth=0.8)
    axes[1].set(xlabel='time (ps)', ylabel='temperature (K)')
    for axis in axes:
        axis.grid(True, alpha=0.3)
    save_figure(figure, osp.join(folder, 'md.png'))
