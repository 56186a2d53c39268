r"""What a run goes on from, and what a checkpoint must hold for that."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, TypedDict

import torch
from packaging.version import InvalidVersion, Version
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from torch_sake.optim.muon import Muon
from torch_sake.runs.length import (
    PlanState,
    TimerState,
    check_length,
    found_plan,
)
from torch_sake.utils.checks import check_tensor
from torch_sake.utils.hints import Count, FiniteFloat, check_entry
from torch_sake.utils.messages import in_words
from torch_sake.utils.plain_checks import require
from torch_sake.utils.weights import check_tensors

if TYPE_CHECKING:
    from torch_sake.runs.module import RunModule

# What optimizers keep for each parameter; a step is a number.
KEPT = {Adam: ('step', 'exp_avg', 'exp_avg_sq'),
        AdamW: ('step', 'exp_avg', 'exp_avg_sq'),
        Muon: ('momentum_buffer', )}
# Older ones of Lightning are of other files:
LIGHTNING = Version('2')


def check_version(name: str, value: str) -> None:
    known = False
    with suppress(InvalidVersion):
        known = Version(value) >= LIGHTNING
    require(known, f"'{name}' must be a version from {LIGHTNING} on "
                   f"(got {in_words(value)})")


class OptimizerState(TypedDict):
    state: dict[int, dict[str, Tensor]]


class Row(TypedDict):
    r"""Of the history; the rest are errors."""
    step: Count
    seconds: FiniteFloat
    learning_rate: FiniteFloat
    loss: float


Weights = dict[str, Tensor]
_Needed = TypedDict('_Needed', {
    'pytorch-lightning_version': Annotated[str, check_version],
    'callbacks': dict[str, Any],
    'config': dict[str, Any],
    'step': Count,
    'seconds': FiniteFloat,
    'history': Annotated[
        list[dict[str, float]],
        lambda name, value: check_entry(name, value, list[Row])],
    'optimizer_states': list[OptimizerState],
    'raw': Weights,
})


class RunState(_Needed, total=False):
    r"""What a checkpoint that a run goes on from must hold. Older ones lack
    what comes first.
    """
    plan: PlanState
    timer: TimerState
    losses: Annotated[Tensor, lambda name, value: check_tensor(
        name, value, ('N', ))]


def check_run(module: 'RunModule', checkpoint: Mapping[str, Any]) -> None:
    r"""Checks that a checkpoint holds what a run goes on from: the entries
    that the module says, the tensors of the learner and of the average, and
    the states of the optimizers.

    Raises:
        TypeError, ValueError: If it does not. The error has the entry.
    """
    check_entry('', dict(checkpoint), module.state)
    step, last_step = checkpoint['step'], found_plan(module,
                                                     checkpoint).last_step
    require(all(row['step'] <= step for row in checkpoint['history']) and
            step <= last_step,
            f"'step' must be at most the number of steps, {last_step}, and "
            f"not before the history (got {step})")
    for name, part in (('raw', module.learner),
                       (module.name, module.average.module)):
        check_tensors(checkpoint[name], part.state_dict(), f'{name}.')
    states = checkpoint['optimizer_states']
    optimizers = module.configure_optimizers()
    require(len(states) == len(optimizers),
            f"'optimizer_states' must be of {len(optimizers)} optimizers "
            f"(got {len(states)})")
    for index, (state, optimizer) in enumerate(zip(states, optimizers)):
        _check_optimizer(f'optimizer_states.{index}.state', state['state'],
                         optimizer, step)
    check_length(module, checkpoint)


def _check_optimizer(name: str, state: dict[int, Weights],
                     optimizer: Optimizer, step: int) -> None:
    parameters = [parameter for group in optimizer.param_groups
                  for parameter in group['params']]
    # Those without a gradient have none.
    for number, found in state.items():
        require(0 <= number < len(parameters),
                f"'{name}' must be of {len(parameters)} parameters "
                f"(got number {number})")
        like = parameters[number].detach()
        check_tensors(found, {
            key: torch.zeros(()) if key == 'step' else like
            for key in KEPT[type(optimizer)]}, f'{name}.{number}.')
        count = found.get('step')
        require(count is None or 1 <= count <= step,
                f"'{name}.{number}.step' must be from 1 to {step}, the number "
                f"of steps (got {count})")


def leave_to_module(checkpoint: dict[str, Any],
                    optimizers: Sequence[Optimizer]) -> None:
    r"""Removes what Lightning would take from a checkpoint that follows from
    the number of steps and the settings of the run.
    """
    for name in ('loops', 'epoch', 'global_step'):
        checkpoint.pop(name, None)
    checkpoint['lr_schedulers'] = []
    for state, optimizer in zip(checkpoint['optimizer_states'], optimizers):
        state['param_groups'] = optimizer.state_dict()['param_groups']
