import math
from collections.abc import Sequence

# Validations without a better score until the rate is halved, with 'plateau':
PLATEAU = 10


class Schedule:
    r"""The learning rate, which follows from the number of steps that are done
    and the scores of the validations so far, and from nothing else: there is
    no state that a run that goes on would have to restore.

    Args:
        name (str): :obj:`"constant"`, :obj:`"cosine"` (down to zero at the
            last step) or :obj:`"plateau"` (half of it after :obj:`PLATEAU`
            validations without a better score).
        largest (float): The largest learning rate.
        num_steps (int): Number of steps.
        warmup (float): Share of the steps in which the rate rises linearly.
    """
    def __init__(self, name: str, largest: float, num_steps: int,
                 warmup: float):
        self.name = name
        self.largest = largest
        self.num_steps = num_steps
        self.warmup = warmup

    def __call__(self, step: int, scores: Sequence[float]) -> float:
        r"""Returns the learning rate after :obj:`step` steps.

        Args:
            step (int): Number of steps that are done.
            scores (list of float): The scores of the validations so far, of
                which the smallest is the best.
        """
        progress = step / self.num_steps
        if progress < self.warmup:
            warmup_steps = self.warmup * self.num_steps
            return self.largest * (step + 1) / (warmup_steps + 1)
        if self.name == 'cosine':
            rest = (progress - self.warmup) / (1 - self.warmup)
            return self.largest * 0.5 * (1 + math.cos(math.pi * rest))
        if self.name == 'plateau':
            return self.largest * 0.5**sum(
                wait > 0 and wait % PLATEAU == 0 for wait in waits(scores))
        return self.largest


def waits(scores: Sequence[float]) -> list[int]:
    r"""Returns for each score how many validations ago the best one was."""
    best, wait, out = math.inf, 0, []
    for score in scores:
        best, wait = (score, 0) if score < best else (best, wait + 1)
        out.append(wait)
    return out
