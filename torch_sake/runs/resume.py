r"""What a run goes on from, and what a checkpoint must hold for that."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

import torch
from packaging.version import InvalidVersion, Version
from torch import Tensor
from torch.optim import Adam, AdamW, Optimizer

from torch_sake.optim.muon import Muon
from torch_sake.utils.checks import check_tensor
from torch_sake.utils.entries import Count, FiniteFloat, check_entry, shown
from torch_sake.utils.weights import check_tensors

# What optimizers keep for each parameter; a step is a number.
KEPT = {Adam: ('step', 'exp_avg', 'exp_avg_sq'),
        AdamW: ('step', 'exp_avg', 'exp_avg_sq'),
        Muon: ('momentum_buffer', )}
# Older ones of Lightning are of other files:
LIGHTNING = Version('2')


def check_version(name: str, value: str) -> None:
    try:
        known = Version(value) >= LIGHTNING
    except InvalidVersion:
        known = False
    if not known:
        raise ValueError(f"'{name}' must be a version from {LIGHTNING} on "
                         f"(got {shown(value)})")


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
    r"""What a checkpoint that a run goes on from must hold."""
    losses: Annotated[Tensor, lambda name, value: check_tensor(
        name, value, ('N', ))]


def check_run(checkpoint: Mapping[str, Any], hint: Any, last_step: int,
              weights: Mapping[str, torch.nn.Module],
              optimizers: Sequence[Optimizer]) -> None:
    r"""Checks that a checkpoint is one that a run can go on from.

    Args:
        checkpoint (dict): The checkpoint.
        hint (type): What it must hold.
        last_step (int): The number of steps of the whole run.
        weights (dict): The modules whose tensors it has, by their entries.
        optimizers (list): The optimizers.

    Raises:
        TypeError, ValueError: If it is not. The error has the entry.
    """
    check_entry('', dict(checkpoint), hint)
    step = checkpoint['step']
    if step > last_step or any(row['step'] > step
                               for row in checkpoint['history']):
        raise ValueError(f"'step' must be at most the number of steps, "
                         f"{last_step}, and not before the history "
                         f"(got {step})")
    for name, module in weights.items():
        check_tensors(checkpoint[name], module.state_dict(), f'{name}.')
    states = checkpoint['optimizer_states']
    if len(states) != len(optimizers):
        raise ValueError(f"'optimizer_states' must be of {len(optimizers)} "
                         f"optimizers (got {len(states)})")
    for index, (state, optimizer) in enumerate(zip(states, optimizers)):
        _check_optimizer(f'optimizer_states.{index}.state', state['state'],
                         optimizer, step)


def _check_optimizer(name: str, state: dict[int, Weights],
                     optimizer: Optimizer, step: int) -> None:
    parameters = [parameter for group in optimizer.param_groups
                  for parameter in group['params']]
    # Those without a gradient have none.
    for number, found in state.items():
        if not 0 <= number < len(parameters):
            raise ValueError(f"'{name}' must be of {len(parameters)} "
                             f"parameters (got number {number})")
        like = parameters[number].detach()
        count = torch.zeros(())
        check_tensors(found, {
            key: count if key == 'step' else like
            for key in KEPT[type(optimizer)]}, f'{name}.{number}.')
        if 'step' in found and not 1 <= found['step'] <= step:
            raise ValueError(f"'{name}.{number}.step' must be from 1 to "
                             f"{step}, the number of steps "
                             f"(got {float(found['step'])})")


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
