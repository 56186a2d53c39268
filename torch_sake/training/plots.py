import os.path as osp
from typing import Dict, Iterable, List

import torch
from torch import Tensor

from torch_sake.figures import new_figure, save_figure
from torch_sake.training.metrics import Metrics, units_of_properties


def plot_learning_curve(history: List[Metrics], units: Dict[str, str],
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


def plot_parity(outputs: Dict[str, Tensor], units: Dict[str, str],
                folder: str) -> None:
    r"""Draws predictions against labels, see
    :func:`~torch_sake.training.metrics.predict`, into :obj:`parity.png`.
    Forces are drawn by component, energies relative to the mean of the labels.
    """
    properties = _properties(units, outputs)
    figure, axes = new_figure(len(properties))
    for axis, (name, unit) in zip(axes, properties.items()):
        label, prediction = outputs[f'{name}_label'], outputs[name]
        if name == 'energy':
            shift = label.mean()
            label, prediction = label - shift, prediction - shift
        values = torch.stack([label.flatten(), prediction.flatten()])
        limits = [float(values.min()), float(values.max())]
        axis.plot(limits, limits, color='black', linewidth=0.8)
        axis.scatter(*values, s=4, alpha=0.4, rasterized=True)
        axis.set(xlabel=f'{name}, label ({unit})',
                 ylabel=f'{name}, predicted ({unit})', aspect='equal')
    save_figure(figure, osp.join(folder, 'parity.png'))


def _properties(units: Dict[str, str],
                present: Iterable[str]) -> Dict[str, str]:
    r"""Returns the unit of each property to draw, by its name."""
    present = set(present)
    return {name: unit for name, unit in units_of_properties(units).items()
            if name in present and name != 'energy_per_atom'}
