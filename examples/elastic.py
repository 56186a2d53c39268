"""Lattice constant and elastic constants of a cubic crystal, from a trained
potential and from the labeled frames that it can be compared with.

    torch-sake train --data Si_train.xyz --num_train 194 --num_val 20 \
        --num_test 0 --batch_size 2 --num_steps 10000 --zbl true \
        --energy_weight 0.1 --stress_weight 1.0 --out runs/silicon
    python examples/elastic.py --checkpoint runs/silicon --data Si_train.xyz

The frame of --data with the least energy per atom is the ground state. Its
strained copies among the frames (by at most --max_strain) give the constants
of the labels; the same frames with the stresses of the potential give those of
the potential at the same strains. Beside them is what the potential says
itself: the cell relaxed, and small strains, with atoms that are displaced with
the cell ('clamped') and with atoms that may relax.
"""

import argparse
import csv

import ase.io
import numpy
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS
from ase.units import GPa

from torch_sake.calculators import SAKECalculator


def cubic_constants(strains, stresses):
    """Least squares for C11, C12 and C44, from tensors [M, 3, 3]."""
    rows, values = [], []
    for strain, stress in zip(strains, stresses):
        trace = numpy.trace(strain)
        for i in range(3):
            rows.append([strain[i, i], trace - strain[i, i], 0])
            values.append(stress[i, i])
            for j in range(i):
                rows.append([0, 0, 2 * strain[i, j]])
                values.append(stress[i, j])
    return numpy.linalg.lstsq(numpy.array(rows), numpy.array(values),
                              rcond=None)[0] / GPa


def strained_frames(frames, ground, max_strain):
    """The strains of the frames that are slightly strained copies of the
    ground state, and these frames."""
    strains, copies = [], []
    fractional = ground.get_scaled_positions(wrap=False)
    for atoms in frames:
        if len(atoms) != len(ground) or 'stress' not in atoms.calc.results:
            continue
        deformation = numpy.linalg.solve(ground.cell.array, atoms.cell.array)
        strain = 0.5 * (deformation + deformation.T) - numpy.eye(3)
        moved = atoms.get_scaled_positions(wrap=False) - fractional
        moved -= numpy.round(moved)
        if 0 < numpy.abs(strain).max() < max_strain and (
                numpy.abs(moved).max() < 1e-4):
            strains.append(strain)
            copies.append(atoms)
    return strains, copies


def small_strains(atoms, relax, size=5e-3):
    """Stresses of an already relaxed cell under one strain of each kind."""
    strains, stresses = [], []
    for i, j in ((0, 0), (1, 2)):
        for sign in (1, -1):
            strain = numpy.zeros((3, 3))
            strain[i, j] = strain[j, i] = sign * size
            copy = atoms.copy()
            copy.calc = atoms.calc
            copy.set_cell(copy.cell.array @ (numpy.eye(3) + strain),
                          scale_atoms=True)
            if relax:
                BFGS(copy, logfile=None).run(fmax=1e-4, steps=200)
            strains.append(strain)
            stresses.append(copy.get_stress(voigt=False))
    return strains, stresses


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--checkpoint', required=True)
    parser.add_argument('--data', required=True)
    parser.add_argument('--max_strain', type=float, default=0.045)
    parser.add_argument('--repeat', type=int, default=2,
                        help='Copies of the cubic cell along each axis.')
    parser.add_argument('--csv', help='a file for the table')
    args = parser.parse_args()

    frames = ase.io.read(args.data, ':')
    ground = min(frames, key=lambda atoms: atoms.get_potential_energy() /
                 len(atoms))
    strains, copies = strained_frames(frames, ground, args.max_strain)
    if not copies:
        raise SystemExit('There are no strained copies of the ground state')
    calculator = SAKECalculator(args.checkpoint)

    def predicted(atoms):
        atoms = atoms.copy()
        atoms.calc = calculator
        return atoms.get_stress(voigt=False)

    relaxed = ground.copy()
    relaxed.calc = calculator
    BFGS(FrechetCellFilter(relaxed), logfile=None).run(fmax=1e-4, steps=300)
    rows = {
        f'labels, {len(copies)} strained frames': (
            ground, (strains, [atoms.get_stress(voigt=False)
                               for atoms in copies])),
        'potential, same frames': (
            ground, (strains, [predicted(atoms) for atoms in copies])),
        'potential, small strains, clamped': (
            relaxed, small_strains(relaxed, relax=False)),
        'potential, small strains, relaxed': (
            relaxed, small_strains(relaxed, relax=True)),
    }
    table = [('', 'a (Angstrom)', 'C11 (GPa)', 'C12', 'C44', 'bulk modulus'),
             6 * ('---', )]
    for name, (atoms, stresses) in rows.items():
        c11, c12, c44 = cubic_constants(*stresses)
        length = atoms.get_volume()**(1 / 3) / args.repeat
        table.append((name, f'{length:.4f}', *(f'{value:.1f}' for value in (
            c11, c12, c44, (c11 + 2 * c12) / 3))))
    for row in table:
        print('| ' + ' | '.join(row) + ' |')
    if args.csv:
        with open(args.csv, 'w', newline='') as file:
            csv.writer(file).writerows([table[0], *table[2:]])


if __name__ == '__main__':
    main()
