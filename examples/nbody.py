"""Forecasts charged particles with SAKENet, EGNN and simple baselines, or a
walking person or molecules in the same way.

    python examples/nbody.py --root data --models SAKENet EGNN
    python examples/nbody.py --data cmu-walk --root data --batch_size 18

A model is its name and the settings of torch_sake.forecasting.DynamicsConfig
that differ from those given for all. The networks take positions, velocities
and features and return positions one horizon later. The loss is the mean
squared error of a coordinate, as in the literature; test errors are those of
the epoch with the best validation. A call that was stopped goes on where it
was.
"""

import argparse
import csv
import os
import statistics

import yaml

from torch_sake.forecasting import DynamicsConfig
from torch_sake.forecasting.fit import run_dynamics
from torch_sake.utils.inputs import LAST

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument('--data', default='nbody')
parser.add_argument('--root', default='data')
parser.add_argument('--models', nargs='+',
                    default=['SAKENet', 'SAKENet,conv=sake', 'EGNN', 'GNN',
                             'RadialField', 'Linear'])
parser.add_argument('--num_epochs', type=int, default=60)
parser.add_argument('--batch_size', type=int, default=100)
parser.add_argument('--sizes', type=int, nargs=3,
                    help='numbers of systems for train, val and test')
parser.add_argument('--seeds', type=int, nargs='+', default=[0])
parser.add_argument('--out', default='runs/nbody')
parser.add_argument('--csv', help='a file for the table')
args = parser.parse_args()


def run(entry, seed):
    name, *changes = entry.split(',')
    options = dict(data=args.data, root=args.root, num_epochs=args.num_epochs,
                   batch_size=args.batch_size, sizes=args.sizes)
    options.update(yaml.safe_load('\n'.join(
        change.replace('=', ': ') for change in changes)) or {})
    out = os.path.join(args.out, entry, str(seed))
    return run_dynamics(DynamicsConfig(
        model=name, seed=seed, out=out,
        resume=os.path.exists(os.path.join(out, LAST)), **options))


rows = [('model', 'parameters', 'processor seconds', 'val MSE', 'test MSE')]
print('| ' + ' | '.join(rows[0]) + ' |\n|---|---|---|---|---|')
for entry in args.models:
    results = [run(entry, seed) for seed in args.seeds]
    cells = [entry, results[0]['parameters'],
             f"{statistics.mean(r['seconds'] for r in results):.0f}"]
    for key in ('val_mse', 'test_mse'):
        values = [result[key] for result in results]
        cells.append(f'{statistics.mean(values):.5f}')
        if len(values) > 1:
            cells[-1] += f' ± {statistics.stdev(values):.5f}'
    rows.append(cells)
    print('| ' + ' | '.join(map(str, cells)) + ' |', flush=True)
for name in ('no motion', 'constant velocity', 'fitted velocity'):
    print(f"| {name} | | | | {results[0]['rollout'][0][name]:.5f} |")
if args.csv:
    with open(args.csv, 'w', newline='') as file:
        csv.writer(file).writerows(rows)
