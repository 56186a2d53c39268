r"""How long a run is, and what becomes of it when it goes on with another
length.
"""

import os.path as osp
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict

from torch_sake.checkpoint import load_checkpoint
from torch_sake.optim.plan import Plan
from torch_sake.runs.distributed import any_process, of_first_process
from torch_sake.utils.durations import Duration, clock, seconds_of_run
from torch_sake.utils.hints import (
    Count,
    Fraction,
    NotNegative,
    PositiveInt,
    check_entry,
)
from torch_sake.utils.inputs import LAST
from torch_sake.utils.messages import errors_name, in_words
from torch_sake.utils.plain_checks import require

if TYPE_CHECKING:
    from torch_sake.runs.module import RunModule


class PlanState(TypedDict):
    r"""The plan of a run, and whether its warmup is over."""
    step: Count
    progress: Fraction
    last_step: Count
    warm: bool


class TimerState(TypedDict):
    r"""The times of a run so far, of a step, of a validation, and at which
    the plan was made, in seconds.
    """
    used: NotNegative
    step: NotNegative
    validation: NotNegative
    planned: NotNegative


def keep_length(config: Any, names: tuple[str, ...]) -> Any:
    r"""Returns the settings of a run that goes on with its length, those of
    the names, if none of them is given.

    Raises:
        ValueError: If a setting in the checkpoint is of another type.
    """
    if any(getattr(config, name) is not None for name in names):
        return config
    path = osp.join(config.out, LAST)
    _, description = load_checkpoint(path)
    with errors_name(path):
        found = check_entry('config', description.get('config'),
                            dict[str, Any])
        found = {name: found.get(name) for name in names}
        require(any(value is not None for value in found.values()),
                f"'config' must have {' or '.join(names)} (got a run of kind "
                f"{in_words(description.get('kind'))})")
        return replace(config, **found)


def keep_time(module: 'RunModule') -> None:
    r"""Has a run of a length of time planned anew after a step, if it is time
    for that, and ended with its last step.
    """
    schedule, timer = module.schedule, module.timer
    if module.step < module.num_steps and any_process(
            timer.is_due(schedule.planned, module.step, module.max_time),
            module.device):
        timer.measure_pace()
        make_plan(module)
    if module.step >= module.num_steps:
        module.trainer.should_stop = True  # after a validation


def make_plan(module: 'RunModule') -> None:
    r"""Has a run end when its time is over, as far as the time that its steps
    take can tell.
    """
    schedule, timer, step = module.schedule, module.timer, module.step
    progress = timer.before / module.max_time  # when it began, or went on
    if schedule.plan is not None:
        progress = schedule.progress(step)
    last_step = timer.last_step(step, module.val_interval, module.max_time)
    schedule.plan = Plan(step, progress,
                         of_first_process(last_step, module.device))


def length_to_save(module: 'RunModule') -> dict[str, Any]:
    r"""Returns the entries of a checkpoint that hold the length of a run."""
    timer, schedule = module.timer, module.schedule
    return {
        'plan': dict(schedule.planned._asdict(), warm=schedule.warm),
        'timer': {'used': timer.used, 'step': timer.step_time,
                  'validation': timer.validation_time_so_far(),
                  'planned': timer.planned_at},
    }


def found_plan(module: 'RunModule', checkpoint: Mapping[str, Any]) -> Plan:
    r"""Returns the plan of a checkpoint, which older ones do not have.

    Raises:
        ValueError: If it is none.
    """
    config = checkpoint['config']
    for name, hint in ((module.length, PositiveInt), ('max_time', Duration)):
        if config.get(name) is not None:
            check_entry(f'config.{name}', config[name], hint)
    num_steps = module.steps_of(config)
    if num_steps is not None:
        return Plan(0, 0.0, num_steps)
    check_entry('plan', checkpoint.get('plan'), PlanState)
    found, step = checkpoint['plan'], checkpoint['step']
    require(found['step'] <= step,
            f"'plan.step' must be at most {step}, the number of steps "
            f"(got {found['step']})")
    return Plan(found['step'], found['progress'], found['last_step'])


def check_length(module: 'RunModule', checkpoint: Mapping[str, Any]) -> None:
    r"""Raises an error if a run would end before the place where it is."""
    num_steps = module.steps_of(vars(module.config))
    if num_steps is None:
        used = time_used(checkpoint)
        require(module.max_time > used or
                module.max_time == seconds_of_run(checkpoint['config']),
                f"'max_time' must be more than {clock(used)}, the time that "
                f"the run has taken (got {module.config.max_time})")
        return
    step, history = checkpoint['step'], checkpoint['history']
    number = getattr(module.config, module.length)
    least = step // (num_steps // number)
    if not history or history[-1]['step'] < step:  # a validation is to come
        least += 1
    require(number >= least,
            f"'{module.length}' must be at least {least}, as the run has done "
            f"{step} steps (got {number})")


def go_on(module: 'RunModule', checkpoint: Mapping[str, Any]) -> None:
    r"""Takes up the length of a run where a checkpoint has left it: its plan,
    if the length is as before, or else that of the settings.
    """
    schedule, timer = module.schedule, module.timer
    step, found = checkpoint['step'], checkpoint.get('timer', {})
    timer.before = time_used(checkpoint)
    timer.step_time = found.get('step', 0.0)
    timer.validation_time = found.get('validation', 0.0)
    timer.planned_at = found.get('planned', 0.0)
    schedule.plan = plan = found_plan(module, checkpoint)
    schedule.warm = checkpoint.get('plan', {}).get('warm', False)
    num_steps = module.steps_of(vars(module.config))
    if module.max_time != seconds_of_run(checkpoint['config']) or (
            num_steps not in (None, plan.last_step)):
        schedule.warm = schedule.is_warm(step)
        schedule.plan = None if num_steps is None else Plan(0, 0.0, num_steps)


def time_used(checkpoint: Mapping[str, Any]) -> float:
    r"""Returns the time that a run has taken, or that of the processor, which
    older checkpoints have.
    """
    if 'timer' in checkpoint:
        return checkpoint['timer']['used']
    return checkpoint['seconds']
