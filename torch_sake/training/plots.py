import os.path as osp
from typing import Dict, List

import torch
from torch import Tensor

from torch_sake.files import replace_when_complete
from torch_sake.training.metrics import Metrics


def plot_learning_curve(history: List[Metrics], units: Dict[str, str],
                        folder: str) -> None:
    r"""Draws the validation errors of a run into
    :obj:`learning_curve.png`.
    """
    force_unit = f"{units['energy']}/{units['length']}"
    figure, axes = _figure(2)
    for axis, name, unit in ((axes[0], 'force', force_unit),
                             (axes[1], 'energy', units['energy'])):
        steps = [metrics['step'] for metrics in history]
        for kind in ('mae', 'rmse'):
            axis.plot(steps, [metrics[f'{name}_{kind}']
                              for metrics in history], label=kind.upper())
        axis.set(xlabel='step', yscale='log',
                 ylabel=f'validation error of the {name} ({unit})')
        axis.legend()
        axis.grid(True, which='both', alpha=0.3)
    _save(figure, folder, 'learning_curve.png')


def plot_parity(outputs: Dict[str, Tensor], units: Dict[str, str],
                folder: str) -> None:
    r"""Draws predictions against labels, see
    :func:`~torch_sake.training.metrics.predict`, into :obj:`parity.png`.
    Energies are drawn relative to the mean of the labels.
    """
    force_unit = f"{units['energy']}/{units['length']}"
    figure, axes = _figure(2)
    shift = outputs['energy_label'].mean()
    for axis, name, unit, values in (
        (axes[0], 'force component', force_unit,
         (outputs['force_label'].flatten(), outputs['force'].flatten())),
        (axes[1], 'energy', units['energy'],
         (outputs['energy_label'] - shift, outputs['energy'] - shift))):
        label, prediction = values
        limits = [float(torch.cat(values).min()),
                  float(torch.cat(values).max())]
        axis.plot(limits, limits, color='black', linewidth=0.8)
        axis.scatter(label, prediction, s=4, alpha=0.4, rasterized=True)
        axis.set(xlabel=f'{name}, label ({unit})',
                 ylabel=f'{name}, predicted ({unit})', aspect='equal')
    _save(figure, folder, 'parity.png')


def _figure(num_axes: int):
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("Pictures need 'matplotlib': "
                          "pip install 'torch-sake[train]'") from error
    figure = Figure(figsize=(5 * num_axes, 4.5), layout='constrained')
    return figure, figure.subplots(1, num_axes)


def _save(figure, folder: str, name: str) -> None:
    with replace_when_complete(osp.join(folder, name)) as path:
        figure.savefig(path, dpi=150)
