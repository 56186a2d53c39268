import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from torch_sake.calculators.states import States
from torch_sake.neighbors import SkinNeighborList
from torch_sake.potentials.electrons import any_embeds_charge
from torch_sake.potentials.ensemble import Ensemble
from torch_sake.potentials.load import load_trained
from torch_sake.potentials.potential import Potential
from torch_sake.utils.checks import check_known_elements
from torch_sake.utils.device import choose_device
from torch_sake.utils.paths import PathLike
from torch_sake.utils.thread_lock import ThreadLock, one_thread_at_a_time
from torch_sake.utils.units import ASE_UNITS, check_units

SKIN = 1.0  # Angstrom

Source = Potential | Ensemble | PathLike | Sequence[PathLike]


class Evaluation(NamedTuple):
    r"""What came out for one structure, in eV and Angstrom.

    Shapes:
        - forces and their deviations :math:`(N, 3)`, stress :math:`(3, 3)`
    """
    energy: float
    forces: numpy.ndarray
    stress: numpy.ndarray | None
    energy_std: float | None = None
    forces_std: numpy.ndarray | None = None


class Evaluator:
    r"""A potential ready for simulation: structures in eV and Angstrom go in,
    one at a time, whatever units and type of numbers the potential has, and
    neighbor lists are searched only when atoms have moved. Several threads
    may share one; they wait for each other.

    Args:
        potential (Potential or Ensemble or str or [str]): The potential, a
            checkpoint or the folder of a training run, or several of these,
            which become an :class:`~torch_sake.Ensemble`.
        units (dict, optional): The units of the potential, with the keys
            :obj:`'length'` and :obj:`'energy'`; Angstrom and eV if not given.
            A checkpoint knows its own. (default: :obj:`None`)
        device (str or torch.device, optional): Where to compute (a GPU, if
            there is one, for :obj:`"auto"`); where the potential is if not
            given. (default: :obj:`None`)
        dtype (torch.dtype, optional): The type of the numbers,
            :obj:`torch.float32` or :obj:`torch.float64`; that of the
            parameters if not given. (default: :obj:`None`)
        compile (bool, optional): If set to :obj:`True`, the potential is
            compiled at the first call, which takes up to a minute, see
            :meth:`torch_sake.Potential.compile`. (default: :obj:`False`)
        model (str or type, optional): The class of the model, where that of a
            checkpoint is not of this package, see
            :func:`torch_sake.load_potential`. (default: :obj:`None`)

    Raises:
        TypeError, ValueError: If the potential, a unit or a type is none of
            these, or checkpoints do not fit together.
    """
    def __init__(
        self,
        potential: Source,
        units: dict[str, str] | None = None,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        compile: bool = False,
        model: str | type | None = None,
    ):
        self.elements: list[int] | None = None
        states: set[tuple[int, int]] = set()
        if not isinstance(potential, (Potential, Ensemble)):
            if units is not None:
                raise ValueError(f"'units' must not be given with a "
                                 f"checkpoint, which knows its own "
                                 f"(got {units})")
            potential, units, self.elements, states = load_trained(potential,
                                                                   model)
        elif model is not None:
            raise ValueError(f"'model' must be given with checkpoints only "
                             f"(got {model!r})")
        else:  # what is done to it here is not to be seen by its owner
            potential = copy.deepcopy(potential)
        self.states = States(any_embeds_charge(potential), states)
        self._known = numpy.empty(0)
        self._lock = ThreadLock()
        self.length, self.energy = check_units(
            ASE_UNITS if units is None else units)
        if device is not None:
            device = choose_device(str(device))
        if dtype is not None and not (isinstance(dtype, torch.dtype)
                                      and dtype.is_floating_point):
            raise TypeError(f"'dtype' must be a type of numbers, such as "
                            f"torch.float64 (got {dtype!r})")
        self.potential = potential.to(device=device, dtype=dtype)
        if compile:
            self.potential.compile()
        parameter = next(self.potential.parameters(), torch.empty(0))
        self.device = parameter.device
        self.neighbors = None
        if self.potential.cutoff is not None:
            self.neighbors = SkinNeighborList(self.potential.cutoff,
                                              SKIN / self.length)

    @property
    def cutoff(self) -> float | None:
        r"""The cutoff in Angstrom, or :obj:`None`."""
        return None if self.neighbors is None else (
            self.neighbors.cutoff * self.length)

    @one_thread_at_a_time
    @torch.no_grad()
    def __call__(
        self,
        numbers: numpy.ndarray,
        positions: numpy.ndarray,
        cell: numpy.ndarray | None = None,
        pbc: numpy.ndarray | None = None,
        compute_stress: bool = False,
        charge: float | None = None,
        spin: float | None = None,
    ) -> Evaluation:
        r"""Returns energy, forces and stress of a structure.

        Args:
            numbers (numpy.ndarray): The atomic numbers, :obj:`[N]`.
            positions (numpy.ndarray): The positions in Angstrom,
                :obj:`[N, 3]`.
            cell (numpy.ndarray, optional): The lattice vectors in Angstrom,
                as rows, :obj:`[3, 3]`. (default: :obj:`None`)
            pbc (numpy.ndarray, optional): Whether each of them is periodic,
                :obj:`[3]`. (default: :obj:`None`)
            compute_stress (bool, optional): If set to :obj:`True`, the stress
                is computed. (default: :obj:`False`)
            charge (int, optional): The total charge in units of e.
                (default: :obj:`0`)
            spin (int, optional): The multiplicity :math:`2 S + 1`.
                (default: :obj:`1`)

        Raises:
            ValueError: If the potential was not trained on one of the
                elements or is not for the charge and the spin, positions are
                not finite, or what comes out is not.
        """
        inputs = self._inputs(numbers, positions, cell, pbc, charge, spin)
        call = (self.potential.statistics if self.potential.has_uncertainty
                else self.potential)
        energy, forces, stress, *std = call(compute_stress=compute_stress,
                                            **inputs)
        force_unit = self.energy / self.length
        energy = float(energy) * self.energy
        forces = self._numpy(forces, force_unit)
        check_finite_forces(energy, forces)
        if stress is not None:
            stress = self._numpy(stress[0], self.energy / self.length**3)
        if not std:
            return Evaluation(energy, forces, stress)
        return Evaluation(
            energy, forces, stress, float(std[0]) * self.energy,
            self._numpy(std[1], force_unit)
            if self.potential.has_force_uncertainty else None)

    @one_thread_at_a_time
    @torch.no_grad()
    def site_energies(
        self,
        numbers: numpy.ndarray,
        positions: numpy.ndarray,
        cell: numpy.ndarray | None = None,
        pbc: numpy.ndarray | None = None,
        charge: float | None = None,
        spin: float | None = None,
    ) -> numpy.ndarray:
        r"""Returns the part of the energy that belongs to each atom, see
        :meth:`torch_sake.Potential.site_energies`, :obj:`[N]`.
        """
        inputs = self._inputs(numbers, positions, cell, pbc, charge, spin)
        return self._numpy(self.potential.site_energies(**inputs), self.energy)

    def _inputs(
        self,
        numbers: numpy.ndarray,
        positions: numpy.ndarray,
        cell: numpy.ndarray | None,
        pbc: numpy.ndarray | None,
        charge: float | None,
        spin: float | None,
    ) -> dict[str, Any]:
        if not numpy.array_equal(numbers, self._known):  # looked at once
            check_known_elements('The structure has', numbers.tolist(),
                                 self.elements)
            self._known = numpy.array(numbers)
        z = torch.as_tensor(numbers, dtype=torch.long, device=self.device)
        pos = self._tensor(positions)
        if cell is not None:
            cell = self._tensor(cell)
            pbc = torch.as_tensor(pbc, dtype=torch.bool, device=self.device)
        inputs = {'z': z, 'pos': pos, 'cell': cell, 'pbc': pbc,
                  **self.states.inputs(charge, spin)}
        if self.neighbors is not None:
            edges = self.neighbors(pos, None, cell, pbc)
            inputs.update(edge_index=edges.index, edge_shift=(
                None if cell is None else edges.shift))
        return inputs

    def _tensor(self, lengths: numpy.ndarray) -> Tensor:
        return torch.as_tensor(numpy.asarray(lengths, dtype=float) /
                               self.length, device=self.device)

    @staticmethod
    def _numpy(values: Tensor, unit: float) -> numpy.ndarray:
        return values.double().cpu().numpy() * unit


def check_finite_forces(energy: float, forces: numpy.ndarray) -> None:
    r"""Raises an error that names the first atom with an infinite force."""
    wrong = ~numpy.isfinite(forces).all(axis=1)
    if wrong.any():
        raise ValueError(f"The force on atom {int(wrong.argmax())} is not "
                         f"finite (got {forces[wrong.argmax()].tolist()})")
    if not numpy.isfinite(energy):
        raise ValueError(f"The energy is not finite (got {energy})")
