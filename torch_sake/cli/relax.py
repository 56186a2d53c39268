import os.path as osp
from typing import Any

import numpy
import torch

from torch_sake.calculators import SAKECalculator
from torch_sake.checkpoint import folder_of
from torch_sake.cli.configs import RelaxConfig
from torch_sake.simulation.soundness import Soundness, Unsound
from torch_sake.simulation.structures import read_structure
from torch_sake.utils.device import choose_device
from torch_sake.utils.files import replace_when_complete, write_json
from torch_sake.utils.locks import hold_folder


def relax(config: RelaxConfig) -> None:
    r"""Finds the structure of least energy and, if asked for, its vibrations.
    The folder gets 'relaxed.extxyz', with energy and forces, and
    'relax.json'.
    """
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
    with hold_folder(out):
        _relax(config, atoms, out)


def _relax(config: RelaxConfig, atoms: Any, out: str) -> None:
    import ase.io

    soundness = Soundness(atoms, atoms.calc.evaluator.cutoff)
    for remark in soundness.remarks:
        print(remark)
    before = atoms.get_potential_energy()
    converged, steps = _optimize(config, atoms, soundness)
    faults = soundness.faults(atoms, forces_matter=True)
    results = {
        'converged': converged and not faults,
        'steps': steps,
        'energy [eV]': atoms.get_potential_energy(),
        'change of energy [eV]': atoms.get_potential_energy() - before,
        'largest force [eV/Angstrom]': float(
            numpy.linalg.norm(atoms.get_forces(), axis=1).max()),
    }
    if config.cell:
        results['cell [Angstrom]'] = atoms.cell.array.tolist()
        results['volume [Angstrom^3]'] = atoms.get_volume()
        results['change of volume'] = atoms.get_volume() / soundness.volume - 1
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
        print(f'Not relaxed to fmax={config.fmax} in {steps} steps')
    if faults:
        raise Unsound(f"{'; '.join(faults)}. The structure is not relaxed, "
                      f"and is in {out}")
    print(f'The structure is in {out}')


def _optimize(config: RelaxConfig, atoms: Any,
              soundness: Soundness) -> tuple[bool, int]:
    r"""Returns whether the structure of least energy is found, and the number
    of steps.
    """
    from ase import units
    from ase.filters import FrechetCellFilter
    from ase.optimize import BFGS

    relaxed = atoms
    if config.cell:
        relaxed = FrechetCellFilter(
            atoms, scalar_pressure=config.pressure * units.GPa)
    optimizer, converged = BFGS(relaxed, logfile=None), False
    try:
        for converged in optimizer.irun(config.fmax, config.num_steps):
            if soundness.volume_is_lost(atoms):
                break
    except ValueError as error:
        raise Unsound(f'{error}, after step {optimizer.nsteps}') from error
    return bool(converged), optimizer.nsteps


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
