r"""What potentials say where few data are: bonds of a molecule that are
pressed and pulled apart, beside GFN2-xTB on the same path, and hot dynamics.

    python examples/benchmarks/ends.py runs/ethanol runs/other --out ends

One bond of each pair of elements is taken, all on one side of it moves, and
everything else stays as it is in the molecule that GFN2-xTB has relaxed.
Energies are those above the lowest one of the path. Deviations are shares of
the depth, which is the highest energy by GFN2-xTB of the lengths from the
lowest one on; "falls" and "pressed" are by how much a curve falls where that
of GFN2-xTB rises, outwards and inwards. The dynamics counts the hydrogen atoms
that have no other atom within twice the sum of the covalent radii any more.

It needs ``pip install 'torch-sake[train]'`` and checkpoints in any units.
"""
import argparse
import csv
from contextlib import suppress

import numpy
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from ase.data import covalent_radii
from ase.io import read
from ase.md.langevinbaoab import LangevinBAOAB
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.optimize import BFGS
from tblite.ase import TBLite

from torch_sake.calculators import SAKECalculator
from torch_sake.testing.structures import molecule_of

PRESSED = 0.5  # of its length
LOST = 2.0  # of the sum of the covalent radii
EVERY = 20  # steps from one count to the next
SMALL = 0.002  # eV; steps of xTB that rise by less say nothing


def relaxed(name):
    try:
        atoms = molecule(name)
    except KeyError:
        atoms = read(name)
    atoms.calc = TBLite(method='GFN2-xTB', verbosity=0)
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=500)
    return Atoms(atoms.numbers, atoms.positions)


def bonds_of(atoms, wanted):
    """Returns the first bond of each pair of elements that is in no ring."""
    found, found_in = {}, molecule_of(atoms, 'Angstrom')
    for pair in found_in.bonds:
        symbols = {'-'.join(atoms.symbols[i] for i in order)
                   for order in (pair, pair[::-1])}
        name = symbols & set(wanted or [min(symbols, key=h_last)])
        if name and found_in.side_of(pair) is not None:
            found.setdefault(name.pop(), pair)
    return found, found_in


def h_last(name):
    return name.startswith('H-'), name


def energies(calculator, atoms, positions):
    """Returns those of all positions, NaN where there is none."""
    out = []
    for pos in positions:
        atoms = Atoms(atoms.numbers, pos, calculator=calculator)
        out.append(numpy.nan)
        with suppress(CalculationFailed):
            out[-1] = atoms.get_potential_energy()
    return numpy.array(out)


def compare(lengths, labels, curve):
    """Returns the depth, the largest deviation as a share of it, where that
    is, and how far the curve falls where that of the labels rises.
    """
    start = int(numpy.nanargmin(labels))
    labels, curve = labels - labels[start], curve - curve[start]
    after = slice(start, None)
    depth = numpy.nanmax(labels[after])
    deviation = numpy.abs(curve - labels)[after]
    worst = int(numpy.nanargmax(deviation))
    rises = numpy.diff(labels[after]) > SMALL
    falls = numpy.where(rises, -numpy.diff(curve[after]), 0.0)
    falls = float(falls.clip(min=0).sum())
    inward = numpy.diff(curve[:start + 1])
    pressed = float(numpy.where(numpy.diff(labels[:start + 1]) < -SMALL,
                                inward, 0.0).clip(min=0).sum())
    return [depth, deviation[worst] / depth, lengths[after][worst], falls,
            pressed]


def lost_hydrogens(atoms):
    """Returns how many hydrogen atoms have no other atom nearby."""
    radii = covalent_radii[atoms.numbers]
    ratio = atoms.get_all_distances() / (radii[:, None] + radii)
    numpy.fill_diagonal(ratio, numpy.inf)
    return int((ratio[atoms.numbers == 1].min(axis=1) > LOST).sum())


def simulate(calculator, start, args, seed):
    """Returns how many are lost in hot dynamics, and when the first one is."""
    atoms, rng = start.copy(), numpy.random.default_rng(seed)
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=args.temperature,
                                 rng=rng)
    dynamics = LangevinBAOAB(
        atoms, args.timestep * units.fs, temperature_K=args.temperature,
        T_tau=100 * units.fs, rng=rng)
    number = round(1000 * args.time / args.timestep) // EVERY
    for step in range(1, number + 1):
        try:
            dynamics.run(EVERY)
            lost = lost_hydrogens(atoms)
        except ValueError:  # forces that are not finite
            lost = int((atoms.numbers == 1).sum())
        if lost:
            return lost, step * EVERY * args.timestep / 1000
    return 0, numpy.nan


def write(path, header, rows):
    with open(path, 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('checkpoints', nargs='+')
    parser.add_argument('--structure', default='CH3CH2OH',
                        help="a molecule of ASE's or a file")
    parser.add_argument('--bonds', nargs='*', help="such as O-H; one of each "
                        "pair of elements if not given")
    parser.add_argument('--longest', type=float, default=4.0,
                        help='Angstrom')
    parser.add_argument('--num_points', type=int, default=120)
    parser.add_argument('--temperature', type=float, default=1500.0)
    parser.add_argument('--time', type=float, default=10.0,
                        help='ps; 0 for no dynamics')
    parser.add_argument('--timestep', type=float, default=0.5, help='fs')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--out', default='ends')
    args = parser.parse_args()
    calculators = {path: SAKECalculator(path) for path in args.checkpoints}
    start = relaxed(args.structure)
    bonds, found = bonds_of(start, args.bonds)
    missing = set(args.bonds or ()) - set(bonds)
    if missing:
        parser.error(f'no bond {sorted(missing)} that is in no ring')
    curves, summary, dynamics = [], [], []
    print(f"{'bond':>6}{'depth':>8}{'share':>8}{'at':>7}{'falls':>8}"
          f"{'pressed':>9}   checkpoint (eV, Angstrom)")
    for name, pair in bonds.items():
        lengths = numpy.linspace(PRESSED * found.distance(pair), args.longest,
                                 args.num_points)
        pos = found.pulled(pair, torch.from_numpy(lengths)).numpy()
        labels = energies(TBLite(method='GFN2-xTB', verbosity=0), start, pos)
        columns = [labels - numpy.nanmin(labels)]
        for path, calculator in calculators.items():
            curve = energies(calculator, start, pos)
            columns.append(curve - curve[numpy.nanargmin(labels)])
            row = compare(lengths, labels, curve)
            summary.append([path, name, *(f'{value:.5f}' for value in row)])
            print('{:>6}{:8.3f}{:8.3f}{:7.2f}{:8.3f}{:9.3f}   {}'.format(
                name, *row, path), flush=True)
        curves += [[name, *row] for row in zip(lengths, *columns)]
    write(args.out + '.csv', ['bond', 'length', 'xtb', *calculators], [
        [name, *(f'{value:.5f}' for value in row)] for name, *row in curves])
    write(args.out + '_summary.csv', ['checkpoint', 'bond', 'depth', 'share',
                                      'at', 'falls', 'pressed'], summary)
    for path, calculator in calculators.items() if args.time > 0 else ():
        for seed in args.seeds:
            lost, when = simulate(calculator, start, args, seed)
            dynamics.append([path, seed, lost, f'{when:.3f}'])
            print(f'{lost} hydrogens lost in {args.time:g} ps at '
                  f'{args.temperature:g} K (first after {when:g} ps)   {path}',
                  flush=True)
    if dynamics:
        write(args.out + '_dynamics.csv', ['checkpoint', 'seed', 'lost',
                                           'first'], dynamics)


if __name__ == '__main__':
    main()
