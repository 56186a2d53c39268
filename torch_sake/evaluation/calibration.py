r"""How well uncertainties say what errors are."""

import os.path as osp
from typing import Any

import numpy

from torch_sake.evaluation.metrics import units_of_properties
from torch_sake.evaluation.predictions import Predictions
from torch_sake.evaluation.shown import in_digits, shown_unit
from torch_sake.utils.figures import new_figure, save_figure

Calibration = dict[str, dict[str, float | int | None]]

NAMES = {'energy': 'energies', 'force': 'forces'}
NORMAL = 0.683  # of normal errors, within one standard deviation
NUM_BINS, MIN_ROWS = 15, 10  # of a picture
NUM_POINTS = 3000


def calibration(outputs: Predictions) -> Calibration:
    r"""Returns, for each property with uncertainties, the share of errors
    within one standard deviation, the root mean square of errors in units of
    these, and the rank correlation (Spearman's) of both: of forces, errors are
    those of components, ranks those of atoms by the lengths of the vectors.
    """
    return {name: {
        'number': error.size,
        'within_one_std': float((abs(error) <= std).mean()),
        'rms_ratio': _rms_ratio(error, std),
        'rank_correlation': rank_correlation(*_lengths(error, std)),
    } for name, (error, std) in _rows(outputs).items()}


def _rows(outputs: Predictions
          ) -> dict[str, tuple[numpy.ndarray, numpy.ndarray]]:
    r"""Returns errors and standard deviations of what has both."""
    rows = {}
    for name, std in outputs.stds.items():
        if name in outputs.properties and std.numel() > 0:
            rows[name] = outputs[name].error.numpy(), std.numpy()
    return rows


def _rms_ratio(error: numpy.ndarray, std: numpy.ndarray) -> float | None:
    # Of an infinite deviation nothing is to be learned, nor of one that is
    # zero, as forces on the atoms of a crystal have.
    known = numpy.isfinite(std) & (std > 0)
    if not known.any():
        return None
    return float(numpy.sqrt(numpy.square(error[known] / std[known]).mean()))


def _lengths(*rows: numpy.ndarray) -> list[numpy.ndarray]:
    r"""Returns absolute values, or the lengths of vectors."""
    return [numpy.sqrt(numpy.square(row.reshape(len(row), -1)).sum(axis=1))
            for row in rows]


def rank_correlation(one: numpy.ndarray, other: numpy.ndarray
                     ) -> float | None:
    r"""Returns Spearman's coefficient of correlation, or :obj:`None` if there
    is none.
    """
    ranks = [_ranks(values) for values in (one, other)]
    if any(rank.size < 2 or rank.std() == 0 for rank in ranks):
        return None
    return float(numpy.corrcoef(*ranks)[0, 1])


def _ranks(values: numpy.ndarray) -> numpy.ndarray:
    # Equal values share the mean of their ranks.
    _, index, counts = numpy.unique(values, return_inverse=True,
                                    return_counts=True)
    return (counts.cumsum() - 0.5 * (counts - 1))[index.reshape(-1)]


def format_calibration(found: Calibration) -> str:
    r"""Returns what is printed of uncertainties."""
    lines = [f'\nUncertainties ({NORMAL:.1%} of normal errors are within one '
             f'standard deviation, their ratio is 1)']
    for name, values in found.items():
        ratio, correlation = (
            '-' if values[key] is None else in_digits(values[key], 3)
            for key in ('rms_ratio', 'rank_correlation'))
        lines.append(f"{NAMES[name]}: {values['within_one_std']:.1%} within "
                     f'one, RMS of the ratio {ratio}, rank correlation '
                     f'{correlation}')
    return '\n'.join(lines)


def plot_calibration(outputs: Predictions, units: dict[str, str],
                     folder: str) -> None:
    r"""Draws errors against their predicted standard deviations into
    :obj:`calibration.png`: some of the points, and the root mean square errors
    of bins of about as many rows each, which lie on the diagonal where
    uncertainties are right.
    """
    rows = _rows(outputs)
    figure, axes = new_figure(len(rows))
    for axis, (name, (error, std)) in zip(axes, rows.items()):
        unit, factor = shown_unit(units_of_properties(units)[name])
        _draw(axis, *(abs(values.flatten()) * factor
                      for values in (error, std)))
        axis.set(title=NAMES[name],
                 xlabel=f'predicted standard deviation ({unit})',
                 ylabel=f'error ({unit})')
    save_figure(figure, osp.join(folder, 'calibration.png'))


def _draw(axis: Any, error: numpy.ndarray, std: numpy.ndarray) -> None:
    known = numpy.isfinite(std) & (std > 0)
    error, std = error[known], std[known]
    if std.size == 0:
        return
    some = numpy.random.default_rng(0).permutation(std.size)[:NUM_POINTS]
    some = some[error[some] > 0]
    axis.scatter(std[some], error[some], s=4, alpha=0.25, color='#999999',
                 linewidths=0, rasterized=True, label='errors')
    bins = numpy.array_split(numpy.argsort(std), max(1, min(
        NUM_BINS, std.size // MIN_ROWS)))
    means = numpy.array([[numpy.sqrt(numpy.square(values[rows]).mean())
                          for rows in bins] for values in (std, error)])
    axis.plot(*means, marker='o', markersize=4, color='#0072B2',
              label='RMSE of a bin')
    ends = numpy.array([std.min(), std.max()])
    axis.plot(ends, ends, color='black', linewidth=0.8, label='right')
    if error.any():
        # Whole decades, as labels between them overlap.
        decades = numpy.log10(ends)
        axis.set(xscale='log', yscale='log',
                 xlim=10.0**numpy.array([numpy.floor(decades[0] - 0.01),
                                         numpy.ceil(decades[1] + 0.01)]),
                 ylim=(0.03 * means[means > 0].min(), 5 * max(
                     means.max(), ends[1])))
        axis.tick_params(which='minor', labelbottom=False, labelleft=False)
    axis.legend(fontsize='small', loc='upper left')
    axis.grid(True, alpha=0.3)
