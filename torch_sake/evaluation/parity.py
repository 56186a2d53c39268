import os.path as osp
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy
from torch import Tensor

from torch_sake.evaluation.metrics import units_of_properties
from torch_sake.evaluation.plots import drawn_properties, in_text
from torch_sake.evaluation.predictions import Predictions
from torch_sake.evaluation.shown import Shown, in_digits
from torch_sake.utils.figures import new_figure, save_figure

NUM_POINTS = 20000  # of a picture with groups
MANY = 2000  # points, of which density says more than the points themselves
NUM_CELLS = 80  # of the density, along each axis
NUM_GROUPS = 7  # with a color of their own
# Those of Okabe and Ito, which all eyes tell apart:
COLORS = ['#0072B2', '#E69F00', '#009E73', '#CC79A7', '#56B4E9', '#D55E00',
          '#000000']
OTHERS = '#999999'


def plot_parity(outputs: Predictions, units: dict[str, str], folder: str,
                trivial: Tensor | None = None,
                groups: Sequence[str] | None = None) -> None:
    r"""Draws predictions against labels into :obj:`parity.png`, with their
    errors, and many points by their density. Forces are drawn by component.
    Energies are relative to the mean of the labels, or per atom and relative
    to the trivial prediction where sizes differ.

    Args:
        outputs (Predictions): The predictions.
        units (dict): The units of the labels.
        folder (str): The folder of the picture.
        trivial (torch.Tensor, optional): The energies of who knows the
            composition only, :obj:`[M]`. (default: :obj:`None`)
        groups (list of str, optional): The group of each frame, which has a
            color. (default: :obj:`None`)
    """
    properties = drawn_properties(outputs, units)
    colors = _colors(groups or [])
    figure, axes = new_figure(len(properties))
    for axis, (name, shown) in zip(axes, properties.items()):
        label, value, index = _points(outputs, name, trivial)
        groups_of_rows = None
        if groups is not None:
            if name == 'force':
                index = outputs.frame_of_atom[index]
            groups_of_rows = numpy.array(groups)[index.numpy()].repeat(
                label.size // index.numel())
        _draw(axis, figure, label, value, groups_of_rows, colors)
        unit = units_of_properties(units)[name]
        axis.set(title=in_text(name) + _origin(name, trivial),
                 xlabel=f'label ({unit})', ylabel=f'predicted ({unit})')
        _say_errors(axis, value - label, shown)
    if groups is not None:
        _add_legend(figure, axes[0], colors, len(set(groups)))
    save_figure(figure, osp.join(folder, 'parity.png'))


def _origin(name: str, trivial: Tensor | None) -> str:
    r"""Returns what energies are relative to, in words."""
    if name == 'energy':
        return ', from the mean of the labels'
    if name == 'energy_per_atom' and trivial is not None and trivial.any():
        return ', without the atomic energies'
    return ''


def _colors(groups: Sequence[str]) -> dict[str, str]:
    r"""Returns the colors of the largest groups."""
    largest = Counter(groups).most_common(NUM_GROUPS)
    return {name: color for (name, _), color in zip(largest, COLORS)}


def _add_legend(figure: Any, axis: Any, colors: dict[str, str],
                num_groups: int) -> None:
    for name, color in colors.items():
        axis.scatter([], [], s=8, color=color, label=_short(name))
    if num_groups > len(colors):
        axis.scatter([], [], s=8, color=OTHERS, label='others')
    figure.legend(loc='outside right upper', fontsize='small', markerscale=2)


def _points(outputs: Predictions, name: str, trivial: Tensor | None
            ) -> tuple[numpy.ndarray, numpy.ndarray, Tensor]:
    r"""Returns labels, predictions, and the index of each row."""
    value, label, index = outputs[name.removesuffix('_per_atom')]
    if name == 'energy_per_atom':
        number = outputs.num_atoms[index]
        base = 0.0 if trivial is None else trivial[index]
        label, value = (label - base) / number, (value - base) / number
    elif name == 'energy':
        shift = label.mean()
        label, value = label - shift, value - shift
    return label.flatten().numpy(), value.flatten().numpy(), index


def _draw(axis: Any, figure: Any, label: numpy.ndarray, value: numpy.ndarray,
          groups: numpy.ndarray | None, colors: dict[str, str]) -> None:
    low = min(label.min(), value.min())
    high = max(label.max(), value.max())
    margin = 0.04 * (high - low) or 1.0
    limits = [float(low - margin), float(high + margin)]
    axis.plot(limits, limits, color='black', linewidth=0.8, zorder=0)
    if groups is not None:
        _draw_groups(axis, label, value, groups, colors)
    elif label.size > MANY:
        cells = axis.hexbin(label, value, gridsize=NUM_CELLS, bins='log',
                            mincnt=1, extent=(*limits, *limits),
                            cmap='viridis', linewidths=0.2)
        figure.colorbar(cells, ax=axis, label='number', shrink=0.8)
    else:
        axis.scatter(label, value, s=10, alpha=0.5, color=COLORS[0],
                     linewidths=0, rasterized=True)
    axis.set(xlim=limits, ylim=limits, aspect='equal')
    axis.locator_params(nbins=5)  # the same along both


def _draw_groups(axis: Any, label: numpy.ndarray, value: numpy.ndarray,
                 groups: numpy.ndarray, colors: dict[str, str]) -> None:
    # A picture has no room for more, and drawing takes its time. In random
    # order, so that no group covers the others:
    chosen = numpy.random.default_rng(0).permutation(label.size)[:NUM_POINTS]
    axis.scatter(label[chosen], value[chosen], s=8, alpha=0.6, linewidths=0,
                 rasterized=True, c=[colors.get(name, OTHERS) for name in
                                     groups[chosen].tolist()])


def _short(name: str) -> str:
    # A text that begins with '_' would be left out, and '$' is mathematics.
    name = name.replace('$', r'\$')
    name = name if len(name) <= 20 else f'{name[:20]}...'
    return f' {name}' if name.startswith('_') else name


def _say_errors(axis: Any, error: numpy.ndarray, shown: Shown) -> None:
    mae = numpy.abs(error).mean() * shown.factor
    rmse = numpy.sqrt(numpy.square(error).mean()) * shown.factor
    axis.text(0.03, 0.97, f'MAE {in_digits(mae, 3)} {shown.unit}\n'
              f'RMSE {in_digits(rmse, 3)} {shown.unit}\n'
              f'{error.size} values',
              transform=axis.transAxes, verticalalignment='top',
              fontsize='small', bbox={'facecolor': 'white', 'alpha': 0.8,
                                      'edgecolor': 'none'})
