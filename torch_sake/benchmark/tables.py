import os.path as osp
from typing import Any

from torch_sake.utils.figures import new_figure, save_figure
from torch_sake.utils.files import replace_when_complete

Results = dict[str, Any]


def format_results(results: Results) -> str:
    r"""Returns the results as Markdown, a table for each system and task."""
    rates = results['rates']
    lines = [
        f"{results['machine']}, threads: {results['threads']}, "
        f"{results['precision']}, torch {results['torch']}, torch_sake "
        f"{results['torch_sake']}; products of matrices reach "
        f"{rates['flops'] / 1e9:.0f} GFLOP/s, copies "
        f"{rates['bytes'] / 1e9:.0f} GB/s", '',
        'Times are medians (quartiles) of the rounds. The shares are those of '
        'the time that the products of matrices, or the memory that all '
        'operators of the model as it is read and write, would take at these '
        'rates: how near to that floor a model is. A compiled one reads and '
        'writes less.']
    for model, versions in results['versions'].items():
        if versions:
            lines += ['', f"{model}: " + ', '.join(
                f'{name} {version}' for name, version in versions.items())]
    groups: dict[Any, list[dict[str, Any]]] = {}
    for row in results['rows']:
        groups.setdefault((row['system'], row['task']), []).append(row)
    for (system, task), rows in groups.items():
        lines += ['', f'**{system}, {task}**', '',
                  '| model | ms | ratio | neighbor list | matrix share '
                  '| memory share | peak MB | kB per edge |',
                  '|---|---|---|---|---|---|---|---|']
        for row in rows:
            cells = [format(row[key] / unit, style) if key in row else ''
                     for key, unit, style in (
                         ('neighbors', 1, '.0%'),
                         ('matrix_share', 1, '.0%'),
                         ('memory_share', 1, '.0%'),
                         ('peak_bytes', 1e6, '.3g'),
                         ('bytes_per_edge', 1e3, '.3g'))]
            lines.append(
                f"| {row['model']} | {row['ms']:.3g} ({row['ms_low']:.3g}-"
                f"{row['ms_high']:.3g}) | {row['ms'] / rows[0]['ms']:.2f} "
                f"| {' | '.join(cells)} |")
    return '\n'.join(lines)


def write_results(results: Results, folder: str) -> None:
    r"""Writes :obj:`results.md` and :obj:`benchmark.png`: microseconds per
    atom over the number of atoms.
    """
    with replace_when_complete(osp.join(folder, 'results.md')) as path:
        with open(path, 'w') as file:
            file.write(format_results(results) + '\n')
    tasks = list(dict.fromkeys(row['task'] for row in results['rows']))
    figure, axes = new_figure(len(tasks))
    models = list(dict.fromkeys(row['model'] for row in results['rows']))
    for axis, task in zip(axes, tasks):
        for index, model in enumerate(models):
            label = model  # once
            for is_box, style in ((False, 'o-'), (True, 's--')):
                points = sorted(
                    (row['atoms'], 1000 * row['ms'] / row['atoms'])
                    for row in results['rows'] if row['model'] == model
                    and row['task'] == task
                    and row['system'].startswith('box') == is_box)
                if points:
                    axis.plot(*zip(*points), style, color=f'C{index}',
                              markersize=4, linewidth=0.8,
                              label=label)
                    label = None
        axis.set(xlabel='atoms (boxes: squares)', xscale='log', yscale='log',
                 ylabel='microseconds per atom', title=task)
        axis.grid(True, which='both', alpha=0.3)
    axes[0].legend(fontsize='small')
    save_figure(figure, osp.join(folder, 'benchmark.png'))
