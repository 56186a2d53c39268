r"""What a training run and an evaluation leave behind for people."""

import os.path as osp
from dataclasses import replace
from typing import Any

from torch import Tensor

from torch_sake.datasets.frames.labeled_frames import label_name
from torch_sake.datasets.frames.load import AnyFrames
from torch_sake.evaluation.bootstrap import CONFIDENCE, NUM_SAMPLES
from torch_sake.evaluation.breakdown import (
    errors_by_element,
    errors_by_group,
    errors_by_size,
    summarize,
)
from torch_sake.evaluation.calibration import (
    calibration,
    format_calibration,
    plot_calibration,
)
from torch_sake.evaluation.frame_errors import (
    KINDS,
    format_worst,
    frame_rows,
    ranking,
    worst,
)
from torch_sake.evaluation.frame_texts import FrameTexts
from torch_sake.evaluation.metrics import error_metrics, trivial_outputs
from torch_sake.evaluation.parity import plot_parity
from torch_sake.evaluation.plots import plot_error_distribution
from torch_sake.evaluation.predictions import Predictions
from torch_sake.evaluation.shown import (
    format_table,
    shown_properties,
    sizes_differ,
)
from torch_sake.evaluation.tables import error_rows
from torch_sake.utils.files import write_json, write_rows
from torch_sake.utils.locks import hold_folder

NUM_WORST, NUM_PRINTED = 20, 5  # frames
MAX_ROWS = 30  # of a table that is printed


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
                  seed: int = 0,
                  texts: FrameTexts | None = None) -> dict[str, Any]:
    r"""Writes the errors of predictions beside those of the trivial predictor,
    by element, by number of atoms and by group, and the worst frames to
    :obj:`<name>.json`, with confidence intervals, to :obj:`errors.csv` and,
    frame by frame, to :obj:`frames.csv`, draws the pictures
    :obj:`parity.png`, :obj:`error_distribution.png` and, of uncertainties,
    :obj:`calibration.png`, and prints what matters most.

    Args:
        outputs (Predictions): The predictions.
        trivial (torch.Tensor): Those of who knows the composition only,
            :obj:`[M]`.
        units (dict): The units of the labels.
        folder (str): The folder of all files.
        name (str): The name of the report.
        title (str): What stands above its table.
        seed (int, optional): Seed of the bootstrap. (default: :obj:`0`)
        texts (FrameTexts, optional): What the frames are called; their numbers
            if not given. (default: :obj:`None`)
    """
    texts = texts or FrameTexts(range(outputs.num_atoms.numel()))
    outputs = replace(outputs, properties={
        key: rows for key, rows in outputs.properties.items()
        if rows.index.numel() > 0}, stds={
            key: std for key, std in outputs.stds.items()
            if std.numel() > 0})
    rows = frame_rows(outputs, label_name(units), texts)
    errors = _measure(outputs, trivial, units, seed, texts)
    errors['worst'] = {column: worst(rows, column, NUM_WORST)
                       for column in ranking(rows)}
    kinds = {'elements': 'element', 'sizes': 'size'}
    if texts.group_by is not None:
        kinds['groups'] = texts.group_by
    with hold_folder(folder):  # the pictures belong to the numbers
        write_json(osp.join(folder, f'{name}.json'), {'units': units,
                                                      **errors})
        write_rows(osp.join(folder, 'errors.csv'), error_rows(errors, kinds))
        write_rows(osp.join(folder, 'frames.csv'), rows)
        plot_parity(outputs, units, folder, trivial, texts.groups)
        plot_error_distribution(outputs, units, folder)
        if outputs.stds:
            plot_calibration(outputs, units, folder)
    # Last, as who reads it may go away in the middle.
    print(format_report(outputs, trivial, units, title, errors, kinds))
    return errors


def _measure(outputs: Predictions, trivial: Tensor, units: dict[str, str],
             seed: int, texts: FrameTexts) -> dict[str, Any]:
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
    if outputs.stds:
        errors['calibration'] = calibration(outputs)
    if texts.groups is not None:
        errors.update(group_by=texts.group_by, groups=errors_by_group(
            outputs, texts.groups, seed))
    return errors


def format_report(outputs: Predictions, trivial: Tensor,
                  units: dict[str, str], title: str, errors: dict[str, Any],
                  kinds: dict[str, str]) -> str:
    r"""Returns what is printed of a report."""
    properties = shown_properties(units, outputs.errors(),
                                  sizes_differ(outputs.num_atoms))
    intervals, rows = errors['intervals'], [('model', errors['model'])]
    if None not in intervals.values():
        rows += [(f'  {CONFIDENCE:.0%} interval, {end}',
                  {key: limits[index] for key, limits in intervals.items()})
                 for index, end in enumerate(('from', 'to'))]
    rows.append((', zero '.join(['composition' if trivial.any() else 'zero', *(
        name for name in ('force', 'stress') if name in outputs.properties)]),
        errors['trivial']))
    parts = [format_table(title, rows, properties)]
    known = {name: int((sums[:, 0] > 0).sum())
             for name, sums in outputs.frame_sums().items()
             if name in outputs.properties}
    if set(known.values()) != {errors['num_frames']}:
        parts.append('Frames with labels: ' + ', '.join(
            f'{name} {number}' for name, number in known.items()))
    if 'calibration' in errors:
        parts.append(format_calibration(errors['calibration']))
    for kind, name in kinds.items():
        groups = errors[kind]
        if len(groups) < 2 and kind != 'groups':
            continue
        largest = sorted(groups, key=lambda key: groups[key]['num_frames'])
        shown = set(largest[-MAX_ROWS:])
        parts.append(format_table(f'\nBy {name} (number of frames)', [
            (f'{_entry(kind, key)} ({group["num_frames"]})', group)
            for key, group in groups.items() if key in shown], properties))
        if len(groups) > MAX_ROWS:
            parts.append(f"The {MAX_ROWS} largest of {len(groups)}; all are "
                         f"in 'errors.csv'")
    for column, frames in errors['worst'].items():
        if errors['num_frames'] > 1:
            name, _, kind = column.rpartition('_')
            parts.append(format_worst(
                f"\nThe worst frames by the {KINDS[kind]} of the "
                f"{name.replace('_', ' ')}", frames[:NUM_PRINTED], units))
    return '\n'.join(parts)


def _entry(kind: str, key: Any) -> str:
    if kind != 'sizes':
        return str(key)
    return f'{key} atom' if int(key) == 1 else f'{key} atoms'


def check_units(units: dict[str, str], expected: dict[str, str]) -> None:
    if units != expected:
        raise ValueError(f"The units of the data must be those of the "
                         f"checkpoint, {expected} (got {units})")
