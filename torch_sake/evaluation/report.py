r"""What a training run and an evaluation leave behind for people."""

import os.path as osp
from typing import Any

from torch import Tensor

from torch_sake.datasets.frames.labeled_frames import label_name
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.evaluation.bootstrap import CONFIDENCE, NUM_SAMPLES
from torch_sake.evaluation.breakdown import (
    errors_by_element,
    errors_by_size,
    summarize,
)
from torch_sake.evaluation.metrics import (
    error_metrics,
    format_table,
    trivial_outputs,
)
from torch_sake.evaluation.plots import plot_error_distribution, plot_parity
from torch_sake.evaluation.predictions import Predictions
from torch_sake.utils.files import write_json
from torch_sake.utils.locks import hold_folder


def describe_labels(frames: AnyFrames) -> str:
    r"""Returns what the frames are labeled with, in words."""
    label, number, words = frames.label, len(frames), []
    names = {label: 'energies' if label == 'energy' else
             f'{label} [{frames.units[label]}]',
             'force': 'forces', 'stress': 'stresses'}
    for name, text in names.items():
        count = int(frames.known(name).sum())
        if count > 0:
            words.append(text if count == number else
                         f'{text} ({count} of {number} frames)')
    *first, last = words or ['no labels']
    return f"{', '.join(first)} and {last}" if first else last


def report_errors(outputs: Predictions, trivial: Tensor,
                  units: dict[str, str], folder: str, name: str, title: str,
                  seed: int = 0) -> dict[str, Any]:
    r"""Prints the errors of predictions beside those of the trivial predictor,
    by element and by number of atoms, and writes them to :obj:`<name>.json`,
    with confidence intervals and the pictures :obj:`parity.png` and
    :obj:`error_distribution.png`. The seed is that of the bootstrap.
    """
    from ase.data import chemical_symbols
    overall = summarize(outputs.frame_sums(), seed)
    intervals = overall.pop('intervals')
    errors = {
        'bootstrap': {'num_samples': NUM_SAMPLES, 'confidence': CONFIDENCE,
                      'seed': seed},
        'num_frames': overall.pop('num_frames'),
        'model': overall,
        'intervals': intervals,
        'trivial': error_metrics(trivial_outputs(outputs, trivial,
                                                 label_name(units))),
        'elements': {
            chemical_symbols[element]: group for element, group in
            errors_by_element(outputs, seed).items()},
        'sizes': errors_by_size(outputs, seed),
    }
    rows = [('model', errors['model'])]
    if None not in intervals.values():
        rows += [(f'  {CONFIDENCE:.0%} interval, {end}',
                  {key: limits[index] for key, limits in intervals.items()})
                 for index, end in enumerate(('from', 'to'))]
    rows.append((', zero '.join(['composition' if trivial.any() else 'zero', *(
        name for name in ('force', 'stress') if name in outputs.properties)]),
        errors['trivial']))
    print(format_table(title, rows, units))
    for kind, entry in (('elements', '{}'), ('sizes', '{} atoms')):
        rows = [(f'{entry.format(key)} ({group["num_frames"]})', group)
                for key, group in errors[kind].items()]
        if len(rows) > 1:
            print(format_table(f'\nBy {kind[:-1]} (number of frames)', rows,
                               units))
    with hold_folder(folder):  # the pictures belong to the numbers
        write_json(osp.join(folder, f'{name}.json'), {'units': units,
                                                      **errors})
        plot_parity(outputs, units, folder)
        plot_error_distribution(outputs, units, folder)
    return errors


def check_units(units: dict[str, str], expected: dict[str, str]) -> None:
    if units != expected:
        raise ValueError(f"The units of the data must be those of the "
                         f"checkpoint, {expected} (got {units})")
