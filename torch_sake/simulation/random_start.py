r"""What is random in a simulation."""

from typing import Any

import numpy
import torch

from torch_sake.utils.fingerprint import fingerprint


def random_generator(seed: int, atoms: Any) -> numpy.random.Generator:
    r"""Returns the random numbers of a simulation. They follow from where it
    starts, too: a simulation that begins where another one of the same seed
    ended would have the same kicks of the heat bath again, which add up.
    """
    start = fingerprint([{
        'pos': torch.from_numpy(atoms.positions),
        'momenta': torch.from_numpy(atoms.get_momenta())}])
    return numpy.random.default_rng([seed, int(start, 16)])


def draw_velocities(atoms: Any, temperature: float,
                    rng: numpy.random.Generator) -> None:
    r"""Gives a structure without velocities those of a temperature. It moves
    nowhere as a whole and, if it is a molecule, does not turn.

    Args:
        atoms (ase.Atoms): The structure.
        temperature (float): The temperature in K.
        rng (numpy.random.Generator): The random numbers.
    """
    from ase import units
    from ase.md.velocitydistribution import Stationary, ZeroRotation
    if atoms.has('momenta'):
        return
    width = numpy.sqrt(units.kB * temperature * atoms.get_masses())
    noise = rng.normal(size=(len(atoms), 3))
    atoms.set_momenta(width[:, None] * noise)
    Stationary(atoms, preserve_temperature=False)
    if not atoms.pbc.any() and len(atoms) > 2:
        ZeroRotation(atoms, preserve_temperature=False)
    now = atoms.get_temperature()
    if now > 0:  # a single atom has lost all of its velocity
        atoms.set_momenta(atoms.get_momenta() * (temperature / now)**0.5)
