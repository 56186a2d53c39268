r"""Trains on molecules and their ions together, labeled by GFN2-xTB, with
``--embed_charge`` and without, and compares the errors of each.

Frames are of molecular dynamics at 400 K, of each species on its own surface.
Those of the water cation are those of water with an electron less: whoever
does not know the charge cannot tell one from the other.

    python examples/benchmarks/ions.py --out ions

It needs ``pip install 'torch-sake[train]'``.
"""
import argparse
import csv
import os.path as osp
from collections import Counter

import ase.io
import numpy
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from ase.optimize import BFGS
from tblite.ase import TBLite

from torch_sake import load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import Frames, load_frames
from torch_sake.training import TrainConfig, Trainer


def with_proton(name, heavy, far):
    """A molecule with a proton at one of its atoms, away from another."""
    atoms = molecule(name)
    away = atoms.positions[heavy] - atoms.positions[far].mean(axis=0)
    atoms += Atoms('H', [atoms.positions[heavy] +
                         away / numpy.linalg.norm(away)])
    return atoms


# Each with its total charge and multiplicity:
SPECIES = {
    'H2O': (molecule('H2O'), 0, 1),
    'H3O+': (with_proton('H2O', 0, [1, 2]), 1, 1),
    'OH-': (molecule('OH'), -1, 1),
    'CH3NH2': (molecule('H3CNH2'), 0, 1),
    'CH3NH3+': (with_proton('H3CNH2', 1, [0, 5, 6]), 1, 1),
}
VERTICAL = {'H2O+': ('H2O', 1, 2)}  # on the frames of another one


def label(atoms, name, charge, spin):
    atoms = atoms.copy()
    atoms.calc = TBLite(method='GFN2-xTB', verbosity=0, charge=charge,
                        multiplicity=spin)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
    atoms.info = {'charge': charge, 'spin': spin, 'config_type': name}
    return atoms


def sample(atoms, charge, spin, number, rng):
    atoms = atoms.copy()
    atoms.calc = TBLite(method='GFN2-xTB', verbosity=0, charge=charge,
                        multiplicity=spin)
    BFGS(atoms, logfile=None).run(fmax=0.02, steps=300)
    dynamics = Langevin(atoms, 0.5 * units.fs, temperature_K=400,
                        friction=0.02 / units.fs, rng=rng, fixcm=False)
    dynamics.run(1000)
    for _ in range(number):
        dynamics.run(30)
        yield atoms.copy()


def write_frames(path, number):
    rng = numpy.random.default_rng(0)
    frames = []
    for name, (atoms, charge, spin) in SPECIES.items():
        found = list(sample(atoms, charge, spin, number, rng))
        frames += [label(one, name, charge, spin) for one in found]
        frames += [label(one, ion, *state)
                   for ion, (base, *state) in VERTICAL.items()
                   if base == name for one in found]
    ase.io.write(path, frames, format='extxyz')


def without_charges(frames):
    """The same, of which nobody says what they are."""
    data = [frames[index] for index in range(len(frames))]
    return Frames([one.z for one in data], [one.pos for one in data],
                  [one.energy.item() for one in data],
                  [one.force for one in data], name='ions',
                  units=frames.units, source='ions without charges')


def errors(potential, frames, test, names, embeds):
    """Returns those of each species, in meV and meV/A."""
    sums = {}
    with torch.no_grad():
        for index in test.tolist():
            data, info = frames[index], frames.info(index)
            state = {key: info[key] for key in ('charge', 'spin')}
            energy, force, _ = potential(data.z, data.pos,
                                         **(state if embeds else {}))
            sums.setdefault(names[index], []).append((
                1e3 * float((energy - data.energy).abs()),
                1e3 * float((force - data.force).abs().mean())))
    return {name: numpy.mean(rows, axis=0) for name, rows in sums.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', default='ions')
    parser.add_argument('--number', type=int, default=200,
                        help='frames of each species')
    parser.add_argument('--num_steps', type=int, default=4000)
    parser.add_argument('--energy_weight', type=float, default=0.1)
    args = parser.parse_args()
    path = args.out + '.extxyz'
    if not osp.exists(path):
        write_frames(path, args.number)
    frames = load_frames(path)
    names = [frames.info(index)['config_type'] for index in range(len(frames))]
    num_test = len(frames) // 6
    found = {}
    for embeds in (True, False):
        out = f'{args.out}_{"embedded" if embeds else "plain"}'
        config = TrainConfig(
            path, num_train=len(frames) - 2 * num_test, num_val=num_test,
            num_test=num_test, num_steps=args.num_steps, compile=False,
            embed_charge=embeds, energy_weight=args.energy_weight, out=out)
        if not osp.exists(osp.join(out, 'best.safetensors')):
            Trainer(config, frames=frames if embeds else
                    without_charges(frames)).fit()
        test = load_checkpoint(out)[0]['split.test']
        found[embeds] = errors(load_potential(out), frames, test, names,
                               embeds)
    count = Counter(names[index] for index in test.tolist())
    print(f"{'':>10}{'frames':>8}{'with charge':>24}{'without':>24}\n"
          f"{'':>18}" + 2 * f"{'meV':>12}{'meV/A':>12}")
    for name in count:
        print(f'{name:>10}{count[name]:8}' + ''.join(
            f'{value:12.2f}' for embeds in (True, False)
            for value in found[embeds][name]))
    with open(args.out + '.csv', 'w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['species', 'frames', 'energy', 'force',
                         'energy without', 'force without'])
        writer.writerows([name, count[name], *(
            f'{value:.3f}' for embeds in (True, False)
            for value in found[embeds][name])] for name in count)


if __name__ == '__main__':
    main()
