import copy
import os
from typing import TYPE_CHECKING, Any, Dict, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import Tensor

from torch_sake.checkpoint import build_potential, load_checkpoint
from torch_sake.checks import (check_atomic_numbers, check_option,
                               check_positive_float)
from torch_sake.files import PathLike
from torch_sake.neighbors import RadiusInteractionGraph
from torch_sake.neighbors.skin import SkinNeighborList
from torch_sake.potential import Potential

if TYPE_CHECKING:
    import openmm

MOLE = 6.02214076e23
# In the units of OpenMM, nm and kJ/mol:
LENGTHS = {'Angstrom': 0.1, 'Bohr': 0.0529177210903, 'nm': 1.0}
ENERGIES = {'eV': 1.602176634e-22 * MOLE, 'meV': 1.602176634e-25 * MOLE,
            'kcal/mol': 4.184, 'kJ/mol': 1.0,
            'Hartree': 4.3597447222071e-21 * MOLE}
UNITS = {'length': 'Angstrom', 'energy': 'eV'}
SKIN = 0.1  # nm


def openmm_force(
    potential: Union[Potential, PathLike],
    z: Union[Sequence[int], np.ndarray, Tensor],
    periodic: bool = False,
    units: Optional[Dict[str, str]] = None,
    device: Union[str, torch.device, None] = None,
) -> 'openmm.PythonForce':
    r"""Returns a potential as a force of OpenMM (8.5 or later).

    .. code-block:: python

        z = [atom.element.atomic_number for atom in topology.atoms()]
        system.addForce(openmm_force('runs/ethanol', z))

    The force has a copy of the potential. It can be copied and serialized
    together with its :obj:`openmm.System`, the parameters being part of the
    XML file.

    Args:
        potential (Potential or str or os.PathLike): The potential, or a
            checkpoint or the folder of a training run.
        z (list or numpy.ndarray or torch.Tensor): The atomic numbers of all
            particles of the system.
        periodic (bool, optional): If set to :obj:`True`, the system is
            periodic, with the box vectors that it has at each step.
            (default: :obj:`False`)
        units (dict, optional): The units of the potential, with the keys
            :obj:`'length'` (:obj:`"Angstrom"`, :obj:`"Bohr"` or
            :obj:`"nm"`) and :obj:`'energy'` (:obj:`"eV"`, :obj:`"meV"`,
            :obj:`"kcal/mol"`, :obj:`"kJ/mol"` or :obj:`"Hartree"`);
            :obj:`"Angstrom"` and :obj:`"eV"` if not given. A checkpoint knows
            its own. (default: :obj:`None`)
        device (str or torch.device, optional): Where to compute; where the
            potential is if not given, that of a checkpoint on the CPU.
            (default: :obj:`None`)

    Raises:
        ImportError: If OpenMM is missing or too old.
        TypeError, ValueError: If an argument is of the wrong type or range, a
            unit is not known, or the checkpoint was not trained on one of the
            elements.
    """
    try:
        import openmm
    except ImportError as error:
        raise ImportError("'openmm_force' needs OpenMM: "
                          "pip install 'torch-sake[openmm]'") from error
    if not hasattr(openmm, 'PythonForce'):
        raise ImportError(f"'openmm_force' needs OpenMM 8.5 or later (got "
                          f"{openmm.__version__}): "
                          f"pip install 'torch-sake[openmm]'")
    elements = None
    if isinstance(potential, (str, os.PathLike)):
        if units is not None:
            raise ValueError(f"'units' must not be given with a checkpoint, "
                             f"which knows its own (got {units})")
        tensors, description = load_checkpoint(potential)
        potential = build_potential(tensors, description)
        units, elements = description['units'], description['elements']
    elif not isinstance(potential, Potential):
        raise TypeError(f"'potential' must be a Potential or the path of a "
                        f"checkpoint (got {type(potential)})")
    else:
        potential = copy.deepcopy(potential)
    if device is not None:
        potential = potential.to(device)
    z = _check_elements(z, elements)
    length, energy = _check_units(UNITS if units is None else units)
    function = PotentialFunction(potential, z, bool(periodic), length, energy)
    force = openmm.PythonForce(function)
    force.setName('torch_sake')
    force.setUsesPeriodicBoundaryConditions(function.periodic)
    return force


class PotentialFunction:
    r"""The energy in kJ/mol and the forces in kJ/mol/nm of an
    :obj:`openmm.State`, as an :obj:`openmm.PythonForce` wants them.

    Args:
        potential (Potential): The potential.
        z (torch.Tensor): The atomic numbers.
        periodic (bool): Whether there are box vectors.
        length (float): The potential's unit of length in nm.
        energy (float): The potential's unit of energy in kJ/mol.

    Shapes:
        - **output:** energy, forces :math:`(N, 3)`

    Raises:
        ValueError: If the potential cannot be periodic, the state has another
            number of particles, or positions, energy or forces are not finite.
    """
    def __init__(self, potential: Potential, z: Tensor, periodic: bool,
                 length: float, energy: float):
        parameter = next(potential.parameters(), torch.empty(0))
        self.potential = potential
        self.z = z.to(parameter.device)
        self.dtype = parameter.dtype
        self.periodic = periodic
        self.length = check_positive_float('length', length)
        self.energy = check_positive_float('energy', energy)
        self.neighbor_list: Optional[SkinNeighborList] = None
        cutoff = _edge_cutoff(potential)
        if cutoff is not None:
            self.neighbor_list = SkinNeighborList(cutoff, SKIN / length)
        elif periodic:
            raise ValueError("'potential' must have a cutoff and the neighbor "
                             "list of this package to be periodic (got none)")

    def __reduce__(self) -> Tuple[Any, ...]:
        # Without the edges of the moment.
        return PotentialFunction, (self.potential, self.z.cpu(), self.periodic,
                                   self.length, self.energy)

    def __call__(self, state: 'openmm.State') -> Tuple[float, np.ndarray]:
        from openmm.unit import nanometer
        pos = state.getPositions(asNumpy=True).value_in_unit(nanometer)
        if len(pos) != self.z.numel():
            raise ValueError(f"'z' must have as many atomic numbers as there "
                             f"are particles, {len(pos)} "
                             f"(got {self.z.numel()})")
        _check_atoms('The positions', pos)
        cell = pbc = edge_index = edge_shift = None
        pos = self._to_tensor(pos)
        if self.periodic:
            cell = self._to_tensor(state.getPeriodicBoxVectors(
                asNumpy=True).value_in_unit(nanometer))
            pbc = torch.ones(3, dtype=torch.bool, device=cell.device)
        # Here and not around a simulation: the mode is that of a thread, and
        # OpenMM has threads of its own.
        with torch.no_grad():
            kwargs = {}
            if self.neighbor_list is not None:
                edge_index, edge_shift = self.neighbor_list(pos, None, cell,
                                                            pbc)
                kwargs['edge_index'] = edge_index
                if self.periodic:
                    kwargs['edge_shift'] = edge_shift
            energy, forces, _ = self.potential(self.z, pos, None, cell, pbc,
                                               **kwargs)
        energy = float(energy) * self.energy
        forces = forces.cpu().double().numpy() * (self.energy / self.length)
        _check_atoms('The forces', forces)
        if not np.isfinite(energy):
            raise ValueError(f'The energy must be finite (got {energy})')
        return energy, forces

    def _to_tensor(self, value: np.ndarray) -> Tensor:
        return torch.from_numpy(value / self.length).to(self.z.device,
                                                        self.dtype)


def _check_atoms(name: str, value: np.ndarray) -> None:
    finite = np.isfinite(value).all(axis=1)
    if not finite.all():
        raise ValueError(f'{name} must be finite (got NaN or infinity at atom '
                         f'{int(np.argmin(finite))})')


def _check_elements(z: Any, elements: Optional[Sequence[int]]) -> Tensor:
    if not isinstance(z, Tensor):
        z = torch.from_numpy(np.array(z))
    z = check_atomic_numbers(z.detach().cpu(), 119).long()
    if not z.all() or z.numel() == 0:
        raise ValueError(f"'z' must be atomic numbers from 1 on (got "
                         f"{z.tolist()})")
    unknown = set(z.tolist()) - set(z.tolist() if elements is None else
                                    elements)
    if unknown:
        raise ValueError(f"'z' must be of elements that the potential was "
                         f"trained on, {elements} (got {sorted(unknown)})")
    return z


def _check_units(units: Any) -> Tuple[float, float]:
    if not isinstance(units, dict) or set(units) != {'length', 'energy'}:
        raise ValueError(f"'units' must have the keys 'length' and 'energy' "
                         f"(got {units})")
    length = check_option('length', units['length'], LENGTHS)
    energy = check_option('energy', units['energy'], ENERGIES)
    return LENGTHS[length], ENERGIES[energy]


def _edge_cutoff(potential: Potential) -> Optional[float]:
    r"""Returns the cutoff of the neighbor list that takes the place of the
    model's own, or :obj:`None` if none can."""
    graph = getattr(potential.model, 'interaction_graph', None)
    if isinstance(graph, RadiusInteractionGraph):
        return graph.cutoff
    return potential.cutoff if graph is None else None
