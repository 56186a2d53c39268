import importlib.util
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from torch_sake.benchmark.systems import System

NAME = 'official SAKE (JAX)'
ELEMENTS = [1, 6, 8]


class OfficialCase:
    r"""The official implementation of SAKE in the paper's configuration, for
    batches of like molecules: six layers of 64 channels and four heads, all
    pairs, compiled by JAX.

    Raises:
        ImportError: If it is not installed.
    """
    label = NAME
    cutoff = None
    compiled = True

    def __init__(self):
        if not is_installed():
            raise ImportError(f"{NAME} needs sake-gnn, which is not "
                              f"installed: pip install jax flax optax && "
                              f"pip install --no-deps sake-gnn")
        if torch.get_num_threads() == 1 and 'XLA_FLAGS' not in os.environ:
            os.environ['XLA_FLAGS'] = ('--xla_cpu_multi_thread_eigen=false '
                                       'intra_op_parallelism_threads=1')
        self.versions: dict[str, str] = {
            name: version(name) for name in ('sake-gnn', 'jax', 'flax')}

    def calls(self, system: System,
              tasks: list[str]) -> dict[str, Callable[[], Any]]:
        r"""Returns a function for each task that can be done."""
        import jax
        import jax.numpy as jnp
        import optax
        import sake
        if system.batch is None:
            raise ValueError('There is no official model for periodic boxes')
        model = sake.models.DenseSAKEModel(64, 1, depth=6, n_heads=4)
        shape = (system.batch_size, -1)
        elements = torch.tensor(ELEMENTS)
        features = jnp.asarray((system.z.cpu().unsqueeze(1) == elements).view(
            *shape, len(ELEMENTS)).numpy().astype('float32'))
        pos = jnp.asarray(system.pos.cpu().float().view(*shape, 3).numpy())
        params = model.init(jax.random.PRNGKey(0), features[0], pos[0])

        def total_energy(params, pos):
            out, _, _ = jax.vmap(lambda h, x: model.apply(params, h, x))(
                features, pos)
            energy = out.sum(axis=(1, 2))
            return energy.sum(), energy

        def energy_and_forces(params, pos):
            gradient, energy = jax.grad(total_energy, 1, has_aux=True)(params,
                                                                       pos)
            return energy, -gradient

        def loss(params, pos):
            energy, forces = energy_and_forces(params, pos)
            return energy.mean() + jnp.square(forces).mean()

        optimizer = optax.adam(1e-6)
        state = [params, optimizer.init(params)]

        @jax.jit
        def step(params, moments, pos):
            updates, moments = optimizer.update(
                jax.grad(loss)(params, pos), moments)
            return optax.apply_updates(params, updates), moments

        def train():
            state[:] = jax.block_until_ready(step(*state, pos))

        infer = jax.jit(energy_and_forces)
        calls = {
            'neighbors': lambda: None,  # all pairs, inside of it
            'inference': lambda: jax.block_until_ready(infer(params, pos)),
            'training': train,
        }
        return {task: calls[task] for task in ('neighbors', *tasks)
                if task in calls}


def is_installed() -> bool:
    r"""Whether all that it needs is there."""
    return all(importlib.util.find_spec(name) is not None
               for name in ('sake', 'jax', 'flax', 'optax'))
