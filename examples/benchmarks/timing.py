"""Time per molecule of energies and forces, and of a training step, for models
side by side in one run.

    python examples/benchmarks/timing.py --data md17:ethanol --root data \
        --models VectorSAKE SAKE,cutoff=null PaiNN

Models are named as for learning.py, which needs the same packages for models
of others. Ours are timed as they are and, where that is possible, compiled
(the first call, which compiles, does not count). Rounds of all models
alternate, so that a disturbance meets all of them; the table has the median of
the rounds, their quartiles and the ratio to the first model.
"""

import argparse
import itertools
import os
import platform
import tempfile
import time

import torch
from learning import build_trainer, parse_entry
from table import Table

from torch_sake.benchmark.peers import PEERS
from torch_sake.evaluation.metrics import predict_batch


def build_calls(entry, compiled, args, out):
    """Returns functions that do one inference and one training step, and what
    they call.
    """
    changes = '' if compiled is None else f',compile={compiled}'
    trainer = build_trainer(
        f'{entry},batch_size={args.batch_size}{changes}', args, out,
        num_steps=3000, seed=0)
    optimizers = trainer.module.configure_optimizers()
    loader = trainer.data.batches('train', args.batch_size)
    batches = (data.to(trainer.device)
               for _ in itertools.count() for data in loader)

    @torch.no_grad()
    def infer():
        predict_batch(trainer.potential, next(batches))

    def train():
        trainer.module.take_step(next(batches), optimizers)

    return {'energy and forces': infer,
            'training step': train}, trainer.potential


def milliseconds(call, repeats):
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return 1000 * (time.perf_counter() - began) / repeats


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='xtb:ethanol')
    parser.add_argument('--root')
    parser.add_argument('--batch_size', type=int, default=8)
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument('--repeats', type=int, default=10)
    parser.add_argument('--models', nargs='+',
                        default=['VectorSAKE', 'SAKE,cutoff=null', 'SchNet'])
    parser.add_argument('--csv', help='a file for the table')
    args = parser.parse_args()
    # What build_trainer of learning.py asks for:
    vars(args).update(split=None, split_prefix='', num_val=1, num_test=0,
                      num_train=4 * args.batch_size)

    torch.set_num_threads(1)
    calls = {}
    with tempfile.TemporaryDirectory() as folder:
        for entry in dict.fromkeys(args.models):
            own = parse_entry(entry)[0] not in PEERS
            for compiled in (False, True) if own else (None, ):
                label = entry + (', compiled' if compiled else '')
                kinds, potential = build_calls(entry, compiled, args,
                                               os.path.join(folder, label))
                for call in kinds.values():
                    milliseconds(call, 2)  # compiles
                if potential.compiled or not compiled:
                    calls[label] = kinds
        times = {}
        for _ in range(args.rounds):
            for label, kinds in calls.items():
                for kind, call in kinds.items():
                    times.setdefault((label, kind), []).append(
                        milliseconds(call, args.repeats) / args.batch_size)

    print(f'{args.data}, batches of {args.batch_size}, one thread, torch '
          f'{torch.__version__}, {platform.machine()}; milliseconds per '
          f'molecule: median (quartiles) of {args.rounds} rounds, ratio to '
          f'the first')
    kinds = list(next(iter(calls.values())))
    table = Table('model', *itertools.chain.from_iterable(
        (kind, 'ratio') for kind in kinds), path=args.csv)
    first = {}
    for label in calls:
        cells = []
        for kind in kinds:
            low, middle, high = torch.tensor(times[label, kind]).quantile(
                torch.tensor([0.25, 0.5, 0.75])).tolist()
            first.setdefault(kind, middle)
            cells += [f'{middle:.3g} ({low:.3g}-{high:.3g})',
                      f'{middle / first[kind]:.2f}']
        table.add(label, *cells)


if __name__ == '__main__':
    main()
