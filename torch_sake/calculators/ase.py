from typing import Any

import torch

try:
    from ase import Atoms
    from ase.calculators.calculator import (
        Calculator,
        PropertyNotImplementedError,
        all_changes,
    )
    from ase.stress import full_3x3_to_voigt_6_stress
except ImportError as error:
    raise ImportError("'SAKECalculator' needs ASE: "
                      "pip install 'torch-sake[train]'") from error

from torch_sake.calculators.evaluator import Evaluator, Source
from torch_sake.datasets.frames.charges import CHARGES, SPINS, State
from torch_sake.utils.thread_lock import ThreadLock, one_thread_at_a_time


class SAKECalculator(Calculator):
    r"""A potential as a calculator of ASE, for all that runs on one:
    molecular dynamics, optimizers, vibrations, phonons, equations of state.

    .. code-block:: python

        atoms.calc = SAKECalculator('runs/silicon')
        atoms.get_potential_energy()

    Energies (:obj:`"energy"`, :obj:`"free_energy"`), forces, stresses of cells
    that have a volume, and energies of atoms (:obj:`"energies"`) are in ASE's
    units, eV and Angstrom, whatever the units of the potential are. Where a
    potential has uncertainties, and for an ensemble, :obj:`results` has the
    standard deviations :obj:`"energy_std"` and :obj:`"forces_std"`, too.
    Several threads may share a calculator for atoms of their own; they wait
    for each other.

    The total charge and the spin are those of a structure: :obj:`"charge"` (or
    :obj:`"total_charge"`) in units of e and :obj:`"spin"` (or
    :obj:`"multiplicity"`), which is :math:`2 S + 1`, of :obj:`atoms.info`,
    where a potential has an embedding of them (:obj:`embed_charge`).

    Args:
        potential (Potential or Ensemble or str or [str]): The potential, a
            checkpoint or the folder of a training run, or several of these,
            which become an :class:`~torch_sake.Ensemble`.
        units, device, dtype, compile, model (optional): As those of
            :class:`~torch_sake.calculators.Evaluator`.
        charge, spin (int, optional): The total charge and the multiplicity of
            all structures, in the place of their own. (default: :obj:`None`)
        **kwargs (optional): Additional arguments of
            :class:`ase.calculators.calculator.Calculator`.

    Raises:
        TypeError, ValueError: If an argument is of the wrong type or range. In
            use, if the potential was not trained on an element (which is
            named), or if a force is not finite.
        ase.calculators.calculator.PropertyNotImplementedError: In use, if the
            stress of a cell without a volume is asked for.
    """
    implemented_properties = ['energy', 'free_energy', 'forces', 'stress',
                              'energies']

    def __init__(
        self,
        potential: Source,
        units: dict[str, str] | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        compile: bool = False,
        model: str | type | None = None,
        charge: int | None = None,
        spin: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.evaluator = Evaluator(potential, units, device, dtype, compile,
                                   model)
        self.evaluator.states.inputs(charge, spin)  # checks them
        self.charge, self.spin = charge, spin
        self._wants_stress = False
        self._lock = ThreadLock()

    @one_thread_at_a_time
    def get_property(self, *args: Any, **kwargs: Any) -> Any:
        r"""Returns a property of a structure, see
        :class:`ase.calculators.calculator.Calculator`.
        """
        # As a whole: between its computation and its return, another thread
        # would put that of another structure in its place.
        return super().get_property(*args, **kwargs)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        r"""Returns what has changed since the last calculation."""
        changes = super().check_state(atoms, tol=tol)
        # Which ASE does not look at:
        if self.atoms is not None and self.state(atoms) != self.state(
                self.atoms):
            changes.append('info')
        return changes

    def state(self, atoms: Atoms) -> dict[str, int | None]:
        r"""Returns the charge and the spin that a structure is computed with.
        """
        state = self.evaluator.states.said_by({
            name: value for name, value in atoms.info.items() if name not in (
                *(CHARGES if self.charge is not None else ()),
                *(SPINS if self.spin is not None else ()))})._asdict()
        given = {'charge': self.charge, 'spin': self.spin}
        return {name: state[name] if value is None else value
                for name, value in given.items()}

    @one_thread_at_a_time
    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: list[str] | None = None,
        system_changes: list[str] = all_changes,
    ) -> None:
        r"""Computes the given properties of a structure."""
        super().calculate(atoms, properties, system_changes)
        atoms, properties = self.atoms, properties or ['energy']
        structure = [atoms.numbers, atoms.positions]
        if atoms.pbc.any() or atoms.cell.rank == 3:
            structure += [atoms.cell.array, atoms.pbc]
        has_volume = atoms.cell.rank == 3
        if 'stress' in properties and not has_volume:
            raise PropertyNotImplementedError(
                f"'cell' must have a volume for the stress "
                f"(got {atoms.cell.tolist()})")
        # Who has asked for the stress once will do so at the next step, too,
        # after the forces, and it comes with them at little cost.
        self._wants_stress |= 'stress' in properties
        state = self.state(atoms)
        self.evaluator.states.look_at(atoms, State(**state))
        out = self.evaluator(*structure, compute_stress=has_volume
                             and self._wants_stress, **state)
        self.results = {'energy': out.energy, 'free_energy': out.energy,
                        'forces': out.forces}
        if out.stress is not None:
            self.results['stress'] = full_3x3_to_voigt_6_stress(out.stress)
        for name in ('energy_std', 'forces_std'):
            if getattr(out, name) is not None:
                self.results[name] = getattr(out, name)
        if 'energies' in properties:
            self.results['energies'] = self.evaluator.site_energies(
                *structure, **state)
