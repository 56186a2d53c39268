r"""Error against the number of labels: acetylacetone (DFT) from scratch,
after pretraining on GFN2-xTB frames that are grown from the training frames
themselves, and from a checkpoint.

    python examples/benchmarks/acetylacetone_pretrained.py --root acac \
        --sizes 10 25 50 100 450 --seeds 0 1 2 --out curve \
        --starts scratch pretrain pretrained:xtb-organic

'--root' is the folder 'dataset_acac' of BOTNet-datasets. Of each size, a ninth
more frames are for validation: 450 and 50 are those of other publications.
A start is 'scratch', 'pretrain' or what '--init' takes. The data are learned
in 3000 steps of three frames, in 6000 of more than 100 frames, and from
scratch in 12,000 more, which take as long as pretraining, about. All else is
settings of torch_sake.training.TrainConfig: '--set pretrain_frames=8000'.

A row of curve.csv is a run: root mean square errors in meV and meV/Angstrom,
and processor seconds, those of labels of GFN2-xTB and of compilation included
(of the last call, if a run was interrupted). Energies of scans are relative to
that of the structure of least energy, or after the shift that is best for the
scan. A call goes on where another one stopped; other settings need another
'--out'. curve.png is drawn of all rows.
"""
import argparse
import csv
import os
import os.path as osp
from dataclasses import replace

import ase.io
import numpy
import torch
from matplotlib.figure import Figure
from torch_geometric.loader import DataLoader

from torch_sake import load_potential
from torch_sake.datasets import load_frames
from torch_sake.evaluation.metrics import predict
from torch_sake.training import TrainConfig, Trainer
from torch_sake.utils.files import write_rows

TESTS = {'300K': 'test_MD_300K.xyz', '600K': 'test_MD_600K.xyz'}
SCANS = {'dihedral': 'test_dihedral.xyz', 'transfer': 'test_H_transfer.xyz'}
DRAWN = {'force_300K': 'force, 300 K [meV/Angstrom]',
         'force_600K': 'force, 600 K [meV/Angstrom]',
         'dihedral_shifted': 'dihedral, after a shift [meV]',
         'transfer': 'H transfer [meV]'}
# MACE with 450 frames, as published:
PUBLISHED = {'force_300K': 5.1, 'force_600K': 22.4}


def errors_of(folder, root):
    """Returns the errors of the best potential of a run."""
    potential, errors = load_potential(folder), {}
    for name, file in {**TESTS, **SCANS}.items():
        frames = load_frames(osp.join(root, file))
        outputs = predict(potential, DataLoader(frames, 50), 'cpu')
        for label in ('force', 'energy') if name in TESTS else ():
            errors[f'{label}_{name}'] = rmse(outputs[label].error)
        if name in SCANS:
            label, error = outputs['energy'].label, outputs['energy'].error
            errors[name] = rmse(error - error[label.argmin()])
            errors[f'{name}_shifted'] = rmse(error - error.mean())
    return errors


def processor_time():
    """Returns that of this process and of those that label and compile."""
    times = os.times()
    return sum(times[:4])


def rmse(error):
    return round(1000 * float(error.double().square().mean().sqrt()), 2)


def write_data(args, folder, size, seed):
    """Writes the training and the validation frames of a run."""
    frames = ase.io.read(osp.join(args.root, 'train_300K.xyz'), ':')
    order = numpy.random.default_rng(seed).permutation(len(frames))
    num_val = max(size // 9, 2)
    parts = {'train': order[:size], 'val': order[size:size + num_val]}
    paths = {}
    for name, part in parts.items():
        paths[name] = f'{folder}-{name}.extxyz'
        if not osp.exists(paths[name]):
            ase.io.write(paths[name], [frames[index] for index in part])
    return {'data': paths['train'], 'val': paths['val']}


def train(args, start, size, seed):
    """Trains, or goes on, and returns a row."""
    folder = osp.join(args.out, f'{start}-{size}-{seed}'.replace(
        ':', '-').replace('/', '-'))
    num_steps = args.num_steps or (6000 if size > 100 else 3000)
    if start == 'scratch' and not args.num_steps:
        num_steps += 12000
    config = TrainConfig(
        **write_data(args, folder, size, seed), out=folder, seed=seed,
        batch_size=3, num_steps=num_steps, device='cpu')
    if start == 'pretrain':
        config = replace(config, pretrain='xtb', learning_rate=None)
    elif start != 'scratch':
        config = replace(config, init=start, refit=True, learning_rate=3e-4)
    config = replace(config, **args.set, resume=False)
    begun = osp.exists(osp.join(folder, 'last.safetensors')) or osp.exists(
        osp.join(folder, 'pretrain'))
    begin = processor_time()
    trainer = Trainer(replace(config, resume=begun))
    trainer.fit()
    seconds = processor_time() - begin
    return {'start': start, 'frames': size, 'seed': seed,
            'steps': trainer.step, 'seconds': round(seconds),
            **errors_of(folder, args.root)}


def draw(rows, path):
    """Draws the errors of each start, with the mean of its seeds."""
    figure = Figure(figsize=(10, 7), layout='constrained')
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, DRAWN.items()):
        for color, start in enumerate(dict.fromkeys(
                row['start'] for row in rows)):
            points = [(int(row['frames']), float(row[name])) for row in rows
                      if row['start'] == start]
            sizes = sorted({size for size, _ in points})
            means = [numpy.mean([value for size, value in points
                                 if size == wanted]) for wanted in sizes]
            axes.plot(*zip(*points), '.', color=f'C{color}', alpha=0.4)
            axes.plot(sizes, means, 'o-', color=f'C{color}', label=start)
        if name in PUBLISHED:
            axes.plot(450, PUBLISHED[name], 'kx', label='MACE, published')
        axes.set(xscale='log', yscale='log', ylabel=title,
                 xlabel='DFT frames for training')
    figure.axes[0].legend()
    figure.savefig(path, dpi=150)


def read_rows(path):
    if not osp.exists(path):
        return []
    with open(path) as file:
        return list(csv.DictReader(file))


def parse_value(text):
    name, _, value = text.partition('=')
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            pass
    return name, {'true': True, 'false': False, 'null': None}.get(value,
                                                                  value)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--root', required=True)
    parser.add_argument('--out', default='curve')
    parser.add_argument('--sizes', type=int, nargs='+', default=[50, 450])
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--starts', nargs='+',
                        default=['scratch', 'pretrain'])
    parser.add_argument('--num_steps', type=int)
    parser.add_argument('--set', type=parse_value, nargs='+', default=[])
    args = parser.parse_args()
    args.set = dict(args.set)
    torch.set_num_threads(1)
    os.makedirs(args.out, exist_ok=True)
    path = osp.join(args.out, 'curve.csv')
    for seed in args.seeds:
        for size in args.sizes:
            for start in args.starts:
                rows = read_rows(path)
                run = (start, str(size), str(seed))
                if any((row['start'], row['frames'], row['seed']) == run
                       for row in rows):
                    continue
                row = train(args, start, size, seed)
                print(row, flush=True)
                # Others may have written theirs in the meantime.
                write_rows(path, [*read_rows(path), row])
    draw(read_rows(path), osp.join(args.out, 'curve.png'))


if __name__ == '__main__':
    main()
