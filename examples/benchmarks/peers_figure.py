"""Draws the learning curves of the README from their table:

    python examples/benchmarks/peers_figure.py

The table, docs/lab/ethanol_times.csv, has the errors of models after one,
three and ten minutes of training, as learning.py gives them.
"""

import argparse
import csv
import re
from pathlib import Path

from matplotlib.figure import Figure

LAB = Path(__file__).resolve().parents[2] / 'docs' / 'lab'


def read_curves(path):
    """Returns the times in seconds and the errors of each model."""
    with open(path, newline='') as file:
        (_, *times), *rows = csv.reader(file)
    seconds = [float(time.split()[0]) for time in times]
    curves = {}
    for name, *cells in rows:
        name = re.sub(r'SAKE,cutoff=null.*', "the paper's SAKE", name)
        curves[name.replace('`', '')] = [
            [float(number) for number in cell.split(' (')[0].split(' ± ')]
            for cell in cells]
    return seconds, curves


def draw(seconds, curves, path):
    figure = Figure(figsize=(7, 3.8), layout='constrained')
    axis = figure.subplots()
    order = sorted(curves, key=lambda name: -curves[name][-1][0])
    for index, name in enumerate(order):
        mean = [cell[0] for cell in curves[name]]
        spread = [cell[1] if len(cell) > 1 else 0 for cell in curves[name]]
        ours = name == 'VectorSAKE'
        axis.errorbar(seconds, mean, spread, marker='o', label=name,
                      markersize=5, capsize=2, linewidth=2.5 if ours else 1.2,
                      color='C3' if ours else f'C{index + (index > 2)}')
    axis.set(xscale='log', yscale='log', xlim=(54, 670),
             xlabel='training on one core (minutes of processor time)',
             ylabel='force MAE (kcal/mol/Å)',
             title='MD17 ethanol, 950 training frames')
    axis.set_xticks(seconds, [f'{time / 60:g}' for time in seconds])
    axis.set_xticks([], minor=True)
    axis.set_yticks([0.03, 0.1, 0.3, 1], ['0.03', '0.1', '0.3', '1'])
    axis.grid(True, which='major', alpha=0.3)
    figure.legend(loc='outside right center', frameon=False)
    figure.savefig(path, dpi=100)


if __name__ == '__main__':
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--table', default=LAB / 'ethanol_times.csv')
    parser.add_argument('--out', default=LAB / 'learning.png')
    args = parser.parse_args()
    draw(*read_curves(args.table), args.out)
