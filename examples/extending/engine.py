"""An engine: molecular dynamics by velocity Verlet, in NumPy.

    python examples/extending/engine.py

Evaluator takes and returns eV and Angstrom, whatever the units of a potential
are. It searches for neighbors only when atoms have moved.
"""

from pathlib import Path

import ase.units
import numpy
from ase.build import molecule

from torch_sake.calculators import Evaluator

POTENTIAL = Path(__file__).parents[1] / 'potentials' / 'ethanol.safetensors'


def run(evaluator, atoms, num_steps, time_step):
    """Moves the atoms and returns the total energy after each step."""
    numbers, mass = atoms.numbers, atoms.get_masses()[:, None]
    pos, vel = atoms.get_positions(), atoms.get_velocities()
    result = evaluator(numbers, pos)
    energies = []
    for _ in range(num_steps):
        vel = vel + 0.5 * time_step * result.forces / mass
        pos = pos + time_step * vel
        result = evaluator(numbers, pos)
        vel = vel + 0.5 * time_step * result.forces / mass
        energies.append(result.energy + 0.5 * (mass * vel**2).sum())
    atoms.set_positions(pos)
    atoms.set_velocities(vel)
    return numpy.array(energies)


def main():
    atoms = molecule('CH3CH2OH')
    atoms.rattle(0.03)
    evaluator = Evaluator(POTENTIAL)
    energies = run(evaluator, atoms, 200, 0.5 * ase.units.fs)
    drift = 1000 * (energies[-1] - energies[0]) / len(atoms)
    print(f'{len(energies)} steps, drift {drift:.2f} meV per atom')


if __name__ == '__main__':
    main()
