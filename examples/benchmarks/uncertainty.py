"""What finds errors better: the uncertainties of one training, or the spread
of an ensemble of several?

    python examples/benchmarks/uncertainty.py --train train_300K.xyz \
        --test test_MD_300K.xyz test_MD_600K.xyz test_dihedral.xyz \
        --out uncertainty

trains a potential for each of --seeds, which differ in their training frames,
too, or takes those that are in --out already, or the --checkpoints that are
given; one without uncertainties gets them from the frames of its split. Of
each file, of all energies together and of all forces together, the rows of
uncertainty.csv say

* rms_ratio: the root mean square of errors in units of the standard
  deviations, which is 1 for uncertainties that are right,
* within_one_std: the share of errors within one, 68.3 % of normal ones,
* rank_correlation: that of errors and uncertainties (Spearman's),
* auroc: how likely it is that one of the tenth of largest errors is more
  uncertain than one of the rest.

Forces are looked at atom by atom and, as "force of frames", by the largest
error and the largest uncertainty of a frame. 'single' is the mean over the
potentials, each with its own errors and uncertainties; 'ensemble' the spread
about the mean of all, for the errors of that; 'ensemble, of one' is the same
spread for the errors of the first. The processor time of a call is measured
for one structure.

It needs ``pip install 'torch-sake[train]'``.
"""
import argparse
import os
import os.path as osp
import time

import numpy
import torch
from table import Table
from torch_geometric.loader import DataLoader

from torch_sake import Ensemble, fit_uncertainty, load_potential
from torch_sake.checkpoint import load_checkpoint
from torch_sake.datasets import read_frames
from torch_sake.evaluation.calibration import rank_correlation
from torch_sake.evaluation.metrics import predict
from torch_sake.training import TrainConfig, Trainer

LARGEST = 0.1  # of errors, that are to be found
NUM_CALLS, NUM_REPEATS = 20, 7
COLUMNS = ('number', 'rms_error', 'rms_ratio', 'within_one_std',
           'rank_correlation', 'auroc')


def train(args, seed):
    """Returns the potential of a seed, trained unless it is there."""
    out = osp.join(args.out, f'seed{seed}')
    if not osp.exists(osp.join(out, 'best.safetensors')):
        Trainer(TrainConfig(
            data=args.train, num_train=args.num_train, num_val=args.num_val,
            num_test=0, batch_size=3, num_steps=args.steps, seed=seed,
            out=out)).fit()
    return out


def load(path, frames):
    """Returns a potential that has uncertainties."""
    potential = load_potential(path)
    if not potential.has_uncertainty:
        split = load_checkpoint(path)[0]
        fit_uncertainty(potential, frames[split['split.train']],
                        frames[split['split.val']])
    return potential


def auroc(error, std):
    """The area under the curve of the rates of the right and the false."""
    is_large = error > numpy.quantile(error, 1 - LARGEST)
    order = std.argsort().argsort() + 1.0
    large, small = is_large.sum(), (~is_large).sum()
    return float((order[is_large].sum() - large * (large + 1) / 2) /
                 (large * small))


def numbers(error, std):
    """Returns the row of errors and standard deviations, :obj:`[R, C]`."""
    length, width = (numpy.linalg.norm(values, axis=1)
                     for values in (error, std))
    return {'number': len(error),
            'rms_error': float(numpy.sqrt(numpy.square(error).mean())),
            'rms_ratio': float(numpy.sqrt(numpy.square(error / std).mean())),
            'within_one_std': float((abs(error) <= std).mean()),
            'rank_correlation': rank_correlation(length, width),
            'auroc': auroc(length, width)}


def of_frames(error, std, num_atoms):
    """Returns the largest lengths of each frame, as rows of one column."""
    ends = numpy.cumsum(num_atoms)[:-1]
    return [numpy.array([part.max() for part in numpy.split(
        numpy.linalg.norm(values, axis=1), ends)])[:, None]
        for values in (error, std)]


def measure(potential, files, errors_of=None):
    """Returns the rows of all files, and of all together."""
    rows, every = {}, {}
    for path in files:
        frames = read_frames(path)
        outputs, other = (predict(one, DataLoader(frames, batch_size=64),
                                  torch.device('cpu'))
                          for one in (potential, errors_of or potential))
        for name, std in outputs.stds.items():
            error, std = (values.reshape(len(values), -1).numpy() for values
                          in (other[name].error, std))
            parts = {name: [error, std]}
            if name == 'force':
                parts['force of frames'] = of_frames(
                    error, std, frames.num_atoms.numpy())
            for kind, pair in parts.items():
                rows[kind, osp.basename(path)] = numbers(*pair)
                every.setdefault(kind, []).append(pair)
    for kind, pairs in every.items():
        rows[kind, 'all'] = numbers(*map(numpy.concatenate, zip(*pairs)))
    return rows


def mean(tables):
    """Returns the means of the rows of several tables."""
    return {key: {column: float(numpy.mean([table[key][column]
                                            for table in tables]))
                  for column in COLUMNS} for key in tables[0]}


def seconds(functions):
    """Returns the medians of the processor times of calls, in turns."""
    times = [[] for _ in functions]
    for _ in range(NUM_REPEATS):
        for function, found in zip(functions, times):
            function()
            start = time.process_time()
            for _ in range(NUM_CALLS):
                function()
            found.append((time.process_time() - start) / NUM_CALLS)
    return [float(numpy.median(found)) for found in times]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--train', required=True)
    parser.add_argument('--test', nargs='+', required=True)
    parser.add_argument('--num_train', type=int, default=450)
    parser.add_argument('--num_val', type=int, default=50)
    parser.add_argument('--steps', type=int, default=6000)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--checkpoints', nargs='+', default=None)
    parser.add_argument('--out', default='uncertainty')
    args = parser.parse_args()
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    paths = args.checkpoints or [train(args, seed) for seed in args.seeds]
    frames = read_frames(args.train)
    potentials = [load(path, frames) for path in paths]
    tables = {'single': mean([measure(one, args.test) for one in potentials])}
    calls = [potentials[0], potentials[0].statistics]
    if len(potentials) > 1:
        ensemble = Ensemble(potentials)
        calls.append(ensemble.statistics)
        tables['ensemble'] = measure(ensemble, args.test)
        tables['ensemble, of one'] = measure(ensemble, args.test,
                                             potentials[0])
    shown = Table('uncertainty', 'of', 'file', *COLUMNS,
                  path=osp.join(args.out, 'uncertainty.csv'))
    for kind, path in tables['single']:
        for name, table in tables.items():
            shown.add(name, kind, path, *(f'{table[kind, path][column]:.4g}'
                                          for column in COLUMNS))
    data = read_frames(args.test[0])[0]
    with torch.no_grad():
        plain, *others = seconds([
            lambda call=call: call(data.z, data.pos.float())
            for call in calls])
    print(f'{1000 * plain:.2f} ms for energy and forces; '
          + ', '.join(f'{other / plain:.3f} times as long {name}'
                      for name, other in zip(('with uncertainties',
                                              'of the ensemble'), others)))


if __name__ == '__main__':
    main()
