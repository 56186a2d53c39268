import os.path as osp
from typing import Any

import numpy
import torch

from torch_sake.checkpoint import folder_of
from torch_sake.simulation.config import RelaxConfig
from torch_sake.simulation.soundness import Soundness, Unsound
from torch_sake.simulation.structures import (
    check_periodic,
    read_structure,
    write_structure,
)
from torch_sake.utils.device import choose_device
from torch_sake.utils.files import write_json
from torch_sake.utils.locks import hold_folder
from torch_sake.utils.plain_checks import require

STEP = 0.005  # Angstrom, of differences of forces


class Relaxation:
    r"""The way to the structure of least energy, by ASE's
    :class:`~ase.optimize.BFGS`, and its vibrations, if asked for.

    The folder :obj:`config.out` gets :obj:`relaxed.extxyz`, with energy and
    forces, and :obj:`relax.json`.

    Args:
        config (RelaxConfig): What to relax.

    Raises:
        ImportError: If ASE is missing.
        ValueError: If a structure or a checkpoint cannot be used, or atoms of
            the structure lie on each other.
    """
    def __init__(self, config: RelaxConfig):
        self.config = config
        self.out = config.out or osp.join(folder_of(config.checkpoint),
                                          'relax')
        self.atoms = read_structure(config.structure, config.checkpoint,
                                    config.charge, config.spin)
        if config.cell:
            check_periodic(self.atoms, "'cell' must not be set")
        if config.vibrations:
            free_atoms(self.atoms)
        from torch_sake.calculators.ase import SAKECalculator
        self.atoms.calc = SAKECalculator(
            config.checkpoint, model=config.model,
            charge=config.charge, spin=config.spin,
            dtype=getattr(torch, config.precision),
            device=choose_device(config.device))
        self.atoms.calc.state(self.atoms)  # errors of it come first
        self.soundness = Soundness(self.atoms,
                                   self.atoms.calc.evaluator.cutoff)
        self.converged, self.steps = False, 0
        self.faults: list[str] = []

    def run(self) -> dict[str, Any]:
        r"""Relaxes the structure and returns what came of it.

        Raises:
            Unsound: If a force is not finite, with the step and the atom.
            ValueError: If another process writes to the folder.
        """
        with hold_folder(self.out):
            results = self._run()
            write_structure(osp.join(self.out, 'relaxed.extxyz'), self.atoms)
            write_json(osp.join(self.out, 'relax.json'), results)
        return results

    def check_result(self) -> None:
        r"""Checks what came of it.

        Raises:
            Unsound: If the structure has come apart or collapsed.
        """
        if self.faults:
            raise Unsound(f"{'; '.join(self.faults)}. The structure is not "
                          f"relaxed, and is in {self.out}")

    def _run(self) -> dict[str, Any]:
        atoms, config = self.atoms, self.config
        before = atoms.get_potential_energy()
        self._optimize()
        self.faults = self.soundness.faults(atoms, forces_matter=True)
        results = {
            'converged': self.converged and not self.faults,
            'steps': self.steps,
            'energy [eV]': atoms.get_potential_energy(),
            'change of energy [eV]': atoms.get_potential_energy() - before,
            'largest force [eV/Angstrom]': float(
                numpy.linalg.norm(atoms.get_forces(), axis=1).max()),
        }
        if config.cell:
            volume = atoms.get_volume()
            results['cell [Angstrom]'] = atoms.cell.array.tolist()
            results['volume [Angstrom^3]'] = volume
            results['change of volume'] = volume / self.soundness.volume - 1
        if config.vibrations:
            results['wavenumbers [1/cm]'] = wavenumbers(atoms)
        return results

    def _optimize(self) -> None:
        from ase import units
        from ase.filters import FrechetCellFilter
        from ase.optimize import BFGS

        relaxed = self.atoms
        if self.config.cell:
            relaxed = FrechetCellFilter(
                relaxed, scalar_pressure=self.config.pressure * units.GPa)
        optimizer, converged = BFGS(relaxed, logfile=None), False
        try:
            for converged in optimizer.irun(self.config.fmax,
                                            self.config.num_steps):
                if self.soundness.volume_is_lost(self.atoms):
                    break
        except ValueError as error:
            raise Unsound(f'{error}, after step {optimizer.nsteps}'
                          ) from error
        self.converged, self.steps = bool(converged), optimizer.nsteps


def wavenumbers(atoms: Any) -> list[float]:
    r"""Returns the wavenumbers of the vibrations in 1/cm, imaginary ones as
    negative numbers, from central differences of forces. Atoms that are fixed
    do not vibrate.
    """
    from ase.vibrations import VibrationsData
    free = free_atoms(atoms)
    moved = atoms.copy()
    moved.calc = atoms.calc
    size = 3 * len(free)
    hessian = numpy.empty((size, size))
    for index in range(size):
        forces = []
        for sign in (1, -1):
            moved.positions = atoms.positions
            moved.positions[free[index // 3], index % 3] += sign * STEP
            forces.append(moved.get_forces(apply_constraint=False)[free])
        hessian[index] = (forces[1] - forces[0]).flatten() / (2 * STEP)
    vibrations = VibrationsData.from_2d(atoms, (hessian + hessian.T) / 2,
                                        indices=free)
    return [round(float(value.real - abs(value.imag)), 2)
            for value in vibrations.get_frequencies()]


def free_atoms(atoms: Any) -> numpy.ndarray:
    r"""Returns the atoms that vibrate."""
    from ase.constraints import FixAtoms
    free = numpy.ones(len(atoms), bool)
    for constraint in atoms.constraints:
        require(isinstance(constraint, FixAtoms),
                f"'vibrations' must not be asked for with constraints but "
                f"fixed atoms (got {constraint})")
        free[constraint.index] = False
    return free.nonzero()[0]
