import math
from collections.abc import Sequence

from torch_sake.optim.plan import Plan

# Validations without a better score until the rate is halved, with 'plateau':
PLATEAU = 10


class Schedule:
    r"""The learning rate, which follows from the number of steps that are
    done, the plan of the run and the scores of the validations so far.

    A run that goes on with another length has the rate that a run of the new
    length has at this step, or, of a length of time, after this part of it.
    Only the warmup is not repeated: once it is over, :attr:`warm` is set.

    Args:
        name (str): :obj:`"constant"`, :obj:`"cosine"` (down to zero at the
            last step) or :obj:`"plateau"` (half of it after :obj:`PLATEAU`
            validations without a better score).
        largest (float): The largest learning rate.
        num_steps (int, optional): Number of steps, or :obj:`None` if
            :attr:`plan` is to be set later.
        warmup (float): Share of the steps in which the rate rises linearly.
    """
    def __init__(self, name: str, largest: float, num_steps: int | None,
                 warmup: float):
        self.name = name
        self.largest = largest
        self.plan: Plan | None = None
        if num_steps is not None:
            self.plan = Plan(0, 0.0, num_steps)
        self.warmup = warmup
        self.warm = False

    @property
    def planned(self) -> Plan:
        r"""The plan, which must be there."""
        if self.plan is None:
            raise ValueError("'max_time' must have a plan before the first "
                             "step, which 'Trainer.fit' makes (got none)")
        return self.plan

    @property
    def num_steps(self) -> int:
        r"""Number of steps, as far as it is planned."""
        return self.planned.last_step

    def progress(self, step: int) -> float:
        r"""Returns which part of a run is over after a number of steps."""
        done, total = self.planned.position(step)
        return done / total

    def is_warm(self, step: int) -> bool:
        r"""Whether the warmup is over after a number of steps."""
        return self.warm or self.progress(step) >= self.warmup

    def __call__(self, step: int, scores: Sequence[float]) -> float:
        r"""Returns the learning rate after :obj:`step` steps.

        Args:
            step (int): Number of steps that are done.
            scores (list of float): The scores of the validations so far, of
                which the smallest is the best.
        """
        done, total = self.planned.position(step)
        progress = done / total
        if progress < self.warmup and not self.warm:
            warmup_steps = self.warmup * total
            return self.largest * (done + 1) / (warmup_steps + 1)
        if self.name == 'cosine':
            rest = max(progress - self.warmup, 0.0) / (1 - self.warmup)
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
