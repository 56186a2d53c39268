import os.path as osp
from types import SimpleNamespace as Namespace
from typing import Any

import numpy
import torch
from torch_geometric.data import InMemoryDataset

from torch_sake.datasets.frames.split import SPLITS
from torch_sake.datasets.generated import compute_once
from torch_sake.datasets.motion.particles import (
    INTERACTIONS,
    Forces,
    Particles,
    initial_particles,
    pairs,
    products,
    simulate,
)
from torch_sake.datasets.motion.windows import fill
from torch_sake.neighbors import neighbor_list
from torch_sake.utils.bounds import check_cutoff
from torch_sake.utils.paths import PathLike, local_path
from torch_sake.utils.plain_checks import (
    check_option,
    check_positive_float,
    check_positive_int,
    check_seed,
)

ARRAYS = ('pos', 'vel', 'y', 'y_vel', 'charge', 'coupling')
MAX_PAIRS = 1 << 18  # of all systems that are simulated at a time


class NBody(InMemoryDataset):
    r"""Systems of charged particles, after Kipf et al. (arXiv:1802.04687) and
    Satorras et al. (arXiv:2102.09844): where will the particles be?

    They start from normal positions with velocities of one length in random
    directions and move by the leapfrog method. Their state is kept every
    :obj:`stride` steps; the input is one frame, the target another. By
    default that is one unit of time later.

    Each system is a :class:`~torch_geometric.data.Data` object with
    :obj:`pos`, :obj:`vel` (:obj:`[n, D]`), the targets :obj:`y` and
    :obj:`y_vel` (:obj:`[n, D]`), the charges :obj:`charge`
    (:obj:`[n, 1]`), and edges :obj:`edge_index` with the products of charges
    (gravity: -1; springs: -1 or 0) as :obj:`edge_attr` (:obj:`[E, 1]`): all
    pairs or, with a cutoff, those of the input that are closer. The charges
    are no features of nodes, as all particles move the same if all charges are
    of the other sign.

    Systems are simulated once and kept in :obj:`root`.

    Args:
        root (str or os.PathLike): The folder of the files.
        split (str, optional): :obj:`"train"`, :obj:`"val"` or :obj:`"test"`.
            (default: :obj:`"train"`)
        num_particles (int, optional): Number of particles.
            (default: :obj:`5`)
        num_dimensions (int, optional): Number of dimensions.
            (default: :obj:`3`)
        interaction (str, optional): :obj:`"charge"`, :obj:`"gravity"` or
            :obj:`"spring"`. (default: :obj:`"charge"`)
        strength (float, optional): Factor of all forces.
            (default: :obj:`1.0`)
        timestep (float, optional): Time of a step. (default: :obj:`1e-3`)
        stride (int, optional): Number of steps from frame to frame.
            (default: :obj:`100`)
        max_force (float, optional): Largest component of a force.
            (default: :obj:`100.0`)
        pos_std (float, optional): Standard deviation of the first positions.
            (default: :obj:`1.0`)
        speed (float, optional): Length of the first velocities.
            (default: :obj:`0.5`)
        frames ((int, int), optional): Frames of input and target, from 0 on.
            (default: :obj:`(30, 40)`)
        sizes ((int, int, int), optional): Numbers of systems of the splits.
            (default: :obj:`(3000, 2000, 2000)`)
        cutoff (float, optional): Length from which on particles do not see
            each other, for large systems. (default: :obj:`None`)
        seed (int, optional): The seed. (default: :obj:`0`)

    Raises:
        TypeError, ValueError: If an argument is of the wrong type or range, or
            a file is damaged.
    """
    def __init__(
        self,
        root: PathLike,
        split: str = 'train',
        num_particles: int = 5,
        num_dimensions: int = 3,
        interaction: str = 'charge',
        strength: float = 1.0,
        timestep: float = 1e-3,
        stride: int = 100,
        max_force: float = 100.0,
        pos_std: float = 1.0,
        speed: float = 0.5,
        frames: tuple[int, int] = (30, 40),
        sizes: tuple[int, int, int] = (3000, 2000, 2000),
        cutoff: float | None = None,
        seed: int = 0,
    ):
        super().__init__()
        check_option('split', split, SPLITS)
        check_option('interaction', interaction, INTERACTIONS)
        check_positive_int('num_dimensions', num_dimensions)
        check_positive_int('stride', stride)
        if check_positive_int('num_particles', num_particles) < 2:
            raise ValueError(f"'num_particles' must be at least 2 "
                             f"(got {num_particles})")
        frames, sizes = tuple(frames), tuple(sizes)
        if len(frames) != 2 or not 0 <= frames[0] < frames[1]:
            raise ValueError(f"'frames' must be an input and a later target "
                             f"(got {frames})")
        if len(sizes) != 3:
            raise ValueError(f"'sizes' must be those of {SPLITS} "
                             f"(got {sizes})")
        size = check_positive_int('sizes', sizes[SPLITS.index(split)])
        if cutoff is not None and interaction == 'spring':
            raise ValueError(f"'cutoff' must not be given for springs "
                             f"(got {cutoff})")
        if cutoff is not None:
            check_cutoff('cutoff', cutoff)
        positive = dict(strength=strength, timestep=timestep,
                        max_force=max_force, pos_std=pos_std, speed=speed)
        parameters = dict(
            split=split, num_particles=num_particles, size=size,
            num_dimensions=num_dimensions, interaction=interaction,
            stride=stride, frames=list(frames),
            seed=check_seed('seed', seed), cutoff=cutoff,
            **{name: check_positive_float(name, value)
               for name, value in positive.items()})
        self.cutoff = cutoff
        self.time = timestep * stride * (frames[1] - frames[0])
        path = osp.join(local_path('root', root), _file_name(parameters))
        arrays = {name: torch.from_numpy(array) for name, array in
                  compute_once(path, parameters, ARRAYS,
                               lambda: _simulate(Namespace(**parameters)),
                               key='parameters').items()}
        states = {name: arrays[name] for name in ('pos', 'vel', 'y', 'y_vel')}
        fill(self, dict(states, charge=arrays['charge'].unsqueeze(2)), {},
             self._edges(arrays, interaction))

    def _edges(self, arrays: dict[str, torch.Tensor], interaction: str
               ) -> list[tuple[torch.Tensor, ...]]:
        r"""Returns the edges of each system and their couplings."""
        edges = []
        size = arrays['charge'].size(1)
        both, table = pairs(size), arrays['coupling'].new_zeros(size, size)
        for pos, charge, coupling in zip(arrays['pos'], arrays['charge'],
                                         arrays['coupling']):
            edge_index, _ = neighbor_list(pos, self.cutoff)
            if interaction == 'spring':
                table[both] = table[both[::-1]] = coupling
                values = table[edge_index[0], edge_index[1]]
            else:
                values = products(interaction, charge, *edge_index)
            edges.append((edge_index, values.view(-1, 1)))
        return edges


def _file_name(parameters: dict[str, Any]) -> str:
    r"""Returns a name with all that differs from file to file in it."""
    parts = '-'.join(str(value).replace(' ', '') for value in
                     parameters.values())
    return f'nbody-{parts}.npz'


def _simulate(system: Namespace) -> dict[str, numpy.ndarray]:
    r"""Returns the arrays of a split, in single precision."""
    generator = torch.Generator().manual_seed(
        (system.seed << 8) + SPLITS.index(system.split))
    particles = initial_particles(
        system.size, system.num_particles, system.num_dimensions,
        system.interaction, system.pos_std, system.speed, generator)
    steps = tuple(system.stride * (frame + 1) for frame in system.frames)
    # Systems at a time: what is in the cache is quick.
    chunk = max(MAX_PAIRS // particles.coupling.size(1), 1)
    parts = []
    for values in zip(*(value.split(chunk) for value in particles)):
        some = Particles(*values)
        forces = Forces(some, system.interaction, system.strength,
                        system.max_force, system.cutoff)
        parts.append(simulate(some, forces, system.timestep, steps))
    pos, vel = (torch.cat(values, dim=1) for values in zip(*parts))
    coupling = particles.coupling
    if system.cutoff is not None:  # that of millions of pairs is not kept
        coupling = coupling[:, :0]
    arrays = dict(pos=pos[0], vel=vel[0], y=pos[1], y_vel=vel[1],
                  charge=particles.charge, coupling=coupling)
    return {name: value.float().numpy() for name, value in arrays.items()}
