"""Trains VectorSAKE on the energies of QM7: about 7000 organic molecules of up
to 23 atoms, each in one geometry, without forces.

    python examples/benchmarks/qm7.py --data FOLDER --out runs/qm7

The folder holds two files. qm7.npz has the arrays z [M, A] (atomic numbers, 0
after the last atom), pos [M, A, 3] (in Angstrom), n_atoms [M] and energy_pbe0
[M] (atomization energies of PBE0, in kcal/mol). qm7_splits.npz has the indices
train, val and test of the molecules.

The molecules are written to --out as extended XYZ with energies in eV, the
unit of ASE (ase.units.kcal / ase.units.mol each), for torch-sake to read. The
results printed last are in kcal/mol again. A run that was interrupted goes on
with --resume.
"""

import argparse
import json
import os

import ase.io
import numpy
from ase import Atoms, units
from ase.calculators.singlepoint import SinglePointCalculator

from torch_sake.cli.train import train
from torch_sake.training import TrainConfig
from torch_sake.utils.files import read_arrays, replace_when_complete

KCAL_PER_MOL = units.kcal / units.mol  # in eV


def write_molecules(molecules, path):
    """Writes the arrays of qm7.npz as extended XYZ."""
    frames = []
    for z, pos, num_atoms, energy in zip(*(molecules[key] for key in (
            'z', 'pos', 'n_atoms', 'energy_pbe0'))):
        atoms = Atoms(z[:num_atoms], pos[:num_atoms])
        atoms.calc = SinglePointCalculator(atoms, energy=energy * KCAL_PER_MOL)
        frames.append(atoms)
    with replace_when_complete(path) as temporary:
        ase.io.write(temporary, frames)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', required=True)
    parser.add_argument('--out', default='runs/qm7')
    parser.add_argument('--resume', action='store_true')
    parser.add_argument('--num_steps', type=int, default=20_000)
    parser.add_argument('--batch_size', type=int, default=32)
    parser.add_argument('--learning_rate', type=float, default=3e-3)
    parser.add_argument('--num_layers', type=int, default=3)
    parser.add_argument('--hidden_channels', type=int, default=64)
    parser.add_argument('--cutoff', type=float, default=5.0)
    parser.add_argument('--num_rbf', type=int, default=20)
    parser.add_argument('--seed', type=int, default=0)
    settings = vars(parser.parse_args())

    folder = settings.pop('data')
    split_path = os.path.join(folder, 'qm7_splits.npz')
    molecules = read_arrays(os.path.join(folder, 'qm7.npz'),
                            ['z', 'pos', 'n_atoms', 'energy_pbe0'])
    path = os.path.join(settings['out'], 'qm7.extxyz')
    write_molecules(molecules, path)
    try:
        train(TrainConfig(data=path, split=split_path,
                          val_interval=max(settings['num_steps'] // 100, 1),
                          **settings))
    except KeyboardInterrupt:
        raise SystemExit(130) from None

    with open(os.path.join(settings['out'], 'test.json')) as file:
        errors = json.load(file)
    energy, split = molecules['energy_pbe0'], read_arrays(split_path,
                                                          ['train', 'test'])
    mean = energy[split['train']].mean()
    rows = {
        'VectorSAKE': errors['model']['energy_mae'] / KCAL_PER_MOL,
        'linear in element counts':
        errors['trivial']['energy_mae'] / KCAL_PER_MOL,
        'mean of the training set':
        numpy.abs(energy[split['test']] - mean).mean(),
    }
    print('\nTest MAE (kcal/mol)')
    for name, error in rows.items():
        print(f'{name:<26}{error:>10.3f}')


if __name__ == '__main__':
    main()
