r"""What messages say of values, errors and the files that they are about."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy

LONGEST = 200  # characters about what was found in a file
LONGEST_ERROR = 1000


def one_line(text: Any, longest: int = LONGEST) -> str:
    r"""Returns an error or a text as one line that is not too long."""
    if isinstance(text, BaseException):
        text = f'{type(text).__name__}: {text}'
    text = ' '.join(''.join(
        character if character.isprintable() else ' '
        for character in str(text)).split())
    return text if len(text) <= longest else f'{text[:longest]}...'


def in_words(value: Any) -> str:
    r"""Returns a value in few words of one line."""
    if hasattr(value, 'requires_grad'):  # a tensor
        return f'a tensor of {value.dtype} and shape {list(value.shape)}'
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        value = value.tolist()
    return one_line(repr(value))


@contextmanager
def errors_name(path: Any) -> Iterator[None]:
    r"""Within this context, all that fails is a :class:`ValueError` of one
    line that names a file. What reads the entries of a file, such as the
    constructor of a model, fails in more ways than can be listed.

    Args:
        path (str or os.PathLike): The file.
    """
    from torch.cuda import OutOfMemoryError  # messages need no torch
    try:
        yield
    except (MemoryError, OutOfMemoryError):
        raise
    except Exception as error:
        text = str(error)
        if isinstance(error, KeyError):
            text = f'{text} is missing'
        elif not isinstance(error, (TypeError, ValueError)):
            text = f'{type(error).__name__}: {text}'
        name = f"'{path}'"
        if not text.startswith(name):
            text = f'{name}: {text}'
        raise ValueError(one_line(text, LONGEST_ERROR)) from error
