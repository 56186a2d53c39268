import os.path as osp
from collections.abc import Iterable

import numpy
import torch

from torch_sake.evaluation.metrics import Metrics, units_of_properties
from torch_sake.evaluation.predictions import Predictions
from torch_sake.utils.figures import new_figure, save_figure

NUM_POINTS = 20000  # of a picture


def plot_learning_curve(history: list[Metrics], units: dict[str, str],
                        folder: str) -> None:
    r"""Draws the validation errors of a run into
    :obj:`learning_curve.png`.
    """
    properties = _properties(units, [key.removesuffix('_mae')
                                     for key in history[0]])
    figure, axes = new_figure(len(properties))
    for axis, (name, unit) in zip(axes, properties.items()):
        steps = [metrics['step'] for metrics in history]
        for kind in ('mae', 'rmse'):
            axis.plot(steps, [metrics[f'{name}_{kind}']
                              for metrics in history], label=kind.upper())
        axis.set(xlabel='step', yscale='log',
                 ylabel=f'validation error of the {name} ({unit})')
        axis.legend()
        axis.grid(True, which='both', alpha=0.3)
    save_figure(figure, osp.join(folder, 'learning_curve.png'))


def plot_parity(outputs: Predictions, units: dict[str, str],
                folder: str) -> None:
    r"""Draws predictions against labels into :obj:`parity.png`. Forces are
    drawn by component, energies relative to the mean of the labels.
    """
    properties = _properties(units, outputs.properties)
    figure, axes = new_figure(len(properties))
    for axis, (name, unit) in zip(axes, properties.items()):
        prediction, label, _ = outputs[name]
        if name == 'energy':
            shift = label.mean()
            label, prediction = label - shift, prediction - shift
        values = torch.stack([label.flatten(), prediction.flatten()])
        limits = [float(values.min()), float(values.max())]
        axis.plot(limits, limits, color='black', linewidth=0.8)
        # A picture has no room for more, and drawing takes its time.
        values = values[:, ::values.size(1) // NUM_POINTS + 1]
        axis.scatter(*values, s=4, alpha=0.4, rasterized=True)
        axis.set(xlabel=f'{name}, label ({unit})',
                 ylabel=f'{name}, predicted ({unit})', aspect='equal')
    save_figure(figure, osp.join(folder, 'parity.png'))


def plot_error_distribution(outputs: Predictions, units: dict[str, str],
                            folder: str) -> None:
    r"""Draws histograms of the errors, prediction minus label, into
    :obj:`error_distribution.png`, those of forces by component, with the
    normal distribution of the same mean and width.
    """
    properties = _properties(units, outputs.properties)
    figure, axes = new_figure(len(properties))
    for axis, (name, unit) in zip(axes, properties.items()):
        error = outputs[name].error.flatten().numpy()
        number, edges, _ = axis.hist(error, bins=100, color='C0')
        width, center = error.std(), error.mean()
        if width > 0:
            places = 0.5 * (edges[1:] + edges[:-1])
            normal = numpy.exp(-0.5 * ((places - center) / width)**2) / (
                width * (2 * numpy.pi)**0.5)
            axis.plot(places, normal * error.size * (edges[1] - edges[0]),
                      color='black', linewidth=0.8, label='normal')
            axis.legend()
        axis.set(xlabel=f'error of the {name} ({unit})', ylabel='number',
                 yscale='log', ylim=(0.5, 2 * number.max()))
    save_figure(figure, osp.join(folder, 'error_distribution.png'))


def _properties(units: dict[str, str],
                present: Iterable[str]) -> dict[str, str]:
    r"""Returns the unit of each property to draw, by its name."""
    present = set(present)
    return {name: unit for name, unit in units_of_properties(units).items()
            if name in present and name != 'energy_per_atom'}
