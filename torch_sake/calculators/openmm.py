from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

try:
    import openmm
    from openmm.unit import angstrom
except ImportError as error:
    raise ImportError("'openmm_force' needs OpenMM: "
                      "pip install 'torch-sake[openmm]'") from error

from torch_sake.calculators.evaluator import Evaluator, Source
from torch_sake.utils.checks import (
    MAX_ATOMIC_NUMBER,
    check_atomic_numbers,
    check_known_elements,
)
from torch_sake.utils.units import ENERGIES, LENGTHS

# OpenMM computes in kJ/mol and nm, what is evaluated is in eV and Angstrom.
ENERGY = 1 / ENERGIES['kJ/mol']
FORCE = ENERGY * LENGTHS['nm']


def openmm_force(
    potential: Source,
    z: Sequence[int] | numpy.ndarray | Tensor,
    periodic: bool = False,
    units: dict[str, str] | None = None,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
    compile: bool = False,
    model: str | type | None = None,
    charge: int | None = None,
    spin: int | None = None,
) -> openmm.PythonForce:
    r"""Returns a potential as a force of OpenMM (8.5 or later).

    .. code-block:: python

        z = [atom.element.atomic_number for atom in topology.atoms()]
        system.addForce(openmm_force('runs/ethanol', z))

    The force has a copy of the potential. It can be copied and serialized
    together with its :obj:`openmm.System`, the parameters being part of the
    XML file.

    Args:
        potential (Potential or Ensemble or str or [str]): The potential, a
            checkpoint or the folder of a training run, or several of these,
            which become an :class:`~torch_sake.Ensemble`.
        z (list or numpy.ndarray or torch.Tensor): The atomic numbers of all
            particles of the system.
        periodic (bool, optional): If set to :obj:`True`, the system is
            periodic, with the box vectors that it has at each step.
            (default: :obj:`False`)
        units, device, dtype, compile, model (optional): As those of
            :class:`~torch_sake.calculators.Evaluator`.
        charge, spin (int, optional): The total charge of all particles in
            units of e, and the multiplicity :math:`2 S + 1`.
            (default: :obj:`None`)

    Raises:
        ImportError: If OpenMM is too old.
        TypeError, ValueError: If an argument is of the wrong type or range, a
            unit is not known, or the potential was not trained on an element
            (which is named).
    """
    if not hasattr(openmm, 'PythonForce'):
        raise ImportError(f"'openmm_force' needs OpenMM 8.5 or later (got "
                          f"{openmm.__version__}): "
                          f"pip install 'torch-sake[openmm]'")
    evaluator = Evaluator(potential, units, device, dtype, compile, model)
    z = torch.as_tensor(z).cpu()
    numbers = check_atomic_numbers(z, MAX_ATOMIC_NUMBER + 1).numpy().copy()
    if not numbers.all():
        raise ValueError(f"'z' must be atomic numbers from 1 on "
                         f"(got {numbers.tolist()})")
    check_known_elements('The structure has', numbers.tolist(),
                         evaluator.elements)
    if periodic and evaluator.neighbors is None:
        raise ValueError("'potential' must have a cutoff to be periodic "
                         "(got none)")
    evaluator.states.inputs(charge, spin)  # checks them
    force = openmm.PythonForce(ForceFunction(evaluator, numbers, periodic,
                                             charge, spin))
    force.setName('torch_sake')
    force.setUsesPeriodicBoundaryConditions(bool(periodic))
    return force


class ForceFunction:
    r"""The function of an :obj:`openmm.PythonForce`. It is a class as OpenMM
    pickles it for XML files.

    Args:
        evaluator (Evaluator): The potential.
        numbers (numpy.ndarray): The atomic numbers.
        periodic (bool): Whether there are box vectors.
        charge, spin (int, optional): Those of all particles.
            (default: :obj:`None`)

    Shapes:
        - **output:** energy in kJ/mol, forces :math:`(N, 3)` in kJ/mol/nm

    Raises:
        ValueError: If there is another number of particles, or a force is not
            finite.
    """
    def __init__(self, evaluator: Evaluator, numbers: numpy.ndarray,
                 periodic: bool, charge: int | None = None,
                 spin: int | None = None):
        self.evaluator = evaluator
        self.numbers = numbers
        self.periodic = periodic
        self.state = {'charge': charge, 'spin': spin}

    def __call__(self, state: openmm.State) -> tuple[float, numpy.ndarray]:
        structure = [state.getPositions(asNumpy=True).value_in_unit(angstrom)]
        if len(structure[0]) != len(self.numbers):
            raise ValueError(f"'z' must have as many atomic numbers as there "
                             f"are particles, {len(structure[0])} "
                             f"(got {len(self.numbers)})")
        if self.periodic:
            box = state.getPeriodicBoxVectors(asNumpy=True)
            structure += [box.value_in_unit(angstrom), numpy.ones(3, bool)]
        out = self.evaluator(self.numbers, *structure, **self.state)
        return out.energy * ENERGY, out.forces * FORCE
