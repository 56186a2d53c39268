r"""Molecular dynamics of one molecule on the GFN2-xTB energy surface.

This file is run on its own by the processes that :func:`xtb_frames` starts. It
imports nothing of this package, since importing PyTorch takes seconds.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

TIMESTEP = 0.5  # fs, for the vibrations of hydrogen
FRICTION = 0.02  # 1/fs
EQUILIBRATION = 2000  # steps
INTERVAL = 40  # steps between frames

ARRAYS = ('z', 'pos', 'energy', 'force', 'tblite_version')

# A bond stretched to this multiple of its relaxed length is broken.
BROKEN = 2.0


@dataclass(frozen=True)
class Walker:
    r"""One trajectory: the name of a molecule in :meth:`ase.build.molecule`,
    the number of frames to record, the temperature in K, the seed of all
    walkers and the index of this one, which has random numbers of its own;
    the total charge and the multiplicity, those of ASE's molecule if they are
    not given.
    """
    formula: str
    num_frames: int
    temperature: float
    seed: int
    index: int
    charge: int | None = None
    spin: int | None = None

    def metadata(self) -> dict[str, Any]:
        r"""Everything that the result depends on, but for versions."""
        about = {key: value for key, value in asdict(self).items()
                 if value is not None}  # as older files have it
        return {**about, 'method': 'GFN2-xTB', 'timestep': TIMESTEP,
                'friction': FRICTION, 'equilibration': EQUILIBRATION,
                'interval': INTERVAL}


def run_walker(walker: Walker,
               report: Callable[[], None]) -> dict[str, np.ndarray]:
    r"""Relaxes the molecule and samples it by Langevin dynamics. After every
    frame, :obj:`report` is called.

    Returns:
        Arrays :obj:`z` (:obj:`[n]`), :obj:`pos` (:obj:`[F, n, 3]`, in Angstrom
        relative to the center of mass), :obj:`energy` (:obj:`[F]`, in eV),
        :obj:`force` (:obj:`[F, n, 3]`, in eV/Angstrom) and
        :obj:`tblite_version` (a string).

    Raises:
        RuntimeError: If the molecule cannot be relaxed or falls apart, or a
            calculation fails.
    """
    from ase import units
    from ase.build import molecule
    from ase.md.langevin import Langevin
    from ase.optimize import BFGS
    from tblite.ase import TBLite
    from tblite.library import get_version

    atoms = molecule(walker.formula)
    atoms.calc = TBLite(method='GFN2-xTB', verbosity=0, charge=walker.charge,
                        multiplicity=walker.spin)
    where = f"Walker {walker.index} of '{walker.formula}'"
    try:
        relaxed = BFGS(atoms, logfile=None).run(fmax=0.01, steps=500)
    except Exception as error:
        raise RuntimeError(f'{where} failed in the relaxation: '
                           f'{error}') from error
    if not relaxed:
        raise RuntimeError(f'{where} did not relax in 500 steps')
    bonds = _bonds(atoms)
    if not bonds:
        raise RuntimeError(f'{where} has no bonds when it is relaxed')

    rng = np.random.default_rng(
        np.random.SeedSequence(walker.seed, spawn_key=(walker.index, )))
    momenta = np.sqrt(atoms.get_masses() * units.kB * walker.temperature)
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * momenta[:, None])
    # Fixing the center of mass heats the light atoms of a small molecule, see
    # the documentation of ASE: it is subtracted from the positions instead.
    dynamics = Langevin(atoms, TIMESTEP * units.fs, fixcm=False, rng=rng,
                        temperature_K=walker.temperature,
                        friction=FRICTION / units.fs)

    pos, energy, force = [], [], []
    for frame in range(walker.num_frames):
        try:
            dynamics.run(INTERVAL if frame > 0 else EQUILIBRATION)
        except Exception as error:
            raise RuntimeError(f'{where} failed in step {dynamics.nsteps}: '
                               f'{error}') from error
        pos.append(atoms.positions - atoms.get_center_of_mass())
        energy.append(atoms.get_potential_energy())
        force.append(atoms.get_forces())
        stretch = [atoms.get_distance(i, j) / length
                   for i, j, length in bonds]
        # Also false for NaN.
        if not max(stretch) < BROKEN:
            i, j, _ = bonds[int(np.argmax(stretch))]
            raise RuntimeError(
                f'{where} has broken the bond of atoms {i} and {j} by step '
                f'{dynamics.nsteps}: {walker.temperature} K is too hot for '
                f'it')
        report()
    return {'z': atoms.numbers, 'pos': np.stack(pos),
            'energy': np.array(energy), 'force': np.stack(force),
            'tblite_version': np.array('.'.join(map(str, get_version())))}


def _bonds(atoms: Any) -> list:
    from ase.neighborlist import natural_cutoffs, neighbor_list

    i, j, length = neighbor_list('ijd', atoms,
                                 natural_cutoffs(atoms, mult=1.3))
    return [bond for bond in zip(i.tolist(), j.tolist(), length)
            if bond[0] < bond[1]]


def main() -> None:
    r"""Runs the walker given as JSON in the last but one argument of the
    process and writes its frames to the :obj:`.npz` file given in the last.
    """
    parent = os.getppid()

    def report() -> None:
        if os.getppid() != parent:
            sys.exit('The calling process has ended')
        print('.', end='', flush=True)

    try:
        arrays = run_walker(Walker(**json.loads(sys.argv[-2])), report)
    except RuntimeError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit('interrupted')
    np.savez(sys.argv[-1], **arrays)


if __name__ == '__main__':
    main()
