from typing import NamedTuple


class Plan(NamedTuple):
    r"""How a run gets from a step on to its end. Its progress grows from
    there by the same amount in each step, to 1 in the last one:

    .. math::
        p(s) = p_0 + \frac{s - s_0}{N - s_0} (1 - p_0)

    A run of a number of steps has one plan, with :math:`s_0 = p_0 = 0`. One
    of a length of time is planned anew now and then, by the time that its
    steps take.

    Args:
        step (int): The number of steps :math:`s_0` that were done.
        progress (float): The progress :math:`p_0` at that step, below 1.
        last_step (int): The number of steps :math:`N` in all.
    """
    step: int
    progress: float
    last_step: int

    def position(self, step: int) -> tuple[float, float]:
        r"""Returns where a run of this pace throughout stands after a number
        of steps: the number of its steps that are done, and of all.
        """
        if step >= self.last_step:
            return 1.0, 1.0
        total = (self.last_step - self.step) / (1 - self.progress)
        return self.progress * total + (step - self.step), total
