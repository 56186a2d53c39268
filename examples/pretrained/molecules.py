"""Molecules of H, C, N, O and F to learn from, and others to test on.

They are drawn from QM9, by the package ``qm9pack`` (``pip install qm9pack``),
of which only the tables are read. The small ones are all taken: they have more
kinds of neighbors per atom. QM9 has no nitro group, hardly a peroxide and
fluorine on carbon alone, so that small molecules are changed, too: H to F, CH
to N, NH to O, CH2 to O, OH to F, each with as many electrons as before.

Molecules are told apart by their bonds: two conformers are one molecule, which
is either learned from or tested on. None of ASE's collection g2 is learned
from but for those in SMALL.
"""

import csv
import json
import os.path as osp
import re
import sys
from importlib.util import find_spec
from itertools import chain, islice
from typing import NamedTuple

import numpy
from ase.build import molecule
from ase.collections import g2
from ase.data import covalent_radii

from torch_sake.sampling.bonds import find_bonds

ELEMENTS = {'H': 1, 'C': 6, 'N': 7, 'O': 8, 'F': 9}
# Learned from more often than others, as they are simulated more often:
SMALL = ('H2', 'H2O', 'NH3', 'CH4', 'HF', 'N2', 'CO', 'CO2', 'HCN', 'F2',
         'C2H6', 'CH3OH')
MAX_HEAVY = 7  # atoms but hydrogen, of molecules that are all taken
CHANGES = ((1, 9, 0), (6, 7, 1), (7, 8, 1), (8, 9, 1), (6, 8, 2))


class Molecule(NamedTuple):
    """Atomic numbers [n] and positions [n, 3] in Angstrom."""
    z: numpy.ndarray
    pos: numpy.ndarray

    @property
    def num_heavy(self):
        return int((self.z > 1).sum())


class Drawn(NamedTuple):
    """Molecules that are learned from: drawn ones, changed ones and the
    frequent ones; and those that validations and tests are made of.
    """
    drawn: list
    changed: list
    small: list
    qm9_val: list
    qm9_test: list
    g2_test: dict


def read_qm9(folder=None):
    """Yields all molecules of QM9 (130,831)."""
    if folder is None:
        spec = find_spec('qm9pack')
        if spec is None:
            raise SystemExit("QM9 is read from the package 'qm9pack' (pip "
                             "install qm9pack)")
        folder = osp.join(osp.dirname(spec.origin), 'data')
    csv.field_size_limit(sys.maxsize)
    for part in (1, 2, 3):
        with open(osp.join(folder, f'qm9_part{part}.csv')) as file:
            for row in csv.DictReader(file):
                symbols = json.loads(row['Elements'].replace("'", '"'))
                numbers = re.findall(r'[-+.\deE]+', row['XYZ_Ang'])
                yield Molecule(
                    numpy.array([ELEMENTS[symbol] for symbol in symbols]),
                    numpy.array(numbers, dtype=float).reshape(-1, 3))


def bonds_of(one):
    """Returns which atoms are bonded, [n, n]."""
    bonded = numpy.zeros((len(one.z), len(one.z)), dtype=bool)
    bonded[tuple(find_bonds(one.z, one.pos).T)] = True
    return bonded | bonded.T


def key_of(one):
    """Returns the same for all conformers of a molecule: the neighbors of the
    neighbors of each atom, and so on (the test of Weisfeiler and Lehman).
    """
    bonded = bonds_of(one)
    colors = one.z.tolist()
    for _ in range(6):
        near = [(colors[index], *sorted(colors[other] for other in
                                        bonded[index].nonzero()[0]))
                for index in range(len(colors))]
        colors = [hash(entry) for entry in near]  # of integers: no salt
    return tuple(sorted(colors))


def change(one, rng):
    """Returns a molecule with another element in one place, or None."""
    z, pos, bonded = one.z.copy(), one.pos.copy(), bonds_of(one)
    before, after, lost = CHANGES[rng.integers(len(CHANGES))]
    places = (z == before).nonzero()[0]
    hydrogens = (z == 1).nonzero()[0]
    if len(places) == 0 or len(hydrogens) < lost:
        return None
    place = rng.choice(places)
    z[place] = after
    if before == 1:
        near = bonded[place].nonzero()[0]
        if len(near) != 1 or len(z) - len(places) > 9:
            return None
        bond = pos[place] - pos[near[0]]
        length = covalent_radii[[after, z[near[0]]]].sum()
        pos[place] = pos[near[0]] + length * bond / numpy.linalg.norm(bond)
    # Those of the atom go, or else the closest.
    gone = hydrogens[numpy.linalg.norm(pos[hydrogens] - pos[place], axis=1)
                     .argsort()[:lost]]
    kept = numpy.setdiff1d(numpy.arange(len(z)), gone)
    return Molecule(z[kept], pos[kept])


def g2_molecules():
    """Returns the molecules of g2 with these elements and paired electrons,
    by their names.
    """
    found = {name: g2[name] for name in g2.names}
    return {name: Molecule(atoms.numbers, atoms.positions)
            for name, atoms in found.items()
            if len(atoms) > 1 and set(atoms.numbers) <= {*ELEMENTS.values()}
            and not atoms.get_initial_magnetic_moments().any()}


def small_molecules():
    return [Molecule(atoms.numbers, atoms.positions) for atoms in
            map(molecule, SMALL)]


def draw(seed=0, num_molecules=12000, num_changed=4000, num_val=100,
         num_test=100, folder=None):
    """Returns molecules to learn from and molecules to test on.

    Args:
        seed (int): Fixes all.
        num_molecules (int): How many of QM9 to learn from: all with at most
            seven heavy atoms, or as many, and others by chance.
        num_changed (int): How many more that are changed.
        num_val, num_test (int): How many of QM9 to validate and to test on, by
            chance; g2 has at most as many for tests.
        folder (str): The tables of QM9; those of qm9pack if not given.
    """
    rng = numpy.random.default_rng(seed)
    molecules = list(read_qm9(folder))
    order = rng.permutation(len(molecules))
    held_out = [molecules[index] for index in order[:num_test + num_val]]
    qm9_test, qm9_val = held_out[:num_test], held_out[num_test:]
    small = small_molecules()
    g2_all, learned = g2_molecules(), {key_of(one) for one in small}
    g2_test = {name: one for name, one in g2_all.items()
               if key_of(one) not in learned}
    refused = {key_of(one) for one in [*held_out, *g2_test.values()]}
    g2_test = dict(islice(g2_test.items(), num_test))

    rest = [molecules[index] for index in order[len(held_out):]]
    few = [one for one in rest if one.num_heavy <= MAX_HEAVY]
    large = (one for one in rest if one.num_heavy > MAX_HEAVY)
    kept = (one for one in chain(few, large) if key_of(one) not in refused)
    drawn = list(islice(kept, num_molecules))

    changed, seen = [], {key_of(one) for one in few}
    while few and len(changed) < num_changed:
        one = few[rng.integers(len(few))]
        for _ in range(rng.integers(1, 4)):
            one = change(one, rng) or one
        key = key_of(one)
        if len(one.z) > 1 and key not in refused and key not in seen:
            seen.add(key)
            changed.append(one)
    return Drawn(drawn, changed, small, qm9_val, qm9_test, g2_test)
