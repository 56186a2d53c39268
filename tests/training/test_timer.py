import itertools

import pytest

from torch_sake.optim.plan import Plan
from torch_sake.runs.timer import Timer


class Clock:
    time = 100.0

    def __call__(self):
        return self.time


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def timer(clock):
    timer = Timer(clock)
    timer.start()
    return timer


def test_used_time_is_that_of_all_parts(clock, timer):
    clock.time += 5
    assert timer.used == 5
    timer.stop()
    clock.time += 100
    assert timer.used == timer.before == 5
    timer.start()
    clock.time += 2
    assert timer.used == 7


def steps(clock, timer, *seconds):
    timer.begin_steps()
    for one in seconds:
        clock.time += one
        timer.end_step()


def test_pace(clock, timer):
    steps(clock, timer, 1, 2, 3)
    timer.begin_validation()
    clock.time += 10
    assert timer.validation_time == 0 and timer.validation_time_so_far() == 10
    steps(clock, timer, 2)
    assert timer.validation_time == timer.validation_time_so_far() == 10
    timer.measure_pace()
    assert timer.step_time == 2 and timer.planned_at == timer.used == 18
    steps(clock, timer, 4, 4)
    timer.measure_pace()
    assert timer.step_time == 3  # half of what was known before
    timer.begin_validation()
    clock.time += 20
    timer.begin_steps()
    assert timer.validation_time == 15
    timer.measure_pace()
    assert timer.step_time == 3  # nothing new


def test_a_step_that_compiles_is_no_measure(clock, timer):
    steps(clock, timer, 0.1, 30, 0.1, 0.1)
    timer.measure_pace()
    assert timer.step_time == pytest.approx(0.1)
    assert timer.used == pytest.approx(30.3)
    # A pause of a second or less, or one of a few steps, may come again.
    timer.step_time = 0.0
    steps(clock, timer, 0.01, 0.9, 0.01, 0.01)
    timer.measure_pace()
    assert timer.step_time == pytest.approx(0.93 / 4)
    timer.step_time = 0.0
    steps(clock, timer, 2, 30, 2)
    timer.measure_pace()
    assert timer.step_time == pytest.approx(34 / 3)


def seconds_to_the_end(step, last_step, val_interval, step_time, validation):
    """Step by step. The validation after the first one is to come."""
    seconds = 0.0
    for one in range(step, last_step + 1):
        seconds += step_time * (one > step)
        if one > 0 and one % val_interval == 0 or one == last_step:
            seconds += validation
    return seconds


def test_last_step(clock, timer):
    clock.time += 5
    for step, interval, step_time, validation, max_time in itertools.product(
            (0, 1, 6, 8), (1, 4, 100), (0.5, 3.0), (0.0, 2.25, 40.0),
            (4, 30, 61)):
        timer.step_time, timer.validation_time = step_time, validation
        last = timer.last_step(step, interval, max_time)
        expected = max([1, step, *(
            one for one in range(step + 1, 200) if seconds_to_the_end(
                step, one, interval, step_time, validation) <= max_time - 5)])
        assert last == expected, (step, interval, step_time, validation)
        for one in (step + 1, step + 9):
            assert timer.time_of(step, one, interval) == seconds_to_the_end(
                step, one, interval, step_time, validation)


def test_when_a_plan_is_due(clock, timer):
    plan = Plan(0, 0.0, 1000)
    assert not timer.is_due(plan, 10, 100)
    clock.time += 1.9
    assert not timer.is_due(plan, 10, 100)
    clock.time += 0.1
    assert timer.is_due(plan, 10, 100)  # after a part of the time
    clock.time += 94
    timer.measure_pace()
    assert timer.planned_at == 96 and not timer.is_due(plan, 10, 100)
    clock.time += 1
    assert timer.is_due(plan, 10, 100)  # of the time that is left
    timer.measure_pace()
    # Of the steps that are left, if they are faster than was planned.
    plan = Plan(400, 0.5, 440)
    assert not timer.is_due(plan, 409, 100) and timer.is_due(plan, 410, 100)
    assert timer.is_due(Plan(439, 0.9, 440), 440, 100)
    clock.time += 10
    timer.measure_pace()
    assert timer.is_due(plan, 401, 100)  # the time is over
