"""Runs molecular dynamics of a trained potential with OpenMM: Langevin
dynamics from a minimum on, and from there with constant energy.

    python examples/openmm_md.py --num_steps 2000 --timestep 0.5

Needs torch-sake[openmm] and ase. Any structure that ASE reads will do, if it
consists of elements that the potential was trained on.
"""

import argparse
from pathlib import Path

import ase.build
import ase.io
import openmm
from openmm import unit
from openmm.app.internal.unitcell import reducePeriodicBoxVectors

from torch_sake.calculators import openmm_force

CHECKPOINT = Path(__file__).parent / 'potentials' / 'ethanol.safetensors'

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument('--checkpoint', default=CHECKPOINT)
parser.add_argument('--structure', help='ethanol if not given')
parser.add_argument('--num_steps', type=int, default=2000)
parser.add_argument('--timestep', type=float, default=0.5, help='in fs')
parser.add_argument('--temperature', type=float, default=300.0, help='in K')
parser.add_argument('--friction', type=float, default=10.0, help='in 1/ps')
parser.add_argument('--platform', default='CPU')
parser.add_argument('--device')
parser.add_argument('--seed', type=int, default=1)
args = parser.parse_args()

atoms = (ase.build.molecule('CH3CH2OH') if args.structure is None else
         ase.io.read(args.structure))
system = openmm.System()
for mass in atoms.get_masses():
    system.addParticle(mass)
if atoms.pbc.any():
    if not atoms.pbc.all():
        parser.error('OpenMM is periodic in all directions or in none')
    # OpenMM wants cells of lower triangular form, not too skewed.
    atoms.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    system.setDefaultPeriodicBoxVectors(
        *reducePeriodicBoxVectors(atoms.cell.array * unit.angstrom))
system.addForce(openmm_force(args.checkpoint, atoms.numbers,
                             periodic=bool(atoms.pbc.any()),
                             device=args.device))
platform = openmm.Platform.getPlatformByName(args.platform)


def energies(context):
    state = context.getState(energy=True)
    return [value.value_in_unit(unit.kilojoule_per_mole) for value in
            (state.getPotentialEnergy(), state.getKineticEnergy())]


def run(name, context):
    """Prints energies ten times on the way, relative to the minimum."""
    print(f'{name}: step, potential, kinetic and total energy (kJ/mol), '
          f'temperature (K)')
    total_energies = []
    for index in range(11):
        if index > 0:
            context.getIntegrator().step(max(1, args.num_steps // 10))
        potential, kinetic = energies(context)
        total_energies.append(potential - minimum + kinetic)
        temperature = 2 * kinetic / (
            3 * len(atoms) * unit.MOLAR_GAS_CONSTANT_R.value_in_unit(
                unit.kilojoule_per_mole / unit.kelvin))
        print(f'{context.getStepCount():8d} {potential - minimum:10.4f} '
              f'{kinetic:10.4f} {total_energies[-1]:10.4f} '
              f'{temperature:8.1f}', flush=True)
    return max(total_energies) - min(total_energies)


timestep = args.timestep * unit.femtosecond
langevin = openmm.LangevinMiddleIntegrator(
    args.temperature * unit.kelvin, args.friction / unit.picosecond, timestep)
langevin.setRandomNumberSeed(args.seed)
context = openmm.Context(system, langevin, platform)
context.setPositions(atoms.positions * unit.angstrom)
openmm.LocalEnergyMinimizer.minimize(context)
minimum = energies(context)[0]
context.setVelocitiesToTemperature(args.temperature * unit.kelvin, args.seed)
run('Langevin', context)

state = context.getState(positions=True, velocities=True)
context = openmm.Context(system, openmm.VerletIntegrator(timestep), platform)
context.setState(state)
spread = run('NVE', context)
print(f'Spread of the total energy: {spread:.4f} kJ/mol')
