import math
import os.path as osp
from dataclasses import dataclass
from typing import Literal, Optional

import numpy
import torch

from torch_sake.calculators import SAKECalculator
from torch_sake.checkpoint import folder_of
from torch_sake.checks import check_positive_float, check_positive_int
from torch_sake.device import choose_device
from torch_sake.files import replace_when_complete, write_json
from torch_sake.settings import check_settings
from torch_sake.simulation.structures import read_structure


@dataclass
class RelaxConfig:
    r"""What to relax.

    Args:
        checkpoint: Folder of a training run or one of its checkpoints.
        structure: A file that ASE reads ('file@3' is its fourth structure,
            if there is no file of just this name);
            the first frame of the data of the run if not given.
        out: Folder of the results; 'relax' beside the checkpoint if not given.
        cell: Whether the cell is relaxed, too.
        pressure: Pressure in GPa, if the cell is relaxed.
        fmax: Largest force at which the structure counts as relaxed, in
            eV/Angstrom.
        num_steps: Largest number of steps.
        vibrations: Whether vibrations are computed afterwards, by differences
            of forces.
        precision: Type of the numbers.
        device: Where to compute; 'auto' takes a GPU if there is one.
    """
    checkpoint: str
    structure: Optional[str] = None
    out: Optional[str] = None
    cell: bool = False
    pressure: float = 0.0
    fmax: float = 1e-3
    num_steps: int = 500
    vibrations: bool = False
    precision: Literal['float32', 'float64'] = 'float64'
    device: str = 'auto'

    def __post_init__(self):
        check_settings(self, ('checkpoint', 'structure', 'out'))
        check_positive_float('fmax', self.fmax)
        check_positive_int('num_steps', self.num_steps)
        if not math.isfinite(self.pressure) or (self.pressure != 0
                                                and not self.cell):
            raise ValueError(f"'pressure' must be finite, and zero without "
                             f"'cell' (got pressure={self.pressure} with "
                             f"cell={self.cell})")


def relax(config: RelaxConfig) -> None:
    r"""Finds the structure of least energy and, if asked for, its vibrations.
    The folder gets 'relaxed.extxyz', with energy and forces, and
    'relax.json'.
    """
    import ase.io
    from ase import units
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    out = config.out or osp.join(folder_of(config.checkpoint), 'relax')
    atoms = read_structure(config.structure, config.checkpoint)
    if config.cell and not atoms.pbc.all():
        raise ValueError(f"'cell' must not be set for a structure that is not "
                         f"periodic in all directions (got "
                         f"pbc={atoms.pbc.tolist()})")
    if config.vibrations:
        _free_atoms(atoms)  # at the door
    atoms.calc = SAKECalculator(
        config.checkpoint, dtype=getattr(torch, config.precision),
        device=choose_device(config.device))
    before, volume = atoms.get_potential_energy(), atoms.cell.volume
    relaxed = atoms
    if config.cell:
        relaxed = FrechetCellFilter(
            atoms, scalar_pressure=config.pressure * units.GPa)
    optimizer = BFGS(relaxed, logfile=None)
    converged = bool(optimizer.run(fmax=config.fmax, steps=config.num_steps))
    results = {
        'converged': converged,
        'steps': optimizer.nsteps,
        'energy [eV]': atoms.get_potential_energy(),
        'change of energy [eV]': atoms.get_potential_energy() - before,
        'largest force [eV/Angstrom]': float(
            numpy.linalg.norm(atoms.get_forces(), axis=1).max()),
    }
    if config.cell:
        results['cell [Angstrom]'] = atoms.cell.array.tolist()
        results['volume [Angstrom^3]'] = atoms.get_volume()
        results['change of volume'] = atoms.get_volume() / volume - 1
    if config.vibrations:
        results['wavenumbers [1/cm]'] = _wavenumbers(atoms)
    with replace_when_complete(osp.join(out, 'relaxed.extxyz')) as path:
        ase.io.write(path, atoms, format='extxyz')
    write_json(osp.join(out, 'relax.json'), results)
    for name, value in results.items():
        print(f'{name}: {value}')
    if not 0.5 < results.get('change of volume', 0) + 1 < 2:
        print('The volume has changed so much that the potential may not know '
              'such structures')
    if not converged:
        print(f'Not relaxed to fmax={config.fmax} in {config.num_steps} steps')
    print(f'The structure is in {out}')


def _wavenumbers(atoms, step: float = 0.005):
    r"""Returns the wavenumbers of the vibrations in 1/cm, imaginary ones as
    negative numbers, from central differences of forces. Atoms that are fixed
    do not vibrate.
    """
    from ase.vibrations import VibrationsData
    free = _free_atoms(atoms)
    moved = atoms.copy()
    moved.calc = atoms.calc
    size = 3 * len(free)
    hessian = numpy.empty((size, size))
    for index in range(size):
        forces = []
        for sign in (1, -1):
            moved.positions = atoms.positions
            moved.positions[free[index // 3], index % 3] += sign * step
            forces.append(moved.get_forces(apply_constraint=False)[free])
        hessian[index] = (forces[1] - forces[0]).flatten() / (2 * step)
    vibrations = VibrationsData.from_2d(atoms, (hessian + hessian.T) / 2,
                                        indices=free)
    return [round(float(value.real - abs(value.imag)), 2)
            for value in vibrations.get_frequencies()]


def _free_atoms(atoms) -> numpy.ndarray:
    from ase.constraints import FixAtoms
    free = numpy.ones(len(atoms), bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(f"'vibrations' must not be asked for with "
                             f"constraints but fixed atoms (got {constraint})")
        free[constraint.index] = False
    return free.nonzero()[0]
