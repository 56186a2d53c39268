import os.path as osp

import numpy

from torch_sake.evaluation.metrics import Metrics
from torch_sake.evaluation.predictions import Predictions
from torch_sake.evaluation.shown import (
    Shown,
    shown_properties,
    sizes_differ,
)
from torch_sake.utils.figures import new_figure, save_figure

FEW = 30  # points, which a line alone would hide
NUM_BINS = 100


def plot_learning_curve(history: list[Metrics], units: dict[str, str],
                        folder: str) -> None:
    r"""Draws the validation errors of a run into
    :obj:`learning_curve.png`.
    """
    present = {key.removesuffix('_mae') for key in history[0]}
    properties = shown_properties(units, present - {'energy_per_atom'}, False)
    figure, axes = new_figure(len(properties))
    for axis, (name, (unit, factor)) in zip(axes, properties.items()):
        steps = [metrics['step'] for metrics in history]
        is_positive = False  # forces may be zero by symmetry
        for kind in ('mae', 'rmse'):
            errors = [metrics[f'{name}_{kind}'] * factor
                      for metrics in history]
            is_positive |= any(error > 0 for error in errors)
            axis.plot(steps, errors, label=kind.upper(),
                      marker='o' if len(history) < FEW else None, markersize=3)
        axis.set(xlabel='step', yscale='log' if is_positive else 'linear',
                 ylabel=f'validation error of the {name} ({unit})')
        axis.legend()
        axis.grid(True, which='both', alpha=0.3)
    save_figure(figure, osp.join(folder, 'learning_curve.png'))


def plot_error_distribution(outputs: Predictions, units: dict[str, str],
                            folder: str) -> None:
    r"""Draws histograms of the errors, prediction minus label, into
    :obj:`error_distribution.png`, those of forces by component, with the
    normal distribution of the same mean and width.
    """
    properties = drawn_properties(outputs, units)
    figure, axes = new_figure(len(properties))
    errors = outputs.errors()
    for axis, (name, (unit, factor)) in zip(axes, properties.items()):
        error = errors[name].flatten().numpy() * factor
        bins = min(max(int(2 * error.size**0.5), 10), NUM_BINS)
        number, edges, _ = axis.hist(error, bins=bins, color='C0')
        width, center = error.std(), error.mean()
        if width > 0:
            places = 0.5 * (edges[1:] + edges[:-1])
            normal = numpy.exp(-0.5 * ((places - center) / width)**2) / (
                width * (2 * numpy.pi)**0.5)
            axis.plot(places, normal * error.size * (edges[1] - edges[0]),
                      color='black', linewidth=0.8, label='normal')
            axis.legend()
        axis.set(xlabel=f'error of the {in_text(name)} ({unit})',
                 ylabel='number',
                 yscale='log', ylim=(0.5, 2 * number.max()))
    save_figure(figure, osp.join(folder, 'error_distribution.png'))


def drawn_properties(outputs: Predictions,
                     units: dict[str, str]) -> dict[str, Shown]:
    r"""Returns how the errors of each property are shown in a picture, of
    energies either total ones or, where sizes differ, those per atom.
    """
    differ = sizes_differ(outputs.num_atoms)
    left_out = set() if differ else {'energy_per_atom'}
    return shown_properties(units, outputs.errors().keys() - left_out, differ)


def in_text(name: str) -> str:
    r"""Returns a name as words."""
    return name.replace('_', ' ')
