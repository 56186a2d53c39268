r"""Pulls molecules apart with potentials that know the energies of isolated
atoms (``--atomic_energies isolated``) and with ones that do not (``fit``).

Labels are of GFN2-xTB: H2, CH4 and ethanol, moved at random, half of them
with a bond of any length up to 2.5 Angstrom and a tenth without the atom that
would leave. Both potentials are trained on the same frames.

    python examples/benchmarks/dissociation.py --out dissociation

It needs ``pip install 'torch-sake[train]'``.
"""
import argparse
import csv
import os.path as osp
from contextlib import suppress

import ase.io
import numpy
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import CalculationFailed
from ase.calculators.singlepoint import SinglePointCalculator
from tblite.ase import TBLite

from torch_sake import load_potential
from torch_sake.training import TrainConfig, Trainer

# Of each molecule, the atom that is pulled away and its neighbor:
BONDS = {'H2': (1, 0), 'CH4': (1, 0), 'CH3CH2OH': (3, 2)}
LENGTHS = numpy.linspace(0.7, 8.0, 147)
FAR = 6.0  # Angstrom
# Of the frames. Beyond, GFN2-xTB is on its way to another limit than the sum
# of the parts: it splits electrons between atoms that are far apart.
LONGEST = 2.5


def label(atoms, **info):
    """Returns the atoms with the energy and the forces of GFN2-xTB."""
    atoms.calc = TBLite(method='GFN2-xTB', verbosity=0)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    atoms.info.update(info)
    return atoms


def stretched(name, length):
    atoms, (moved, fixed) = molecule(name), BONDS[name]
    bond = atoms.positions[moved] - atoms.positions[fixed]
    atoms.positions[moved] = (atoms.positions[fixed] +
                              length * bond / numpy.linalg.norm(bond))
    return atoms


def write_frames(path, number):
    rng = numpy.random.default_rng(0)
    frames = [label(Atoms(symbol), config_type='IsolatedAtom')
              for symbol in 'HCO']
    for name in BONDS:
        count = len(frames) + number
        while len(frames) < count:
            kind, atoms = rng.random(), molecule(name)
            if kind < 0.5:
                atoms = stretched(name, rng.uniform(0.7, LONGEST))
            elif kind < 0.6 and len(atoms) > 2:  # what is left behind
                del atoms[BONDS[name][0]]
            atoms.positions += rng.normal(scale=0.05,
                                          size=atoms.positions.shape)
            with suppress(CalculationFailed):  # a few do not converge
                frames.append(label(atoms, config_type=name))
    ase.io.write(path, frames, format='extxyz')


def energies(potential, name):
    """Returns those of the lengths, less those of the separated parts."""
    out = []
    with torch.no_grad():
        for length in LENGTHS:
            atoms = stretched(name, length)
            moved = BONDS[name][0]
            parts = [atoms, atoms[[moved]], atoms[[
                index for index in range(len(atoms)) if index != moved]]]
            whole, *alone = (float(potential(
                torch.tensor(part.numbers),
                torch.tensor(part.positions))[0]) for part in parts)
            out.append(whole - sum(alone))
    return numpy.array(out)


def labels(name):
    """The same of GFN2-xTB, NaN where it does not converge."""
    out = []
    for length in LENGTHS:
        atoms = stretched(name, length)
        moved = BONDS[name][0]
        rest = atoms[[i for i in range(len(atoms)) if i != moved]]
        out.append(numpy.nan)
        with suppress(CalculationFailed):
            whole, *alone = (label(part).get_potential_energy()
                             for part in (atoms, atoms[[moved]], rest))
            out[-1] = whole - sum(alone)
    return numpy.array(out)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='dissociation')
    parser.add_argument('--number', type=int, default=400,
                        help='frames of each molecule')
    parser.add_argument('--num_steps', type=int, default=6000)
    args = parser.parse_args()
    path = args.out + '.extxyz'
    if not osp.exists(path):
        write_frames(path, args.number)
    curves = {name: {'labels': labels(name)} for name in BONDS}
    atoms = {'labels': {symbol: label(Atoms(symbol)).get_potential_energy()
                        for symbol in 'HCO'}}
    for kind in ('isolated', 'fit'):
        out = f'{args.out}_{kind}'
        if not osp.exists(osp.join(out, 'best.safetensors')):
            trainer = Trainer(TrainConfig(
                path, atomic_energies=kind, num_train=1080, num_val=60,
                num_test=60, num_steps=args.num_steps, out=out))
            trainer.fit()
        potential = load_potential(out)
        atoms[kind] = {
            symbol: float(potential.energy(torch.tensor(
                Atoms(symbol).numbers), torch.zeros(1, 3)))
            for symbol in 'HCO'}
        for name in BONDS:
            curves[name][kind] = energies(potential, name)

    print(f"{'molecule':>10}{'energies':>10}{'at 6 A':>12}{'highest':>12}"
          f"{'at':>8}   (meV above the separated parts)")
    for name, of_name in curves.items():
        for kind, curve in of_name.items():
            far = 1e3 * curve[numpy.abs(LENGTHS - FAR).argmin()]
            # From the minimum on, as all are high where atoms meet.
            after = numpy.nanargmin(curve)
            top = after + numpy.nanargmax(curve[after:])
            print(f'{name:>10}{kind:>10}{far:12.2f}{1e3 * curve[top]:12.2f}'
                  f'{LENGTHS[top]:8.2f}')
    for kind, of_kind in atoms.items():
        print(f'{kind:>10}: isolated atoms ' + ', '.join(
            f'{symbol} {energy:.4f} eV' for symbol, energy in of_kind.items()))
    with open(args.out + '.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['molecule', 'length', *next(iter(curves.values()))])
        for name, of_name in curves.items():
            writer.writerows([name, f'{length:.2f}', *(
                f'{energy:.5f}' for energy in row)] for length, *row in zip(
                    LENGTHS, *of_name.values()))


if __name__ == '__main__':
    main()
