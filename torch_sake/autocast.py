import functools
from typing import Any, Callable

import torch
from torch import Tensor


def without_autocast(function: Callable) -> Callable:
    r"""Has a function of tensors compute in the precision that it is given or
    built in within :class:`torch.autocast`, too: positions and forces in half
    precision are not worth to have, and neither are edges found by them. What
    comes in the type of autocast, from layers before, becomes single
    precision.
    """
    @functools.wraps(function)
    def wrapper(*args, **kwargs) -> Any:
        device = next((value.device.type for value in (*args, *kwargs.values())
                       if isinstance(value, Tensor)), 'cpu')
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        half = torch.get_autocast_dtype(device)

        def cast(value: Any) -> Any:
            if isinstance(value, Tensor) and value.dtype == half:
                return value.float()
            return value

        with torch.autocast(device, enabled=False):
            return function(*map(cast, args), **{
                key: cast(value) for key, value in kwargs.items()})
    return wrapper
