r"""How many labels a potential needs at a temperature that its first frames
are not of: chosen by ``torch-sake learn``, or at random.

Both begin with the same frames of acetylacetone at 300 K and learn a few more
in each round, with the same numbers of steps. One simulates at 600 K and
labels where it is in doubt; the other one labels random frames of a dynamics
at 600 K that is given, which is more than who has no such dynamics can do.
Labels are of GFN2-xTB, so that they cost nothing, and errors are those of the
test frames at 600 K with such labels.

    python examples/benchmarks/active_learning.py --folder acac --out active

The folder has the files of https://github.com/davkovacs/BOTNet-datasets,
``dataset_acac``. It needs ``pip install 'torch-sake[train]'`` and takes about
ten minutes of a processor for each seed.
"""
import argparse
import csv
import os.path as osp

import ase
import ase.io
import numpy
import torch

import torch_sake.learning.rounds as rounds
from torch_sake.datasets import read_frames
from torch_sake.evaluation.metrics import error_metrics
from torch_sake.learning import LearnConfig, Learner
from torch_sake.learning.training import predictions
from torch_sake.sampling import Structure, label
from torch_sake.utils.figures import new_figure, save_figure

COLORS = {'learn': 'C0', 'random': 'C3'}


def bare(atoms):
    return ase.Atoms(atoms.numbers, atoms.positions)


def labeled(structures, path, folder):
    """Writes structures with labels of GFN2-xTB to a file."""
    if osp.exists(path):
        return
    frames = label([Structure(atoms.numbers, atoms.positions)
                    for atoms in structures], 'xtb', folder=folder)
    written = []
    for data in frames:
        atoms = ase.Atoms(data.z.numpy(), data.pos.numpy())
        atoms.info['REF_energy'] = float(data.energy)
        atoms.arrays['REF_forces'] = data.force.numpy()
        written.append(atoms)
    ase.io.write(path, written)


def errors(checkpoint, test):
    """Returns the RMSE of forces in meV/Angstrom and of energies in meV."""
    found = error_metrics(predictions([checkpoint], test, 'cpu'))
    return 1000 * found['force_rmse'], 1000 * found['energy_rmse']


def curve(arguments, kind, seed, files, pool, test):
    """Returns the errors after each round."""
    out = osp.join(arguments.out, f'{kind}_{seed}')
    settings = {'time': arguments.time, 'num_walkers': arguments.num_walkers}
    choose = rounds.choose
    if kind == 'random':
        order = numpy.random.default_rng(seed).permutation(len(pool))

        def draw(config, number, *unused):
            """Of the pool, in the place of frames of simulations."""
            last = number * config.num_labels
            chosen = [bare(pool[index]) for index in
                      order[last - config.num_labels:last]]
            for atoms in chosen:
                atoms.info['config_type'] = f'learn_{number}'
            return chosen
        # Simulations that say nothing, and end at once:
        settings = {'time': 0.001, 'num_walkers': 1, 'max_force_std': 1e-9}
        rounds.choose = draw
    learner = Learner(LearnConfig(
        structures=files['structures'], data=files['data'], label='xtb',
        out=out, seed=seed, temperatures=600.0, num_val=files['num_val'],
        num_rounds=arguments.num_rounds, num_labels=arguments.num_labels,
        num_steps=arguments.num_steps, compile=False, device='cpu',
        finetune_steps=arguments.finetune_steps, **settings))
    try:
        end = learner.run()
    finally:
        rounds.choose = choose
    print(f'{kind}, seed {seed}: {learner.describe_end(end)}')
    rows, labels = [], 0
    for number in range(len(learner.rows) + 1):
        run = osp.join(out, f'round_{number}', 'train')
        if not osp.exists(run):  # of the last round, which was sure
            break
        if number > 0:
            labels = learner.rows[number - 1]['labels']
        force, energy = errors(run, test)
        rows.append({'kind': kind, 'seed': seed, 'labels': labels,
                     'force RMSE [meV/Angstrom]': force,
                     'energy RMSE [meV]': energy})
        print(f'{kind}, {labels} labels: {force:.1f} meV/Angstrom')
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--folder', required=True)
    parser.add_argument('--out', default='active')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--num_first', type=int, default=30)
    parser.add_argument('--num_labels', type=int, default=10)
    parser.add_argument('--num_rounds', type=int, default=5)
    parser.add_argument('--num_steps', type=int, default=1500)
    parser.add_argument('--finetune_steps', type=int, default=1000)
    parser.add_argument('--num_walkers', type=int, default=4)
    parser.add_argument('--time', type=float, default=1.0)
    parser.add_argument('--num_test', type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = {name: ase.io.read(osp.join(arguments.folder, f'{name}.xyz'), ':')
             for name in ('train_300K', 'train_600K', 'test_MD_600K')}
    path = osp.join(arguments.out, 'test.extxyz')
    step = len(found['test_MD_600K']) // arguments.num_test or 1
    labeled(found['test_MD_600K'][::step], path,
            osp.join(arguments.out, 'labels'))
    test, rows = read_frames(path), []
    for seed in arguments.seeds:
        files = {name: osp.join(arguments.out, f'{name}_{seed}.extxyz')
                 for name in ('data', 'structures')}
        files['num_val'] = max(arguments.num_first // 6, 1)
        drawn = numpy.random.default_rng(seed).permutation(
            len(found['train_300K']))[:arguments.num_first]
        first = [found['train_300K'][index] for index in drawn]
        labeled(first, files['data'], osp.join(arguments.out, 'labels'))
        ase.io.write(files['structures'], [bare(atoms) for atoms in first[:1]])
        for kind in COLORS:
            rows += curve(arguments, kind, seed, files, found['train_600K'],
                          test)
            write(rows, arguments.out)


def write(rows, out):
    with open(osp.join(out, 'active_learning.csv'), 'w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    figure, (axis, ) = new_figure(1)
    for kind, color in COLORS.items():
        for seed in sorted({row['seed'] for row in rows}):
            points = [(row['labels'], row['force RMSE [meV/Angstrom]'])
                      for row in rows
                      if (row['kind'], row['seed']) == (kind, seed)]
            if points:
                axis.plot(*zip(*points), color=color, marker='o',
                          label={'learn': 'where it is in doubt', 'random':
                                 'random frames at 600 K'}[kind]
                          if seed == rows[0]['seed'] else None)
    axis.set(xlabel='labels beyond the first frames', yscale='log',
             ylabel='RMSE of forces at 600 K (meV/Angstrom)')
    axis.grid(True, which='both', alpha=0.3)
    axis.legend()
    save_figure(figure, osp.join(out, 'active_learning.png'))


if __name__ == '__main__':
    main()
