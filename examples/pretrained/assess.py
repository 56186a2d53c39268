"""What a potential of xtb_organic.py knows of molecules that it has not seen:
errors of forces and energies by element, size and temperature, bonds that
break in 100 ps at 1000 K, and energies of conformers.
"""

import os.path as osp

import numpy
import torch
from ase import Atoms
from ase.io import iread, write
from torch_geometric.loader import DataLoader

from torch_sake.sampling import Structure, label
from torch_sake.sampling.bonds import find_bonds, side_of
from torch_sake.sampling.moves import turn_bonds
from torch_sake.simulation import MDConfig, Simulation, SimulationStopped
from torch_sake.utils.elements import symbol_of

SIZES = (8, 12, 16, 20, 30)  # numbers of atoms, up to which there is one bin
SPACING = 100.0  # Angstrom, between molecules that are simulated together
BROKEN = 1.8  # of the length that a bond has at the start
HOT, HEAVY = 1000.0, 3.024  # K, and the mass of hydrogen in u
NUM_CONFORMERS, NUM_BONDS = 8, 3  # of a flexible molecule, that turn


def predictions(potential, frames):
    """Returns the differences of forces and of energies per atom, and the
    forces, with the numbers of the atoms and the sizes of their molecules.
    """
    found = {key: [] for key in ('error', 'force', 'z', 'size', 'energy',
                                 'num_atoms')}
    for batch in DataLoader(frames, batch_size=32):
        pos = batch.pos.to(next(potential.parameters()).dtype)
        energy, force, _ = potential(batch.z, pos, batch.batch)
        size = batch.ptr.diff()
        found['error'].append((force.detach() - batch.force).norm(dim=1))
        found['force'].append(batch.force.norm(dim=1))
        found['z'].append(batch.z)
        found['size'].append(size[batch.batch])
        found['energy'].append((energy.detach() - batch.energy) / size)
        found['num_atoms'].append(size)
    return {key: torch.cat(values).numpy() for key, values in found.items()}


def error_rows(potential, frames, name):
    """Returns a row of errors for each group of a set of frames."""
    found = predictions(potential, frames)
    # Atoms of each group, and molecules where it is one of these:
    groups = {'all': found['size'] > 0}
    molecules = {'all': found['num_atoms'] > 0}
    for number in numpy.unique(found['z']):
        groups[symbol_of(int(number))] = found['z'] == number
    for low, high in zip((0, *SIZES), SIZES):
        name_of_bin = f'{low + 1} to {high} atoms'
        groups[name_of_bin], molecules[name_of_bin] = (
            (sizes > low) & (sizes <= high)
            for sizes in (found['size'], found['num_atoms']))
    rows = []
    for group, atoms in groups.items():
        if not atoms.any():
            continue
        error, force = found['error'][atoms], found['force'][atoms]
        row = {'set': name, 'group': group, 'num_atoms': int(atoms.sum()),
               'force_percent': 100 * float(error.mean() / force.mean()),
               'force_mae': 1000 * float(error.mean()),  # meV/Angstrom
               'force_mean': 1000 * float(force.mean())}
        if group in molecules:
            error = found['energy'][molecules[group]]  # per atom
            row['energy_mae'] = 1000 * float(numpy.abs(error).mean())
        rows.append(row)
    return rows


def side_by_side(molecules):
    """Returns molecules far from each other, and where each of them begins."""
    z = numpy.concatenate([one.z for one in molecules])
    pos = numpy.concatenate([one.pos + [SPACING * index, 0.0, 0.0]
                             for index, one in enumerate(molecules)])
    ends = numpy.cumsum([len(one.z) for one in molecules])
    return Atoms(z, pos), [slice(end - len(one.z), end)
                           for end, one in zip(ends, molecules)]


def first_break(one, trajectory):
    """Returns the number of the first frame in which a bond is broken, or
    None.
    """
    i, j = find_bonds(one.z, one.pos).T
    start = numpy.linalg.norm(one.pos[i] - one.pos[j], axis=1)
    for number, pos in enumerate(trajectory):
        length = numpy.linalg.norm(pos[i] - pos[j], axis=1)
        if not (length < BROKEN * start).all():
            return number
    return None


def hot_rows(checkpoint, molecules, out, num_ps):
    """Simulates molecules at 1000 K, and those that break with GFN2-xTB, too.
    Returns a row for each: after how many ps they broke.
    """
    atoms, places = side_by_side(molecules)
    # Heavier hydrogen changes nothing but the pace, and allows longer steps.
    masses = atoms.get_masses()
    masses[atoms.numbers == 1] = HEAVY
    atoms.set_masses(masses)
    path, folder = osp.join(out, 'hot.xyz'), osp.join(out, 'hot')
    write(path, atoms, format='extxyz')
    config = MDConfig(
        checkpoint, path, out=folder, num_steps=round(500 * num_ps),
        timestep=2.0, temperature=HOT, interval=25,  # frames 50 fs apart
        resume=osp.exists(osp.join(folder, 'restart.npz')))
    try:
        Simulation(config).run()
    except SimulationStopped as error:  # what broke is in its frames
        print(error)
    frames = [frame.positions for frame in iread(
        osp.join(folder, 'trajectory.extxyz'))]
    rows = []
    for number, (one, place) in enumerate(zip(molecules, places)):
        broken = first_break(one, (pos[place] for pos in frames))
        row = {'molecule': Atoms(one.z).get_chemical_formula(),
               'broken_after_ps': broken and broken * 0.05}
        if broken is not None:
            kept = label([Structure(one.z, one.pos, temperature=HOT,
                                    num_steps=round(1000 * num_ps),
                                    interval=50)],
                         folder=osp.join(out, 'hot_labels', str(number)))
            also = first_break(one, (frame.pos.numpy() for frame in kept))
            row['xtb_broken_after_ps'] = also and also * 0.05
        rows.append(row)
    return rows


def conformers(one, rng):
    """Returns conformers of a molecule."""
    start, found = Structure(one.z, one.pos), []
    while len(found) < NUM_CONFORMERS:
        turned = turn_bonds(start, rng)
        if turned is not None:  # atoms would be too close each time
            found.append(turned)
    return found


def turning_bonds(one):
    """Returns how many bonds, between atoms that have others, can turn."""
    bonds = find_bonds(one.z, one.pos)
    sides = [side_of(len(one.z), bonds, index) for index in range(len(bonds))]
    return sum(min((one.z[part] > 1).sum() for part in (side, ~side)) > 1
               for side, bond in zip(sides, bonds)
               if side is not None and one.z[bond].min() > 1)


def conformer_rows(potential, molecules, rng):
    """Relaxes conformers with GFN2-xTB. Returns, for each molecule, how far
    the energies of the potential are from those of it, both less their mean.
    """
    from ase.optimize import BFGS
    from tblite.ase import TBLite
    rows = []
    for one in molecules:
        said, known = [], []
        for start in conformers(one, rng):
            atoms = Atoms(start.z, start.pos)
            atoms.calc = TBLite(method='GFN2-xTB', verbosity=0)
            BFGS(atoms, logfile=None).run(fmax=0.03, steps=300)
            known.append(atoms.get_potential_energy())
            said.append(float(potential.energy(
                torch.tensor(atoms.numbers), torch.tensor(
                    atoms.positions).to(next(potential.parameters()).dtype)
            ).detach()))
        said, known = (numpy.array(values) - numpy.mean(values)
                       for values in (said, known))
        rows.append({'molecule': Atoms(one.z).get_chemical_formula(),
                     'mae': 1000 * float(numpy.abs(said - known).mean()),
                     'spread': 1000 * float(known.std())})
    return rows


def choose_flexible(molecules, number):
    """Returns the first molecules with several bonds that turn."""
    return [one for one in molecules
            if turning_bonds(one) >= NUM_BONDS][:number]


def assess(checkpoint, potential, frames, drawn, out, num_ps=100.0,
           number=10, seed=0):
    """Returns all errors.

    Args:
        checkpoint (str): The potential, in its file.
        potential (Potential): The same.
        frames (dict): Labeled frames by the name of their set.
        drawn (Drawn): The molecules.
        out (str): A folder for trajectories.
        num_ps (float): How long hot molecules move; zero leaves them out.
        number (int): How many of them, and how many that turn.
        seed (int): Seed of conformers.
    """
    rng = numpy.random.default_rng(seed)
    return {
        'errors': [row for name, part in frames.items()
                   for row in error_rows(potential, part, name)],
        'conformers': conformer_rows(
            potential, choose_flexible(drawn.qm9_test, number), rng),
        'hot': hot_rows(checkpoint, drawn.qm9_test[:number], out,
                        num_ps) if num_ps else [],
    }
