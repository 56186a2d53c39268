r"""Errors frame by frame, and the worst of them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch_geometric.utils import scatter

from torch_sake.evaluation.frame_texts import FrameTexts
from torch_sake.evaluation.metrics import units_of_properties
from torch_sake.evaluation.predictions import Predictions
from torch_sake.evaluation.shown import in_digits, shown_unit
from torch_sake.utils.messages import one_line

Row = dict[str, Any]

KINDS = {'error': 'error', 'rmse': 'RMSE', 'max': 'max'}  # that are printed
WIDTH = 40  # of a text
# By what frames are the worst, beside the error of their energy:
FORCE = 'force_rmse'


def frame_rows(outputs: Predictions, label: str,
               texts: FrameTexts) -> list[Row]:
    r"""Returns what there is to say of each frame, :obj:`None` where it has no
    such label: its number in the data, what it is called, its formula, label
    and prediction of its energy (or of another property) and the error, of
    energies per atom, and errors of the components of its forces and stress;
    where there are uncertainties, that of its energy and the largest one of
    its forces.
    """
    num_frames = outputs.num_atoms.numel()
    columns: dict[str, Sequence[Any]] = {
        **dict.fromkeys(['frame', *texts.names], []),  # their order
        **texts.names, 'frame': texts.numbers, 'formula': formulas(outputs),
        'num_atoms': outputs.num_atoms.tolist()}
    sums = outputs.frame_sums()
    if label in outputs.properties:
        value, known, index = outputs[label]
        columns[f'{label}_label'] = _spread(known, index, num_frames)
        columns[f'{label}_prediction'] = _spread(value, index, num_frames)
        name = 'energy_per_atom' if label == 'energy' else label
        columns[f'{name}_error'] = _spread(outputs.errors()[name], index,
                                           num_frames)
        if label in outputs.stds:
            columns[f'{label}_std'] = _spread(outputs.stds[label], index,
                                              num_frames)
    for name in ('force', 'stress'):
        if name not in outputs.properties:
            continue
        error, index = outputs[name].error, outputs[name].index
        if name == 'force':
            index = outputs.frame_of_atom[index]
        number, absolute, square = sums[name].unbind(dim=1)
        largest = scatter(error.flatten(1).abs().amax(dim=1), index,
                          dim_size=num_frames, reduce='max')
        for kind, values in (('mae', absolute / number),
                             ('rmse', (square / number).sqrt()),
                             ('max', largest.where(number > 0, torch.nan))):
            columns[f'{name}_{kind}'] = _no_nan(values)
        if name in outputs.stds:
            largest = scatter(outputs.stds[name].norm(dim=1), index,
                              dim_size=num_frames, reduce='max')
            columns[f'{name}_std'] = _no_nan(largest.where(number > 0,
                                                           torch.nan))
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def _spread(values: Tensor, index: Tensor, num_frames: int) -> list[Any]:
    out = values.new_full((num_frames, ), torch.nan)
    out[index] = values
    return _no_nan(out)


def _no_nan(values: Tensor) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def formulas(outputs: Predictions) -> list[str]:
    r"""Returns the formula of each frame, in the order of Hill."""
    return [_formula(tuple(z.sort().values.tolist())) for z in
            outputs.z.split(outputs.num_atoms.tolist())]


@lru_cache(maxsize=1000)
def _formula(numbers: tuple[int, ...]) -> str:
    from ase.data import chemical_symbols
    from ase.formula import Formula
    return Formula.from_list([chemical_symbols[z] for z in numbers]).format(
        'hill')


def ranking(rows: list[Row]) -> list[str]:
    r"""Returns the columns by which frames are the worst: the error of their
    forces and that of their energy, or what there is of these.
    """
    return [name for name in rows[0]
            if name == FORCE or name.endswith('_error')][::-1]


def worst(rows: list[Row], column: str, number: int) -> list[Row]:
    r"""Returns the frames with the largest errors, without what is not known
    of them.
    """
    known = [row for row in rows if row[column] is not None]
    known.sort(key=lambda row: (-abs(row[column]), row['frame']))
    return [{name: value for name, value in row.items() if value is not None}
            for row in known[:number]]


def format_worst(title: str, rows: list[Row], units: dict[str, str]) -> str:
    r"""Returns a table of frames."""
    errors = {f'{name}_{kind}': (f"{name.replace('_', ' ')} {word} [{shown}]",
                                 factor)
              for name, unit in units_of_properties(units).items()
              for shown, factor in [shown_unit(unit)]
              for kind, word in KINDS.items() if name != 'stress'}
    columns = list(dict.fromkeys(name for row in rows for name in row))
    texts = columns[:columns.index('num_atoms') + 1]
    table = []
    for name in columns:
        if name in errors:
            head, factor = errors[name]
            table.append([head, *(
                in_digits(row[name] * factor) if name in row else '-'
                for row in rows)])
        elif name in texts:
            table.append([name.removeprefix('num_'), *(
                one_line(str(row[name]), WIDTH) for row in rows)])
    widths = [max(map(len, column)) for column in table]
    return '\n'.join([title, *(
        '  '.join(f'{cell:>{width}}' for cell, width in zip(line, widths))
        for line in zip(*table))])
