r"""Initialization of the linear maps, as in the official implementation
(flax's defaults): weights from a normal distribution of variance
:math:`1 / \text{fan-in}`, truncated at two standard deviations; zero biases.
"""

import math
from typing import Optional

import torch
from torch.nn import Linear

# Standard deviation of a unit normal distribution truncated to [-2, 2]:
TRUNCATED_STD = 0.87962566103423978


def reset_linear(linear: Linear, fan_in: Optional[int] = None) -> None:
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


def reset_linears(module: torch.nn.Module) -> None:
    r"""Resets every linear map of :obj:`module`."""
    for child in module.modules():
        if isinstance(child, Linear):
            reset_linear(child)
