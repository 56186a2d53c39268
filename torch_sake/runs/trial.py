import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from statistics import median
from time import process_time
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from torch import Tensor
from torch_geometric.data import Data

from torch_sake.runs.distributed import of_first_process
from torch_sake.runs.length import make_plan
from torch_sake.runs.module import RunModule
from torch_sake.utils.durations import about
from torch_sake.utils.global_state import own_global_state

NUM_TRIALS = 3
FEWEST = 20  # steps of a run that is worth trials
LARGEST = 0.01  # part of the time of a run that is worth trials
COMPILATION = 45.0  # seconds of a processor
PART_TO_COMPILE = 0.25  # of the time of a run


class Trial(Callback):
    r"""Says before the first step how long a step takes, and how long the
    run will take, or how many steps it will have. It finds out by computing
    the loss of the first batch, and its derivatives, a few times, and by steps
    of copies of the optimizers. Nothing of the run changes by that.
    """
    def __init__(self):
        self.is_over = False

    def on_train_batch_start(self, trainer: Trainer, module: Any,
                             batch: Data, batch_idx: int) -> None:
        if self.is_over:
            return
        self.is_over = True
        if module.max_time is None and (
                module.num_steps - module.step < FEWEST):
            return
        if module.compiles and not has_time_to_compile(module, batch):
            module.compiles = module.learner.compiled = False
            say(trainer, "not compiled: on this machine, as it is, that would "
                         "take too much of 'max_time' ('compile' overrides "
                         "this)")
        if module.compiles:
            say(trainer, 'compiling, about a minute')
        timer = module.timer
        seconds = step_time(module, batch)
        if module.max_time is not None and module.schedule.plan is None:
            timer.step_time = seconds
            if timer.validation_time == 0:
                timer.validation_time = seconds * module.steps_of_validation
            timer.measure_pace()
            make_plan(module)
        # Steps begin now.
        timer.begin_steps()
        say(trainer, describe(module, seconds))


def say(trainer: Trainer, text: str) -> None:
    # Where the bar is that follows.
    if trainer.is_global_zero:
        print(text, file=sys.stderr, flush=True)


def describe(module: RunModule, seconds: float) -> str:
    r"""Returns what is to be said of a run of which a step takes some seconds.
    """
    number = module.num_steps - module.step
    validation = (module.timer.validation_time or
                  seconds * module.steps_of_validation)
    left = 'left ' if module.step > 0 else ''
    begin = f'a step takes {about(seconds)}: '
    if module.max_time is not None:
        rest = max(module.max_time - module.timer.used, 0.0)
        the = 'the ' if left else ''
        return (f'{begin}about {float(f"{number:.2g}"):.0f} steps in '
                f'{the}{about(rest)} {left}'.rstrip())
    rest = number * (seconds + validation / module.val_interval)
    return f'{begin}{number} steps {left}take about {about(rest)}'


def has_time_to_compile(module: Any, batch: Data) -> bool:
    r"""Returns whether compilation, which is to be chosen, would take a small
    part of the time of a run. A busy machine takes several times as long.
    """
    if module.max_time is None or module.config.compile is not None:
        return True
    module.learner.compiled, busy = False, 1.0
    for _ in range(2):  # the second one tells
        begin, began = module.timer.now(), process_time()
        with nothing_changes(module):
            wait_for(evaluate(module, batch))
        used = process_time() - began
        if module.device.type == 'cpu':
            busy = max((module.timer.now() - begin) / used, 1.0)
    module.learner.compiled = True
    rest = module.max_time - module.timer.used
    return bool(of_first_process(
        int(COMPILATION * busy <= PART_TO_COMPILE * rest), module.device))


def step_time(module: RunModule, batch: Data) -> float:
    r"""Returns how many seconds a step takes, without what comes once."""
    # All processes do the same, as models may have them talk to each other.
    now = module.timer.now

    def measure() -> float:
        begin = now()
        with nothing_changes(module):
            wait_for(evaluate(module, batch))
            return now() - begin

    seconds = measure()
    if module.compiles:
        seconds = measure()
    if module.max_time is not None and of_first_process(
            seconds > LARGEST * module.max_time, module.device):
        return seconds
    times = [measure() for _ in range(NUM_TRIALS)]
    return median(times) + optimizer_time(module)


def evaluate(module: RunModule, batch: Data) -> Tensor:
    loss = module.loss_of(batch.clone())
    torch.autograd.grad(loss, [
        parameter for parameter in module.learner.parameters()
        if parameter.requires_grad], allow_unused=True)
    return loss


def optimizer_time(module: RunModule) -> float:
    r"""Returns how many seconds the optimizers take, measured with copies."""
    copies, times = deepcopy(module.configure_optimizers()), []
    for optimizer in copies:
        for group in optimizer.param_groups:
            for parameter in group['params']:
                if parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)
    for _ in range(2):
        begin = module.timer.now()
        for optimizer in copies:
            optimizer.step()
        wait_for(copies[0].param_groups[0]['params'][0])
        times.append(module.timer.now() - begin)
    return min(times)


def wait_for(tensor: Tensor) -> None:
    r"""Waits until a device has done all that it was told before this."""
    tensor.detach().flatten()[:1].tolist()


@contextmanager
def nothing_changes(module: RunModule) -> Iterator[None]:
    r"""Within this context, what models compute changes neither random numbers
    nor what they keep beside their parameters.
    """
    kept: list[tuple[Any, Any]] = [
        (buffer, buffer.clone()) for buffer in module.learner.buffers()]
    with own_global_state():
        yield
    with torch.no_grad():
        for buffer, value in kept:
            buffer.copy_(value)
