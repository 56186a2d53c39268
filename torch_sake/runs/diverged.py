import math


class Diverged(RuntimeError):
    r"""A run that could not go on. What it had written is kept."""


def check_finite(numbers: dict[str, float], step: int,
                 learning_rate: float) -> None:
    r"""Raises an error if a loss or an error, by its name, is not finite: the
    weights will not be anything else any more.
    """
    for name, value in numbers.items():
        if not math.isfinite(value):
            raise Diverged(f"'{name}' was {value} at step {step}; a "
                           f"'learning_rate' below {learning_rate:g} may help")
