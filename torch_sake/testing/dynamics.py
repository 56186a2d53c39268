from collections.abc import Callable
from typing import Any, Literal

import torch
from numpy.random import default_rng
from torch import Tensor

from torch_sake.testing.compare import call
from torch_sake.testing.structures import Structure, molecule_of
from torch_sake.utils.plain_checks import (
    check_option,
    check_positive_float,
    require,
)
from torch_sake.utils.units import ENERGIES, LENGTHS, check_units

FRICTION = 0.01  # 1/fs
INTERVAL = 10  # steps from one look to the next
MEAN = 5  # a fifth of a simulation, over which energies are averaged


def assert_stable_dynamics(
    potential: Callable,
    structure: Structure,
    temperature: float = 500.0,
    time: float = 1000.0,
    timestep: float = 0.5,
    ensemble: Literal['nvt', 'nve'] = 'nvt',
    max_stretch: float = 2.0,
    max_drift: float = 0.05,
    seed: int = 0,
    length: str = 'Angstrom',
    energy: str = 'eV',
) -> None:
    r"""Asserts that a molecule keeps its bonds in molecular dynamics, and its
    energy where nothing takes or gives any. It needs ASE.

    Args:
        potential (callable): The :class:`~torch_sake.Potential`.
        structure (ase.Atoms or (torch.Tensor, torch.Tensor)): A molecule, or
            its atomic numbers and positions.
        temperature (float, optional): Temperature in K that velocities are
            drawn for and, with :obj:`"nvt"`, that the molecule is kept at.
            (default: :obj:`500.0`)
        time (float, optional): How long, in fs. (default: :obj:`1000.0`)
        timestep (float, optional): The step in fs. (default: :obj:`0.5`)
        ensemble (str, optional): :obj:`"nvt"`, Langevin dynamics with a
            friction of 0.01 per fs, or :obj:`"nve"`, Newton's equations.
            (default: :obj:`"nvt"`)
        max_stretch (float, optional): A bond is broken from this multiple of
            the sum of the covalent radii on. (default: :obj:`2.0`)
        max_drift (float, optional): By how much the energy per atom may change
            with :obj:`"nve"`, from the mean of the first fifth of the time to
            that of the last one, in units of :math:`k_B T`.
            (default: :obj:`0.05`)
        seed (int, optional): Seed of all random numbers. (default: :obj:`0`)
        length (str, optional): The unit of length.
            (default: :obj:`"Angstrom"`)
        energy (str, optional): The unit of energy. (default: :obj:`"eV"`)

    Raises:
        AssertionError: If a bond breaks, an energy or a force is not finite,
            or the energy drifts, naming the atoms, the time and the numbers.
    """
    from ase import Atoms, units
    from ase.md.langevinbaoab import LangevinBAOAB
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    from ase.md.verlet import VelocityVerlet
    check_units({'length': length, 'energy': energy})
    for name, value in (('temperature', temperature), ('time', time),
                        ('timestep', timestep), ('max_stretch', max_stretch)):
        check_positive_float(name, value)
    check_option('ensemble', ensemble, ('nvt', 'nve'))
    num_steps = round(time / timestep)
    require(num_steps >= MEAN * INTERVAL,
            f"'time' must be at least {MEAN * INTERVAL} steps, "
            f"{MEAN * INTERVAL * timestep:g} fs (got {time})")
    molecule = molecule_of(structure, length)
    atoms = Atoms(molecule.z.tolist(),
                  LENGTHS[length] * molecule.pos.cpu().numpy())
    atoms.calc = _Calculator(potential, molecule.z, molecule.pos,
                             LENGTHS[length], ENERGIES[energy])
    rng = default_rng(seed)
    MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
    if ensemble == 'nve':
        dynamics = VelocityVerlet(atoms, timestep * units.fs)
    else:
        dynamics = LangevinBAOAB(
            atoms, timestep * units.fs, temperature_K=temperature,
            T_tau=units.fs / FRICTION, rng=rng)
    energies = []
    for step in range(0, num_steps, INTERVAL):
        dynamics.run(INTERVAL)
        now = f'after {(step + INTERVAL) * timestep:g} fs at {temperature:g} K'
        for pair in molecule.bonds:
            dist = atoms.get_distance(*pair) / LENGTHS[length]
            end = max_stretch * float(molecule.radii[list(pair)].sum())
            # Not the other way round: NaN must fail.
            assert dist < end, (
                f"The bond of {molecule.name(*pair)} must hold: it is "
                f"{dist:.4g} {length} long {now}, with an energy of "
                f"{atoms.calc.energy:.6g} {energy} (it began with "
                f"{molecule.distance(pair):.4g} {length})")
        energies.append(atoms.get_total_energy())
    if ensemble == 'nve':
        total = torch.tensor(energies, dtype=torch.double)
        fifth = len(energies) // MEAN
        drift = float(total[-fifth:].mean() - total[:fifth].mean()) / (
            len(atoms) * units.kB * temperature)
        assert abs(drift) <= max_drift, (
            f"The energy must be kept: from the first fifth of {time:g} fs to "
            f"the last one, it changes by {drift:.3e} k_B T per atom, more "
            f"than {max_drift:g} (T = {temperature:g} K)")


class _Calculator:
    r"""What ASE asks for, by a potential."""
    def __init__(self, potential: Callable, z: Tensor, pos: Tensor,
                 length: float, energy: float):
        self.potential, self.z, self.like = potential, z, pos
        self.length, self.unit = length, energy
        self.energy, self.forces = float('nan'), pos
        self.pos: Any = None  # where both are known

    def _update(self, atoms: Any) -> None:
        if self.pos is not None and (self.pos == atoms.positions).all():
            return
        self.pos = atoms.positions.copy()
        pos = torch.from_numpy(self.pos / self.length).to(self.like)
        energy, forces, _ = call(self.potential, self.z, pos)
        self.energy, self.forces = float(energy.detach()), forces.detach()
        assert bool(self.forces.isfinite().all()) and (
            abs(self.energy) < float('inf')), (
                f"Energies and forces must be finite (got {self.energy} and "
                f"{self.forces.tolist()} at {pos.tolist()})")

    def get_potential_energy(self, atoms: Any, **kwargs: Any) -> float:
        self._update(atoms)
        return self.energy * self.unit

    def get_forces(self, atoms: Any, **kwargs: Any) -> Any:
        self._update(atoms)
        return self.forces.double().cpu().numpy() * (self.unit / self.length)
