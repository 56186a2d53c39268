r"""Errors as people read them: in meV where labels are in eV, and per atom
where sizes differ. Files have the units of the labels.
"""

from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor

from torch_sake.evaluation.metrics import Metrics, units_of_properties

TOO_LONG = 1e8
SMALL = ('eV', 1000.0)  # becomes meV


class Shown(NamedTuple):
    r"""The unit that a property is shown in, and how many of it are one of the
    labels.
    """
    unit: str
    factor: float


def shown_unit(unit: str) -> Shown:
    r"""Returns what is shown in the place of the unit of a label."""
    name, factor = SMALL
    # Also of 'eV/Angstrom', and not of a unit that begins like it.
    if unit.partition('/')[0] == name:
        return Shown(f'm{unit}', factor)
    return Shown(unit, 1.0)


def shown_properties(units: dict[str, str], present: Collection[str],
                     sizes_differ: bool) -> dict[str, Shown]:
    r"""Returns how each property is shown, in their order: energies per atom
    in the place of total ones where sizes differ, as these are no errors of
    the same thing.

    Args:
        units (dict): The units of the labels.
        present (list of str): The properties that there are.
        sizes_differ (bool): Whether frames differ in their numbers of atoms.
    """
    left_out = 'energy' if sizes_differ else None
    return {name: shown_unit(unit)
            for name, unit in units_of_properties(units).items()
            if name in present and name != left_out}


def in_digits(value: float, digits: int = 4) -> str:
    r"""Returns a number with as many digits, or with all before the point, and
    an exponent only where there would be too many.
    """
    if 10**digits <= abs(value) < TOO_LONG:
        return f'{value:.0f}'
    return f'{value:.{digits}g}'


def sizes_differ(num_atoms: Tensor) -> bool:
    r"""Returns whether frames differ in their numbers of atoms."""
    return bool((num_atoms != num_atoms[0]).any())


def format_table(title: str, rows: list[tuple[str, Metrics]],
                  properties: dict[str, Shown]) -> str:
    r"""Returns a table of errors, one predictor or group a row.

    Args:
        title (str): What stands above.
        rows (list): The name and the errors of each, in the units of the
            labels.
        properties (dict): How each property is shown, see
            :func:`shown_properties`.
    """
    properties = {name: shown for name, shown in properties.items()
                  if any(f'{name}_mae' in metrics for _, metrics in rows)}
    width = max(26, *(len(label) + 1 for label, _ in rows))
    heads = [f"{name.replace('_', ' ')} [{unit}]"
             for name, (unit, _) in properties.items()]
    lines = [title, ' ' * width + ''.join(f'{head:>30}' for head in heads),
             ' ' * width + f'{"MAE":>18}{"RMSE":>12}' * len(heads)]
    for label, metrics in rows:
        cells = [in_digits(metrics[key] * factor) if key in metrics else '-'
                 for name, (_, factor) in properties.items()
                 for key in (f'{name}_mae', f'{name}_rmse')]
        lines.append(f'{label:<{width}}' + ''.join(
            f'{mae:>18}{rmse:>12}'
            for mae, rmse in zip(cells[::2], cells[1::2])))
    return '\n'.join(lines)
