"""How many frames the loader of a training run delivers, and how long training
steps wait for it.

    python examples/benchmarks/loader.py --data md17:ethanol --root data

The frames are loaded from memory and from the disk, by worker processes or by
the training process itself. In the table, "loader" is the rate at which
batches come if nothing is done with them, and the processor time of the
training process for each of them; "training" is the same for the training
steps of a VectorSAKE with this loader, and "waiting" the part of the elapsed
time which passes until the next batch is there. The first round of each, in
which workers start and models are compiled, does not count; numbers are
medians of the others.
"""

import argparse
import os
import platform
import tempfile
import time
from types import SimpleNamespace

import torch
from table import Table

from torch_sake.datasets import load_frames, write_frames
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.datamodule import FramesModule


def build(args, data, num_workers, folder):
    """Returns a trainer and its loader, as Lightning gets it. A round of the
    loader has the batches up to the next validation."""
    trainer = Trainer(TrainConfig(
        data=data, root=args.root, num_train=args.num_train, num_val=1,
        num_test=0, batch_size=args.batch_size, num_workers=num_workers,
        val_interval=args.steps, num_steps=args.steps * (args.rounds + 1),
        device=args.device, compile=args.compile, out=folder))
    module = FramesModule(trainer.data, trainer.config)
    module.trainer = SimpleNamespace(lightning_module=trainer.module,
                                     global_rank=0, world_size=1)
    return trainer, module.train_dataloader()


def run_round(trainer, loader, optimizers=None):
    """Returns the number of frames, the elapsed time, the processor time and
    the time without steps."""
    num_frames, waiting = 0, 0.0
    began, used = time.perf_counter(), time.process_time()
    batches = iter(loader)
    while True:
        asked = time.perf_counter()
        data = next(batches, None)
        waiting += time.perf_counter() - asked
        if data is None:
            break
        num_frames += data.num_graphs
        if optimizers is not None:
            trainer.module.take_step(data.to(trainer.device), optimizers)
    if trainer.device.type == 'cuda':
        torch.cuda.synchronize()
    return (num_frames, time.perf_counter() - began,
            time.process_time() - used, waiting)


def measure(args, data, num_workers):
    """Returns the columns of the table."""
    with tempfile.TemporaryDirectory() as folder:
        trainer, loader = build(args, data, num_workers, folder)
        optimizers = trainer.module.configure_optimizers()
        trainer.module.train()
        rounds = [(run_round(trainer, loader),
                   run_round(trainer, loader, optimizers))
                  for _ in range(args.rounds + 1)]
    columns = []
    for part in torch.tensor(rounds[1:], dtype=torch.double).unbind(1):
        num_frames, elapsed, used, waiting = part.T
        columns += [f'{float((num_frames / elapsed).median()):.0f}',
                    f'{1000 / args.steps * float(used.median()):.2f}']
    return [*columns, f'{float((waiting / elapsed).median()):.1%}']


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='xtb:ethanol')
    parser.add_argument('--root')
    parser.add_argument('--num_train', type=int, default=950)
    parser.add_argument('--batch_size', type=int, default=8)
    parser.add_argument('--steps', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--workers', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--compile', action='store_true')
    parser.add_argument('--csv', help='a file for the table')
    args = parser.parse_args()

    torch.set_num_threads(1)
    print(f'{args.data}, {args.num_train} frames in batches of '
          f'{args.batch_size}, {args.rounds} rounds of {args.steps} steps, '
          f'one thread, {args.device}, torch {torch.__version__}, '
          f'{platform.machine()}')
    table = Table('frames', 'workers', 'loader (frames/s)', '(ms per batch)',
                  'training (frames/s)', '(ms per batch)', 'waiting',
                  path=args.csv)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'some.frames')
        write_frames([load_frames(args.data, root=args.root)], path)
        for name, data in (('in memory', args.data), ('on disk', path)):
            for num_workers in args.workers:
                table.add(name, num_workers,
                          *measure(args, data, num_workers))


if __name__ == '__main__':
    main()
