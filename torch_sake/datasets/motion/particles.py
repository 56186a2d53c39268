r"""Classical particles: charges, masses and springs, many systems at once."""

from typing import NamedTuple

import torch
from torch import Tensor

from torch_sake.neighbors import SkinNeighborList
from torch_sake.nn.envelope import PolynomialEnvelope

INTERACTIONS = ('charge', 'gravity', 'spring')
SIGNS = {'charge': 1.0, 'gravity': -1.0}
SOFTENING = 0.1  # of gravity, which would make close pairs too fast
SKIN = 0.3  # of the neighbor list, in units of the cutoff


class Particles(NamedTuple):
    r"""The states of :math:`S` systems of :math:`n` particles.

    Shapes:
        - positions and velocities :math:`(S, n, D)`, charges (1 for gravity
          and springs) :math:`(S, n)`, couplings :math:`c_{ij}` of pairs
          :math:`(S, P)`
    """
    pos: Tensor
    vel: Tensor
    charge: Tensor
    coupling: Tensor


def pairs(num_particles: int) -> tuple[Tensor, Tensor]:
    r"""Returns every pair once, :math:`(P)` and :math:`(P)`."""
    row, column = torch.triu_indices(num_particles, num_particles, offset=1)
    return row, column


def initial_particles(
    num_systems: int,
    num_particles: int,
    num_dimensions: int,
    interaction: str,
    pos_std: float,
    speed: float,
    generator: torch.Generator,
) -> Particles:
    r"""Draws systems: normal positions, velocities of one length in random
    directions, charges of both signs with equal probability, springs between
    half of the pairs.
    """
    shape = (num_systems, num_particles, num_dimensions)
    options = dict(generator=generator, dtype=torch.double)
    pos = pos_std * torch.randn(shape, **options)
    vel = torch.randn(shape, **options)
    vel = speed * vel / vel.norm(dim=2, keepdim=True)
    charge = torch.ones(shape[:2], dtype=torch.double)
    row, column = pairs(num_particles)
    if interaction == 'charge':
        charge = 2 * torch.randint(2, shape[:2], generator=generator) - 1
        charge = charge.double()
    if interaction == 'spring':
        coupling = -torch.randint(2, (num_systems, row.numel()),
                                  generator=generator).double()
    else:
        coupling = products(interaction, charge, row, column)
    return Particles(pos, vel, charge, coupling)


def products(interaction: str, charge: Tensor, row: Tensor,
             column: Tensor) -> Tensor:
    r"""Returns the couplings of pairs of charges or masses."""
    return SIGNS[interaction] * charge[..., row] * charge[..., column]


class Forces:
    r"""The forces between particles

    .. math::
        \vec{F}_i = k \sum_j c_{ij} \, \phi(r_{ij}) \,
        (\vec{r}_i - \vec{r}_j), \quad
        \phi(r) = r^{-3}, \; (r^2 + 0.1^2)^{-3/2}, \; 1

    for charges, gravity and springs, with components of at most
    :obj:`max_force`. With a cutoff, :math:`\phi` is multiplied by the envelope
    of :class:`~torch_sake.nn.PolynomialEnvelope`.
    """
    def __init__(self, particles: Particles, interaction: str, strength: float,
                 max_force: float, cutoff: float | None):
        num_systems, num_particles, self.num_dimensions = particles.pos.shape
        self.interaction = interaction
        self.strength = strength
        self.max_force = max_force
        self.num_nodes = num_systems * num_particles
        self.charge = particles.charge.flatten()
        self.neighbors = None
        if cutoff is not None:
            self.envelope = PolynomialEnvelope(cutoff)
            self.neighbors = SkinNeighborList(cutoff, SKIN * cutoff)
            self.batch = torch.arange(num_systems).repeat_interleave(
                num_particles)
            return
        first = num_particles * torch.arange(num_systems).view(-1, 1)
        row, column = pairs(num_particles)
        self.row = (first + row).flatten()
        self.column = (first + column).flatten()
        self.coupling = particles.coupling.flatten()

    def __call__(self, pos: Tensor) -> Tensor:
        r"""Returns the forces, of the shape of the positions."""
        flat = pos.reshape(self.num_nodes, self.num_dimensions)
        row, column, coupling = self._pairs(flat)
        vec = flat[row] - flat[column]  # [P, D]
        square = vec.square().sum(dim=1)
        factor = self.strength * coupling
        if self.interaction == 'gravity':
            factor = factor * (square + SOFTENING**2)**-1.5
        elif self.interaction == 'charge':
            factor = factor * square**-1.5
        if self.neighbors is not None:
            factor = factor * self.envelope(square.sqrt())
        force = vec * factor.unsqueeze(1)
        out = torch.zeros_like(flat).index_add_(0, row, force)
        out.index_add_(0, column, force, alpha=-1)
        return out.clamp_(-self.max_force, self.max_force).view_as(pos)

    def _pairs(self, pos: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self.neighbors is None:
            return self.row, self.column, self.coupling
        (column, row), _ = self.neighbors(pos, self.batch)
        once = row < column
        row, column = row[once], column[once]
        return row, column, products(self.interaction, self.charge, row,
                                     column)


def simulate(particles: Particles, forces: Forces, timestep: float,
             steps: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    r"""Returns positions and velocities after the given numbers of steps, by
    the leapfrog method: velocities are those of half a step before.

    Shapes:
        - **output:** two tensors :math:`(T, S, n, D)`
    """
    pos, vel = particles.pos.clone(), particles.vel.clone()
    vel += timestep * forces(pos)
    frames = {}
    for step in range(1, max(steps) + 1):
        pos += timestep * vel
        if step in steps:
            frames[step] = (pos.clone(), vel.clone())
        vel += timestep * forces(pos)
    return tuple(torch.stack([frames[step][part] for step in steps])
                 for part in range(2))
