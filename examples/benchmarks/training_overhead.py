"""What Lightning adds to the time of a training step.

    python examples/benchmarks/training_overhead.py --data md17:ethanol \
        --root data

One process trains two copies of a VectorSAKE in turns, on the same batches:
one by the loop of Lightning with everything that torch-sake train has in it
(the bar, the look for interruptions), one by a bare loop over the same loader
and the same steps. Validations and checkpoints do not count. The first round
of both, in which they are compiled if asked for, does not count either. The
table has the median of the rounds and their quartiles.
"""

import argparse
import os
import platform
import tempfile
import time

import torch
from pytorch_lightning import Callback
from table import Table
from torch_geometric.loader import DataLoader

from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.sampler import StepSampler


class Rounds(Callback):
    """Times the steps up to each validation, and a bare loop after it."""
    def __init__(self, bare):
        self.bare = bare
        self.times = []

    def on_train_epoch_start(self, trainer, module):
        self.began = clocks()

    def on_validation_start(self, trainer, module):
        self.times.append((elapsed(self.began), self.bare()))


def clocks():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.process_time(), time.perf_counter()


def elapsed(began):
    return [now - then for now, then in zip(clocks(), began)]


def build_trainer(args, folder):
    return Trainer(TrainConfig(
        data=args.data, root=args.root, num_train=args.num_train, num_val=1,
        num_test=0, batch_size=args.batch_size, out=folder,
        val_interval=args.steps, num_steps=args.steps * (args.rounds + 1),
        compile=args.compile))


def bare_round(trainer, optimizers):
    """Returns the times of the steps up to the next validation."""
    loader = DataLoader(trainer.data.part('train'), batch_sampler=StepSampler(
        trainer.data.sizes, trainer.config, lambda: trainer.step))
    trainer.module.train()
    with torch.enable_grad():  # this is the middle of a validation
        began = clocks()
        for data in loader:
            trainer.module.take_step(data.to(trainer.device), optimizers)
        return elapsed(began)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='xtb:ethanol')
    parser.add_argument('--root')
    parser.add_argument('--num_train', type=int, default=950)
    parser.add_argument('--batch_size', type=int, default=8)
    parser.add_argument('--steps', type=int, default=100)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--compile', action='store_true')
    parser.add_argument('--csv', help='a file for the table')
    args = parser.parse_args()

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        other = build_trainer(args, os.path.join(folder, 'bare'))
        optimizers = other.module.configure_optimizers()
        rounds = Rounds(lambda: bare_round(other, optimizers))
        trainer = build_trainer(args, os.path.join(folder, 'lightning'))
        trainer.fit([rounds])
    for key, value in trainer.potential.state_dict().items():
        assert value.equal(other.potential.state_dict()[key]), key

    # [rounds, of Lightning or bare, processor time or time]
    times = 1000 / args.steps * torch.tensor(rounds.times[1:])
    print(f'{args.data}, batches of {args.batch_size}, {args.rounds} rounds '
          f'of {args.steps} steps, one thread, torch {torch.__version__}, '
          f'{platform.machine()}')
    table = Table('time', 'Lightning (ms per step)', 'bare loop', 'ratio',
                  path=args.csv)
    for index, name in enumerate(('processor', 'elapsed')):
        lightning, bare = times[:, :, index].T
        table.add(name, *(spread(values) for values in (
            lightning, bare, lightning / bare)))


def spread(values):
    low, middle, high = values.quantile(
        torch.tensor([0.25, 0.5, 0.75])).tolist()
    return f'{middle:.4g} ({low:.4g}-{high:.4g})'


if __name__ == '__main__':
    main()
