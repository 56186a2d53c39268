import json
import os.path as osp
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import numpy
import torch
from tqdm import tqdm

from torch_sake.checkpoint import folder_of, load_checkpoint
from torch_sake.runs.interrupt import DeferredInterrupt
from torch_sake.simulation.config import MDConfig
from torch_sake.simulation.integrator import build_dynamics
from torch_sake.simulation.random_start import (
    draw_velocities,
    random_generator,
)
from torch_sake.simulation.records import Records
from torch_sake.simulation.report import UNCERTAINTY, heat
from torch_sake.simulation.restart import (
    RESTART,
    check_same_columns,
    fingerprint_of_forces,
    last_save,
    load_state,
    save_state,
)
from torch_sake.simulation.soundness import Soundness, Unsound
from torch_sake.simulation.structures import (
    check_periodic,
    identity_of,
    read_structure,
    write_structure,
)
from torch_sake.utils.device import choose_device
from torch_sake.utils.files import check_folder, remove_incomplete
from torch_sake.utils.locks import hold_folder
from torch_sake.utils.plain_checks import require

LAST = 'last.extxyz'
SECONDS_BETWEEN_SAVES = 10.0


class SimulationStopped(RuntimeError):
    r"""A simulation that could not go on. What it had written is kept."""


class Simulation:
    r"""Molecular dynamics with a potential, by ASE's
    :class:`~ase.md.langevinbaoab.LangevinBAOAB`: without a heat bath it is
    velocity Verlet, with one, and with a barostat, it is the scheme of
    Leimkuhler and Matthews with the cell of Quigley and Probert.

    The folder :obj:`config.out` gets the trajectory (with the
    standard deviations :obj:`energy_std` and :obj:`forces_std` of checkpoints
    that have uncertainties, or of several; in :obj:`.traj` files both are in
    :obj:`atoms.info`), the log
    (:obj:`log.csv`), the state to go on from (:obj:`restart.npz`) and, at the
    end, the last structure (:obj:`last.extxyz`). A simulation that was stopped
    goes on as if it had not been.

    Args:
        config (MDConfig): What the simulation is made of.

    Raises:
        ImportError: If ASE is missing or too old.
        ValueError: If the folder holds a simulation already and
            :obj:`config.resume` is not set, or is set and the simulation there
            has other settings, or has lost some of its frames; if another
            process writes to it; if a structure or a checkpoint cannot be
            used; if atoms of the structure lie on each other.
    """
    def __init__(self, config: MDConfig):
        try:
            import ase.md.langevinbaoab  # noqa: F401
        except ImportError as error:
            raise ImportError("Simulations need ASE 3.27 or newer: "
                              "pip install 'torch-sake[train]'") from error
        from torch_sake.calculators.ase import SAKECalculator

        self.config = config
        self.out = config.out or osp.join(folder_of(config.checkpoint[0]),
                                          'md')
        # Checkpoints may move, but not change:
        self.fingerprints = [*map(fingerprint_of_forces, config.checkpoint)]
        self.saved = last_save(self.out)
        state = load_state(config, self.out, self._settings())
        self.compiled = self._compiles(state)
        self.atoms = read_structure(config.structure, config.checkpoint[0],
                                    config.charge, config.spin)
        if config.ensemble == 'npt':
            check_periodic(self.atoms, "'ensemble' must not be 'npt'")
        require(self.atoms.get_number_of_degrees_of_freedom() > 0,
                "'structure' must have an atom that can move (got constraints "
                "on all)")
        self.calculator = SAKECalculator(
            config.checkpoint, compile=self.compiled, model=config.model,
            device=choose_device(config.device),
            charge=config.charge, spin=config.spin,
            dtype=config.precision and getattr(torch, config.precision))
        self.is_uncertain = (
            self.calculator.evaluator.potential.has_force_uncertainty)
        require(config.max_force_std is None or self.is_uncertain,
                f"'max_force_std' needs several checkpoints, or one that has "
                f"uncertainties of forces ({config.checkpoint[0]!r} has none: "
                f"'torch_sake.fit_uncertainty' finds them)")
        self.soundness = Soundness(self.atoms,
                                   self.calculator.evaluator.cutoff)
        self.atoms.calc = self.calculator
        self.calculator.state(self.atoms)  # warnings of it are to be seen
        self.rng = random_generator(config.seed, self.atoms)
        self.step = 0
        if state is None:
            draw_velocities(self.atoms, config.temperature, self.rng)
        else:
            self.step = int(state['step'])
            self._restore(state)
        self.dynamics = build_dynamics(config, self.atoms, self.rng, state)
        with self._held_folder():
            self.records = Records(self.out, config.format, config.interval,
                                   state)
            if self.records.num_frames > 0:
                check_same_columns(self.records, self.is_uncertain)
            for name in (RESTART, LAST):
                remove_incomplete(self.out, name)

    def run(self) -> None:
        r"""Simulates up to the last step.

        Raises:
            SimulationStopped: If a force is not finite or its uncertainty
                beyond the limit, with the step and the atom, or if the cell
                has collapsed or burst.
            KeyboardInterrupt: After an interruption, at the end of the step it
                came in, with everything saved that is needed to go on.
            ValueError: If another process writes to the folder, or has done so
                since this simulation was made.
        """
        with self._held_folder():
            self._run()

    def check_result(self) -> None:
        r"""Checks what came of it.

        Raises:
            Unsound: If the structure has come apart or collapsed, or the
                temperature has been higher than that of any molecule.
        """
        faults = self.soundness.faults(self.atoms)
        faults += heat(self.records.rows())
        if faults:
            raise Unsound(f"{'; '.join(faults)}. The simulation is in "
                          f"{self.out}")

    @contextmanager
    def _held_folder(self) -> Iterator[None]:
        with hold_folder(self.out):
            require(last_save(self.out) == self.saved,
                    f"'out' must not be written to by another simulation "
                    f"(got {self.out}, with another '{RESTART}' than before)")
            yield

    def _run(self) -> None:
        config = self.config
        progress = tqdm(total=config.num_steps, initial=self.step, unit='step',
                        desc='simulating', dynamic_ncols=True)
        with DeferredInterrupt() as interrupt, progress:
            if self.records.num_frames == 0:
                self._save()  # before anything else is written
                self._record()
                self._check_uncertainty()
            saved = time.monotonic()
            while self.step < config.num_steps:
                self._advance()
                progress.update()
                if self.step % config.interval == 0:
                    progress.set_postfix(
                        T=f'{self._record()["temperature [K]"]:.0f} K')
                self._check_uncertainty()
                if (interrupt.requested or time.monotonic() - saved >
                        SECONDS_BETWEEN_SAVES):
                    self._save()
                    saved = time.monotonic()
                interrupt.raise_if_requested()
        self._save()
        self._write_last()

    def _advance(self) -> None:
        before = self.atoms.copy()
        try:
            self.dynamics.run(1)
            if self.soundness.volume_is_lost(self.atoms):
                raise ValueError(self.soundness.change_of_volume(self.atoms))
        except ValueError as error:
            self.atoms = before
            self._stop(f'{error}, after step {self.step}')
        self.step += 1

    def _stop(self, reason: str) -> None:
        self._write_last()
        raise SimulationStopped(f"{reason}. The last good structure is "
                                f"'{osp.join(self.out, LAST)}'")

    def _check_uncertainty(self) -> None:
        limit = self.config.max_force_std
        if limit is None:
            return
        self.atoms.get_forces()
        lengths = self._uncertainties()
        if not lengths.max() <= limit:
            if self.step % self.config.interval != 0:
                self._record()
            self._save()
            self._stop(f'The force on atom {lengths.argmax()} has an '
                       f'uncertainty of {lengths.max():.3g} eV/Angstrom, '
                       f'above {limit:g}, at step {self.step}')

    def _uncertainties(self) -> numpy.ndarray:
        r"""Returns those of the forces that were computed last, if there are
        any."""
        return numpy.linalg.norm(self.calculator.results['forces_std'], axis=1)

    def _record(self) -> dict[str, float]:
        atoms = self.atoms
        potential = atoms.get_potential_energy()
        kinetic = atoms.get_kinetic_energy()
        row = {
            'step': self.step,
            'time [fs]': self.step * self.config.timestep,
            'potential energy [eV]': potential,
            'kinetic energy [eV]': kinetic,
            'total energy [eV]': potential + kinetic,
            'temperature [K]': atoms.get_temperature(),
        }
        if self.config.ensemble == 'npt':
            from ase.units import GPa
            stress = atoms.get_stress(include_ideal_gas=True)
            row['volume [Angstrom^3]'] = atoms.get_volume()
            row['pressure [GPa]'] = -stress[:3].mean() / GPa
        if self.is_uncertain:
            row[UNCERTAINTY] = self._uncertainties().max()
        self.records.append(atoms, row)
        return row

    def _restore(self, state: dict[str, Any]) -> None:
        for name, value in identity_of(self.atoms).items():
            # Simulations of earlier versions know the elements only.
            require(numpy.array_equal(state.get(name, value), value),
                    f"'resume' needs the structure of the simulation "
                    f"(got other {name})")
        self.atoms.set_cell(state['cell'])
        self.atoms.positions[:] = state['positions']
        self.atoms.set_momenta(state['momenta'], apply_constraint=False)
        self.rng.bit_generator.state = json.loads(str(state['rng']))

    def _compiles(self, state: dict[str, Any] | None) -> bool:
        if self.config.compile is not None:
            return self.config.compile
        if state is not None:  # goes on as it began, digit by digit
            compiled = json.loads(str(state['config'])).get('compiled')
            if compiled is not None:
                return compiled
        return (self.config.num_steps >= 20_000 and self.config.model is None
                and all(load_checkpoint(path)[1].get('model') is not None
                        for path in self.config.checkpoint))

    def _save(self) -> None:
        check_folder(self.out)
        state = {
            'config': json.dumps({**self._settings(),
                                  'compiled': self.compiled}),
            'step': self.step,
            'num_frames': self.records.num_frames,
            **identity_of(self.atoms),
            'positions': self.atoms.positions,
            'momenta': self.atoms.get_momenta(),
            'cell': self.atoms.cell.array,
            'cell_momentum': getattr(self.dynamics, 'p_eps', 0.0),
            'cell_force': getattr(self.dynamics, 'force_eps', 0.0),
            'rng': json.dumps(self.rng.bit_generator.state),
        }
        self.records.sync()
        save_state(osp.join(self.out, RESTART), state)
        self.saved = last_save(self.out)

    def _settings(self) -> dict[str, Any]:
        r"""The configuration, with what is in its checkpoints."""
        return dict(asdict(self.config), checkpoint=self.fingerprints)

    def _write_last(self) -> None:
        # Without energies, which may not belong to it:
        write_structure(osp.join(self.out, LAST), self.atoms.copy())
