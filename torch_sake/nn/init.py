r"""Initialization of the linear maps, as in the official implementation
(flax's defaults): weights from a normal distribution of variance
:math:`1 / \text{fan-in}`, truncated at two standard deviations; zero biases.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.nn import Linear

Function = TypeVar('Function', bound=Callable[..., Any])

# Standard deviation of a unit normal distribution truncated to [-2, 2]:
TRUNCATED_STD = 0.87962566103423978


def reset_linear(linear: Linear, fan_in: int | None = None) -> None:
    r"""Resets a linear map.

    Args:
        linear (torch.nn.Linear): The map.
        fan_in (int, optional): Number of inputs of the whole map of which
            :obj:`linear` is a part. (default: its own number of inputs)
    """
    std = 1 / math.sqrt(fan_in or linear.in_features) / TRUNCATED_STD
    torch.nn.init.trunc_normal_(linear.weight, std=std, a=-2 * std, b=2 * std)
    if linear.bias is not None:
        torch.nn.init.zeros_(linear.bias)


def is_linear(module: torch.nn.Module) -> bool:
    r"""Returns whether a module is a linear map without a way of its own to
    be reset.
    """
    return (isinstance(module, Linear)
            and type(module).reset_parameters is Linear.reset_parameters)


def reset(module: torch.nn.Module, fan_in: int | None = None) -> None:
    r"""Resets the linear maps of a module, which may be one, and all else in
    the way of its own, such as what a user has put in the place of one.

    Args:
        module (torch.nn.Module): The module.
        fan_in (int, optional): As that of :func:`reset_linear`, if the module
            is a linear map. (default: :obj:`None`)
    """
    if is_linear(module):
        reset_linear(module, fan_in)
    elif hasattr(module, 'reset_parameters'):
        module.reset_parameters()
    else:
        for child in module.children():
            reset(child)


def shrink_last(module: torch.nn.Module, gain: float) -> None:
    r"""Resets the last linear map of a perceptron to weights that are small,
    if the perceptron is still one.
    """
    maps = [child for child in module.children() if is_linear(child)]
    if isinstance(module, torch.nn.Sequential) and maps:
        torch.nn.init.xavier_uniform_(maps[-1].weight, gain=gain)


def draws_in_single_precision(function: Function) -> Function:
    r"""Has the constructor of a module draw the weights that a seed gives in
    single precision, whatever the default type is. Parameters have this type
    afterwards.
    """
    @functools.wraps(function)
    def construct(module: torch.nn.Module, *args: Any, **kwargs: Any) -> None:
        default = torch.get_default_dtype()
        if default == torch.float:
            return function(module, *args, **kwargs)
        torch.set_default_dtype(torch.float)
        try:
            function(module, *args, **kwargs)
        finally:
            torch.set_default_dtype(default)
        for parameter in module.parameters():
            if parameter.dtype == torch.float:
                parameter.data = parameter.data.to(default)

    return construct
