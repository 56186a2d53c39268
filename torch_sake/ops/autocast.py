import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

Function = TypeVar('Function', bound=Callable[..., Any])


def without_autocast(function: Function) -> Function:
    r"""Has a function of tensors, or a method of a module, compute in the
    precision that it is given or built in within :class:`torch.autocast`, too:
    positions and forces in half precision are not worth to have, and neither
    are edges found by them. What comes to a module in the type of autocast,
    from layers before, gets the type of its parameters.
    """
    @functools.wraps(function)
    def wrapper(*args, **kwargs) -> Any:
        device = 'cpu'
        for value in (*args, *kwargs.values()):
            if isinstance(value, Tensor):
                device = value.device.type
                break
        if device == 'meta' or not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        half = torch.get_autocast_dtype(device)
        dtype = type_of_parameters(args[0]) or half

        def cast(value: Any) -> Any:
            if isinstance(value, Tensor) and value.dtype == half:
                return value.to(dtype)
            return value

        with torch.autocast(device, enabled=False):
            return function(*map(cast, args), **{
                key: cast(value) for key, value in kwargs.items()})

    # Code of its own: torch compiles a piece of code a few times at most.
    wrapper.__code__ = wrapper.__code__.replace(co_name=function.__qualname__)
    return wrapper


def type_of_parameters(value: Any) -> torch.dtype | None:
    r"""Returns the type of the first parameter of a module, or :obj:`None` if
    it has none or is no module. The mask of an explainer is none of its own.
    """
    modules = value.modules() if isinstance(value, torch.nn.Module) else ()
    for module in modules:
        # Replicas, as DataParallel makes them, have former parameters.
        for parameters in (module._parameters,
                           getattr(module, '_former_parameters', {})):
            for name, parameter in parameters.items():
                if parameter is not None and name != '_edge_mask':
                    return parameter.dtype
    return None
