r"""What came of each round."""

import os.path as osp
from collections.abc import Sequence
from typing import Any

from torch_sake.learning.files import PICTURE, TABLE
from torch_sake.utils.figures import new_figure, save_figure
from torch_sake.utils.files import write_rows

# The columns: of the round, the number of new labels and of all so far, the
# errors of the potential that the round began with, of validation frames and
# of its own new frames, before it has learned these.
VAL, NEW = 'validation', 'new frames'
ENERGY, FORCE = 'energy RMSE [eV]', 'force RMSE [eV/Angstrom]'
ROUND, NUM_NEW, NUM_LABELS = 'round', 'new labels', 'labels'
LIMIT = 'largest uncertainty [eV/Angstrom]'
WALKS, DOUBTS = 'simulations', 'with doubt'
FIRST, MEAN = 'time before the first doubt [ps]', 'mean time [ps]'
SECONDS = 'wall time [s]'


def row_of(number: int, limit: float, outcomes: Sequence[Any], num_new: int,
           num_labels: int, val: dict[str, float | None] | None,
           new: dict[str, float | None] | None) -> dict[str, Any]:
    r"""Returns the row of a round.

    Args:
        number (int): The number of the round.
        limit (float): The uncertainty at which simulations stop.
        outcomes ([Outcome]): What came of the simulations.
        num_new (int): The number of its labels.
        num_labels (int): The number of labels of the rounds before.
        val, new (dict or None): The errors on validation and on new frames.
    """
    doubts = [one.time for one in outcomes if one.reason is not None]
    times = [one.time for one in outcomes]
    row = {ROUND: number, NUM_NEW: num_new, NUM_LABELS: num_labels + num_new}
    for part, errors in ((VAL, val), (NEW, new)):
        for name, column in (('energy', ENERGY), ('force', FORCE)):
            row[f'{part}: {column}'] = errors and errors[name]
    return {**row, LIMIT: limit, WALKS: len(times), DOUBTS: len(doubts),
            FIRST: min(doubts or times), MEAN: sum(times) / len(times)}


def write_log(out: str, rows: Sequence[dict[str, Any]]) -> None:
    r"""Writes the table and draws it."""
    write_rows(osp.join(out, TABLE), rows)
    figure, axes = new_figure(2)
    rounds = [row[ROUND] for row in rows]
    for part, color in ((VAL, 'C0'), (NEW, 'C3')):
        points = [(row[ROUND], 1000 * row[f'{part}: {FORCE}'])
                  for row in rows if row[f'{part}: {FORCE}'] is not None]
        if points:
            axes[0].plot(*zip(*points), marker='o', color=color, label={
                VAL: 'validation frames',
                NEW: 'new frames, before they are learned'}[part])
    axes[0].set(ylabel='RMSE of forces (meV/Angstrom)', ylim=(0, None))
    for name, label in ((FIRST, 'until the first doubt of any'),
                        (MEAN, 'mean of all simulations')):
        axes[1].plot(rounds, [row[name] for row in rows], marker='o',
                     label=label)
    axes[1].set(ylabel='simulated time (ps)', ylim=(0, None))
    for axis in axes:
        axis.set(xlabel='round', xticks=rounds)
        axis.grid(True, alpha=0.3)
        if axis.lines:
            axis.legend()
    save_figure(figure, osp.join(out, PICTURE))


def in_words(row: dict[str, Any]) -> str:
    r"""Returns a line about a round that has learned."""
    errors = ', '.join(
        f'{1000 * row[f"{part}: {FORCE}"]:.3g} on {part}'
        for part in (VAL, NEW) if row[f'{part}: {FORCE}'] is not None)
    return (f'Round {row[ROUND]}: {row[DOUBTS]} of {row[WALKS]} simulations '
            f'with doubt, the first after {row[FIRST]:.4g} ps; '
            f'{row[NUM_NEW]} labels, {row[NUM_LABELS]} so far'
            + (f'; force RMSE before learning them: {errors} meV/Angstrom'
               if errors else ''))
