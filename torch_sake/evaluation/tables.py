r"""Errors as rows of a file."""

from typing import Any

Row = dict[str, Any]


def error_rows(errors: dict[str, Any], kinds: dict[str, str]) -> list[Row]:
    r"""Returns all errors of a report as rows with the same columns: those of
    the whole, of who knows the composition only, and of each part, with the
    ends of the intervals.

    Args:
        errors (dict): The content of the report.
        kinds (dict): What an entry of each of its breakdowns is called, such
            as :obj:`'element'` of :obj:`'elements'`.
    """
    whole = {'num_frames': errors['num_frames'], **errors['model'],
             'intervals': errors['intervals']}
    parts = [('all', 'model', whole),
             ('all', 'trivial', {'num_frames': errors['num_frames'],
                                 **errors['trivial'], 'intervals': {}})]
    for kind, name in kinds.items():
        parts += [(name, key, group) for key, group in errors[kind].items()]
    metrics = list(errors['model'])
    return [_row(part, str(name), group, metrics)
            for part, name, group in parts]


def _row(part: str, name: str, group: dict[str, Any],
         metrics: list[str]) -> Row:
    row: Row = {'part': part, 'name': name, 'num_frames': group['num_frames']}
    for metric in metrics:
        low, high = group['intervals'].get(metric) or (None, None)
        row.update({metric: group.get(metric), f'{metric}_low': low,
                    f'{metric}_high': high})
    return row
