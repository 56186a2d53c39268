r"""Lengths of time: as settings, and in words."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from torch_sake.utils.messages import in_words
from torch_sake.utils.plain_checks import require

# Days may be left out:
CLOCK = re.compile(r'(?:(\d{1,6}):([01]?\d|2[0-3])|(\d{1,6})):([0-5]\d):'
                   r'([0-5]\d)', re.ASCII)
UNITS = ((86400, 'days'), (3600, 'h'), (60, 'min'))


def check_duration(name: str, value: str) -> str:
    r"""Checks the text of a length of time, :obj:`HH:MM:SS` or
    :obj:`DD:HH:MM:SS`.
    """
    found = CLOCK.fullmatch(value)
    require(found and seconds_of(value) > 0,
            f"'{name}' must be a time as HH:MM:SS or DD:HH:MM:SS, such as "
            f"'00:20:00' for twenty minutes (got {in_words(value)})")
    return value


Duration = Annotated[str, check_duration]


def seconds_of(text: str) -> int:
    r"""Returns the seconds of a length of time that has been checked."""
    *days, hours, minutes, seconds = map(int, text.split(':'))
    return 86400 * sum(days) + 3600 * hours + 60 * minutes + seconds


def seconds_of_run(config: Mapping[str, Any]) -> float | None:
    r"""Returns the length of a run with some settings, if it is one of time,
    of which half is for its pretraining.
    """
    text = config.get('max_time')
    if text is None:
        return None
    return seconds_of(text) * (0.5 if config.get('pretrain') else 1.0)


def clock(seconds: float) -> str:
    r"""Returns a length of time as :obj:`HH:MM:SS`."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours:02d}:{minutes:02d}:{seconds:02d}'


def about(seconds: float) -> str:
    r"""Returns a length of time in words, to two digits or more."""
    for unit, name in UNITS:
        if seconds >= 2 * unit:
            number = seconds / unit
            return f'{number:.0f} {name}' if number >= 10 else (
                f'{number:.2g} {name}')
    if seconds >= 10:
        return f'{seconds:.0f} s'
    return f'{seconds:.2g} s' if seconds >= 0.9995 else (
        f'{1000 * seconds:.2g} ms' if seconds < 0.0995 else
        f'{1000 * seconds:.0f} ms')
