"""Steps per second of training on charged particles, of SAKENet, EGNN and the
official implementation of SAKE in JAX, side by side in one run.

    python examples/benchmarks/nbody_step.py --root data --jax /path/to/python

--jax names an interpreter with jax, flax, optax and sake-gnn, if this one has
them not. A step is batch, loss, gradients, clipping, Adam and moving average
as in torch-sake dynamics; that of JAX is compiled, with Adam alone. Rounds of
all alternate, so that a disturbance meets all of them. --profile prints where
the time of a step goes.
"""

import argparse
import subprocess
import sys
import time

SIZES = dict(hidden_channels=64, num_layers=4)


def jax_steps(batch_size):
    """Returns a function that does one step of the official model."""
    import jax
    import jax.numpy as jnp
    import optax
    import sake
    keys = jax.random.split(jax.random.PRNGKey(0), 4)
    pos, vel, y = (jax.random.normal(key, (batch_size, 5, 3))
                   for key in keys[:3])
    charge = jnp.sign(jax.random.normal(keys[3], (batch_size, 5, 1)))
    x = jnp.concatenate([charge, jnp.linalg.norm(vel, axis=-1,
                                                 keepdims=True)], -1)
    edges = charge[:, None] * charge[:, :, None]  # [B, 5, 5, 1]

    model = sake.models.DenseSAKEModel(SIZES['hidden_channels'], 1,
                                       SIZES['num_layers'])
    params = model.init(keys[0], x[0], pos[0], vel[0], he=edges[0])
    optimizer = optax.adam(1e-6)
    state = [params, optimizer.init(params)]

    def loss(params):
        _, out, _ = jax.vmap(lambda x, pos, vel, edges: model.apply(
            params, x, pos, vel, he=edges))(x, pos, vel, edges)
        return jnp.square(out - y).mean()

    @jax.jit
    def step(params, moments):
        updates, moments = optimizer.update(jax.grad(loss)(params), moments)
        return optax.apply_updates(params, updates), moments

    def run():
        state[:] = jax.block_until_ready(step(*state))

    return {'SAKE, official': run}


def torch_steps(train, batch_size):
    """Returns functions that do one step of our models."""
    import torch

    from torch_sake.forecasting import DynamicsConfig
    from torch_sake.forecasting.data import Batches
    from torch_sake.forecasting.fit import build
    from torch_sake.forecasting.module import DynamicsModule
    torch.set_num_threads(1)

    def build_step(**options):
        config = DynamicsConfig(batch_size=batch_size, **SIZES, **options)
        module = DynamicsModule(config, build(config, train), 30)
        optimizers = module.configure_optimizers()
        order = torch.arange(len(train))
        batches = iter(())

        def step():
            nonlocal batches
            batch = next(batches, None)
            if batch is None:
                batches = iter(Batches(train, batch_size, order))
                batch = next(batches)
            module.take_step(batch, optimizers)

        return step

    return {'SAKENet': build_step(model='SAKENet', conv='sake'),
            'SAKENet, vector': build_step(model='SAKENet', conv='vector'),
            'EGNN': build_step(model='EGNN')}


def milliseconds(step, repeats):
    began = time.process_time()
    for _ in range(repeats):
        step()
    return 1000 * (time.process_time() - began) / repeats


def serve(steps, repeats):
    """Does one round for each line that comes in."""
    for step in steps.values():
        step()  # compiles
    print(*steps, sep=';', flush=True)
    for line in sys.stdin:
        print(milliseconds(steps[line.strip()], repeats), flush=True)


def print_profile(name, step):
    from torch.profiler import profile
    for _ in range(3):
        step()
    with profile() as recorded:
        step()
    table = recorded.key_averages()
    count = sum(event.count for event in table
                if event.key.startswith('aten::') and
                event.self_cpu_time_total > 0)
    print(f'\n{name}: {count} operators in a step\n' + table.table(
        sort_by='self_cpu_time_total', row_limit=14, max_name_column_width=40))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', default='data')
    parser.add_argument('--jax', default=sys.executable)
    parser.add_argument('--num_systems', type=int, default=3000)
    parser.add_argument('--batch_size', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--profile', action='store_true')
    parser.add_argument('--worker', action='store_true',
                        help=argparse.SUPPRESS)
    parser.add_argument('--csv', help='a file for the table')
    args = parser.parse_args()
    if args.worker:
        serve(jax_steps(args.batch_size), args.repeats)
        return
    from torch_sake.forecasting import load_dynamics
    train = load_dynamics('nbody', args.root, 'train',
                          sizes=(args.num_systems, 1, 1))
    own = torch_steps(train, args.batch_size)
    steps = {name: lambda step=step: milliseconds(step, args.repeats)
             for name, step in own.items()}
    worker = subprocess.Popen(
        [args.jax, __file__, '--worker', '--batch_size', str(args.batch_size),
         '--repeats', str(args.repeats)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, bufsize=1)

    def ask(name):
        worker.stdin.write(name + '\n')
        return float(worker.stdout.readline())

    names = worker.stdout.readline().strip().split(';')
    if names == ['']:
        print('There is no official model: see --help', file=sys.stderr)
    else:
        steps.update({name: lambda name=name: ask(name) for name in names})
    for step in steps.values():
        step()
    times = {name: [] for name in steps}
    for _ in range(args.rounds):
        for name, step in steps.items():
            times[name].append(step())
    worker.stdin.close()
    worker.wait()

    import torch
    from table import Table
    print(f'Batches of {args.batch_size}, one thread, torch '
          f'{torch.__version__}: milliseconds of processor time per step, '
          f'median (quartiles) of {args.rounds} rounds of {args.repeats}')
    table = Table('model', 'ms per step', 'steps per second', path=args.csv)
    for name, values in times.items():
        low, middle, high = torch.tensor(values).quantile(
            torch.tensor([0.25, 0.5, 0.75])).tolist()
        table.add(name, f'{middle:.3g} ({low:.3g}-{high:.3g})',
                  f'{1000 / middle:.3g}')
    if args.profile:
        for name, step in own.items():
            print_profile(name, step)


if __name__ == '__main__':
    main()
