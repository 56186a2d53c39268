import time
from bisect import bisect_right
from collections.abc import Callable
from statistics import fmean, median

from torch_sake.optim.plan import Plan

# A plan is made anew after this part of the time of a run, or of what is left
# of it, whichever is less:
PART, PART_OF_REST = 0.02, 0.25
# A step is no measure of others that takes so many times as long, and more
# than a second: it compiles.
SLOW = 20
SHORTEST = 1e-6  # seconds, of a step


class Timer:
    r"""The time that a run has taken, with that before it was interrupted, and
    the time that its steps and validations take.

    Args:
        now (callable, optional): Returns the time in seconds.
            (default: :obj:`time.monotonic`)
    """
    def __init__(self, now: Callable[[], float] = time.monotonic):
        self.now = now
        self.before = 0.0
        self.began: float | None = None
        self.step_time = self.validation_time = 0.0  # 0 if not known
        self.planned_at = 0.0
        self.steps: list[float] = []  # since the last plan
        self.mark = 0.0
        self.validates = False

    @property
    def used(self) -> float:
        r"""The time so far, in seconds."""
        return self.before + (0.0 if self.began is None else
                              self.now() - self.began)

    def start(self) -> None:
        self.began, self.steps, self.validates = self.now(), [], False

    def stop(self) -> None:
        self.before, self.began = self.used, None

    def begin_steps(self) -> None:
        r"""Steps follow, the last validation is over."""
        self.validation_time = self.validation_time_so_far()
        self.mark, self.validates = self.now(), False

    def end_step(self) -> None:
        now = self.now()
        self.steps.append(now - self.mark)
        self.mark = now

    def begin_validation(self) -> None:
        self.mark, self.validates = self.now(), True

    def validation_time_so_far(self) -> float:
        r"""Returns the time of a validation, with that of one that is about
        to end.
        """
        if not self.validates:
            return self.validation_time
        return _blend(self.validation_time, self.now() - self.mark)

    def is_due(self, plan: Plan, step: int, max_time: float) -> bool:
        r"""Whether it is time for another plan."""
        rest = PART_OF_REST * (plan.last_step - plan.step)
        return step >= plan.step + rest or self.used >= self.planned_at + min(
            PART * max_time, PART_OF_REST * (max_time - self.planned_at))

    def measure_pace(self) -> None:
        r"""Takes the steps since the last plan as a measure of those to come.
        """
        if self.steps:
            longest = max(SLOW * median(self.steps), 1.0)
            self.step_time = _blend(self.step_time, fmean(
                seconds for seconds in self.steps if seconds <= longest))
        self.planned_at, self.steps = self.used, []

    def time_of(self, step: int, last_step: int, val_interval: int) -> float:
        r"""Returns how long it takes from a step, of which the validation is
        to come, to the end of a run, in seconds.
        """
        validations = ((last_step - 1) // val_interval -
                       max(step - 1, 0) // val_interval + 1)
        return (max(self.step_time, SHORTEST) * (last_step - step) +
                self.validation_time * validations)

    def last_step(self, step: int, val_interval: int, max_time: float) -> int:
        r"""Returns the largest number of steps that a run can do in its time,
        with all validations: at least one, and those that are done.
        """
        rest = max_time - self.used
        largest = int(max(rest, 0.0) / max(self.step_time, SHORTEST)) + 1
        number = bisect_right(
            range(step + 1, step + 1 + largest), rest,
            key=lambda last: self.time_of(step, last, val_interval))
        return max(step + number, 1)


def _blend(old: float, new: float) -> float:
    return new if old == 0 else (old + new) / 2
