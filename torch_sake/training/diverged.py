import math


class Diverged(RuntimeError):
    r"""A run that could not go on. What it had written is kept."""


def check_loss(loss: float, step: int, learning_rate: float) -> None:
    r"""Raises an error if a loss, the mean over the last steps, is not finite:
    the weights will not be anything else any more.
    """
    if not math.isfinite(loss):
        raise Diverged(f"The loss was {loss} before step {step}; a "
                       f"'learning_rate' below {learning_rate:g} may help")
