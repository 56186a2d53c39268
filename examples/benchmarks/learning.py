"""Error against processor time: trains models on the same data for a given
processor time each and draws their errors.

    python examples/benchmarks/learning.py --data md17:ethanol --root data \
        --seconds 180 --seeds 0 1 2 --models VectorSAKE SAKE,cutoff=null SchNet

A model is a name, followed by settings of torch_sake.training.TrainConfig that
differ from its default ones below, or those in torch_sake.benchmark.peers for
models of other packages. VectorSAKE+tanh is one after a change of variants.py.
The number of steps is what fits into the time, found by a short trial run, so
that the schedule of the learning rate ends with it. The steps of the trial,
validations and the first step, in which our models are compiled, do not count;
how long the first step took is in the table. Errors are those on the test
frames of the split and on every file of --test_files.

Results are kept in --out: results.json, results.md, errors.csv and
learning.png. A call goes on where another one stopped, in another environment
too: peers that cannot be installed side by side are trained one after the
other, with the same --out.
"""

import argparse
import json
import os
import platform
import shutil
import time

import torch
import yaml
from matplotlib.figure import Figure
from pytorch_lightning import Callback
from table import write_csv
from torch_geometric.loader import DataLoader
from variants import VARIANTS

import torch_sake
from torch_sake import VectorSAKE
from torch_sake.benchmark.peers import PEERS, PeerInputs, peer_versions
from torch_sake.datasets import load_frames
from torch_sake.evaluation.metrics import error_metrics, predict
from torch_sake.training import TrainConfig, Trainer
from torch_sake.training.data import TrainingData
from torch_sake.utils.files import replace_when_complete

# 'SAKE' is the paper's configuration (hidden size, layers and heads are
# defaults of the model) with its optimizer:
SETTINGS = {
    'VectorSAKE': {'compile': True},
    'SAKE': {'compile': True, 'batch_size': 4, 'learning_rate': 1e-3,
             'optimizer': 'adam'},
    **{name: {'optimizer': 'adam', **peer.settings}
       for name, peer in PEERS.items()},
}
# Settings that say what our models are made of:
OWN = {'model', 'hidden_channels', 'num_layers', 'heads', 'num_coefficients',
       'num_rbf', 'update_pos'}
TRIAL_STEPS = 40
ERRORS = ('force_mae', 'force_rmse', 'energy_mae', 'energy_rmse')


def parse_entry(entry):
    """Returns the name, the settings and the variants of an entry such as
    'SAKE,heads=1' or 'VectorSAKE+tanh'.
    """
    name, *changes = entry.split(',')
    name, *variants = name.split('+') if name not in PEERS else [name]
    if name not in SETTINGS:
        raise SystemExit(f"--models must be of {sorted(SETTINGS)} "
                         f"(got {name!r})")
    if variants and (name != 'VectorSAKE' or set(variants) - set(VARIANTS)):
        raise SystemExit(f"--models must have no variants but "
                         f"{list(VARIANTS)} of VectorSAKE (got {entry!r})")
    changes = {key: yaml.safe_load(value) for key, value in
               (change.split('=', 1) for change in changes)}
    settings = {**SETTINGS[name], **changes}
    if name not in PEERS:
        return name, dict(settings, model=name), variants
    if OWN & set(changes) or changes.get('cutoff', 5.0) is None:
        raise SystemExit(f"--models must give a cutoff and no size for a "
                         f"model of another package (got {entry!r})")
    try:
        peer_versions(name)
    except ImportError as error:
        raise SystemExit(str(error)) from None
    return name, settings, []


def build_trainer(entry, args, out, num_steps, seed):
    """Returns the trainer of an entry."""
    name, settings, variants = parse_entry(entry)
    config = TrainConfig(
        data=args.data, root=args.root, split=args.split,
        split_prefix=args.split_prefix, num_train=args.num_train,
        num_val=args.num_val, num_test=args.num_test, out=out, seed=seed,
        num_steps=num_steps, val_interval=max(num_steps // 20, 1), **settings)
    if name not in PEERS and not variants:
        return Trainer(config)
    data = TrainingData.from_config(config)
    avg_num_neighbors = data.avg_num_neighbors(config.cutoff)
    torch.manual_seed(seed)
    if name in PEERS:
        return Trainer(config, PEERS[name].build(PeerInputs(
            config.cutoff, data.elements, avg_num_neighbors)))
    model = VectorSAKE(avg_num_neighbors=avg_num_neighbors,
                       **config.model_arguments)
    for variant in variants:
        VARIANTS[variant](model)
    return Trainer(config, model)


class StepTimes(Callback):
    """Keeps the processor time and the time of each step."""
    def __init__(self):
        self.times = []

    def on_train_batch_start(self, *args):
        self.began = time.process_time(), time.perf_counter()

    def on_train_batch_end(self, *args):
        self.times.append((time.process_time() - self.began[0],
                           time.perf_counter() - self.began[1]))


def try_out(entry, args):
    """Returns the processor time of a step, after the first ones, and the time
    of the first step, in which our models are compiled.
    """
    out = os.path.join(args.out, 'trial')
    shutil.rmtree(out, ignore_errors=True)
    trainer = build_trainer(entry, args, out, TRIAL_STEPS, seed=0)
    trainer.config.val_interval = TRIAL_STEPS  # one validation is enough
    steps = StepTimes()
    trainer.fit([steps])
    shutil.rmtree(out)
    processor = [step[0] for step in steps.times[10:]]
    return sum(processor) / len(processor), steps.times[0][1]


def run(entry, seed, num_steps, first_step, args):
    """Trains one model and returns its results."""
    folder = entry.replace(',', '-').replace('=', '-')
    out = os.path.join(args.out, f'{folder}-{seed}')
    shutil.rmtree(out, ignore_errors=True)
    trainer = build_trainer(entry, args, out, num_steps, seed)
    steps = StepTimes()
    trainer.fit([steps])
    loaders = {path: DataLoader(load_frames(path), batch_size=64)
               for path in args.test_files}
    if trainer.data.split.test.numel() > 0:
        loaders['test frames'] = trainer.data.batches('test', 64)
    tests = {path: error_metrics(predict(trainer.average.module, loader,
                                         trainer.device))
             for path, loader in loaders.items()}
    name, *_ = parse_entry(entry)
    compiling = steps.times[0][0]  # or what is left of it in this process
    return {
        'versions': peer_versions(name) if name in PEERS else {},
        'num_steps': num_steps,
        'batch_size': trainer.config.batch_size,
        'seconds': trainer.seconds - compiling,
        'first_step': first_step,
        'parameters': sum(p.numel() for p in trainer.potential.parameters()),
        'units': trainer.data.frames.units,
        'curve': [[metrics['seconds'] - compiling, metrics['force_mae']]
                  for metrics in trainer.history],
        'tests': tests,
    }


def peers_used(results):
    """Returns a line for each peer with the versions it was trained with."""
    lines = {}
    for entry, seeds in results.items():
        for result in seeds.values():
            # Results of earlier calls may lack them.
            used = [f'{package} {version}' for package, version in
                    result.get('versions', {}).items()]
            if used:
                lines[f"{entry.split(',')[0]}: {', '.join(used)}"] = None
    return ['', *(f'- {line}' for line in lines)] if lines else []


def spread(values):
    """Returns the mean and the standard deviation over the seeds."""
    values = torch.tensor(list(values), dtype=torch.double)
    if values.numel() == 1:
        return f'{float(values):.4g}'
    return f'{float(values.mean()):.4g} ± {float(values.std()):.2g}'


def write_table(results, args, path):
    """Writes what was spent and the errors on each test set."""
    units = next(iter(next(iter(results.values())).values()))['units']
    force_unit = f"{units['energy']}/{units['length']}"
    lines = [
        f'{args.data}, {args.seconds:g} s of processor time for training, '
        f'one thread, torch {torch.__version__}, torch_sake '
        f'{torch_sake.__version__}, {platform.machine()}',
        *peers_used(results), '',
        '| model | parameters | steps (batch) | ms per step | seconds '
        '| first step (s) | seeds |',
        '|---|---|---|---|---|---|---|',
    ]
    for entry, seeds in results.items():
        first, runs = next(iter(seeds.values())), list(seeds.values())
        steps = spread(float(run['num_steps']) for run in runs)
        milliseconds = spread(1000 * run['seconds'] / run['num_steps']
                              for run in runs)
        lines.append(
            f"| {entry} | {first['parameters']} | {steps} "
            f"({first['batch_size']}) | {milliseconds} "
            f"| {spread(run['seconds'] for run in runs)} "
            f"| {spread(run['first_step'] for run in runs)} | {len(runs)} |")
    rows = [('model', 'errors on', f'force MAE ({force_unit})', 'force RMSE',
             f"energy MAE ({units['energy']})", 'energy RMSE')]
    for entry, seeds in results.items():
        for name, errors in next(iter(seeds.values()))['tests'].items():
            cells = [
                spread(run['tests'][name][key] for run in seeds.values())
                if key in errors else '' for key in ERRORS
            ]
            rows.append((entry, os.path.basename(name), *cells))
    write_csv(rows, os.path.join(args.out, 'errors.csv'))
    rows.insert(1, 6 * ('---', ))
    lines += ['', *(f"| {' | '.join(row)} |" for row in rows)]
    with replace_when_complete(path) as temporary:
        with open(temporary, 'w') as file:
            file.write('\n'.join(lines) + '\n')
    print('\n'.join(lines))


def draw(results, path):
    """Draws the validation error of the force against processor time."""
    figure = Figure(figsize=(6, 4.5), layout='constrained')
    axis = figure.subplots()
    for index, (entry, seeds) in enumerate(results.items()):
        for number, result in enumerate(seeds.values()):
            axis.plot(*zip(*result['curve']), color=f'C{index}', alpha=0.8,
                      label=entry if number == 0 else None)
    axis.set(xlabel='processor time of training (s)', yscale='log',
             ylabel='validation MAE of the force')
    axis.grid(True, which='both', alpha=0.3)
    axis.legend()
    with replace_when_complete(path) as temporary:
        figure.savefig(temporary, dpi=150)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', default='xtb:ethanol')
    parser.add_argument('--root')
    parser.add_argument('--split')
    parser.add_argument('--split_prefix', default='')
    parser.add_argument('--num_train', type=int, default=950)
    parser.add_argument('--num_val', type=int, default=50)
    parser.add_argument('--num_test', type=int)
    parser.add_argument('--test_files', nargs='*', default=[])
    parser.add_argument('--seconds', type=float, default=180.0)
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--models', nargs='+',
                        default=['VectorSAKE', 'SAKE', 'SchNet'])
    parser.add_argument('--out', default='learning')
    args = parser.parse_args()

    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    path = os.path.join(args.out, 'results.json')
    asked = {key: getattr(args, key) for key in (
        'data', 'split_prefix', 'num_train', 'num_val', 'num_test', 'seconds',
        'test_files')}
    kept = {'asked': asked, 'results': {}}
    if os.path.exists(path):
        with open(path) as file:
            kept = json.load(file)
        if kept['asked'] != asked:
            raise SystemExit(f"--out holds results for {kept['asked']} "
                             f"(got {asked})")
    missing = [(seed, entry) for seed in args.seeds
               for entry in dict.fromkeys(args.models)
               if str(seed) not in kept['results'].get(entry, {})]
    for _, entry in missing:  # before time is spent on any
        parse_entry(entry)
    trials = {}
    for seed, entry in missing:
        if entry not in trials:
            trials[entry] = try_out(entry, args)
        seconds_per_step, first_step = trials[entry]
        num_steps = max(int(args.seconds / seconds_per_step), 1)
        result = run(entry, seed, num_steps, first_step, args)
        kept['results'].setdefault(entry, {})[str(seed)] = result
        with replace_when_complete(path) as temporary:
            with open(temporary, 'w') as file:
                json.dump(kept, file)
    results = {entry: seeds for entry, seeds in kept['results'].items()
               if seeds}
    write_table(results, args, os.path.join(args.out, 'results.md'))
    draw(results, os.path.join(args.out, 'learning.png'))


if __name__ == '__main__':
    main()
