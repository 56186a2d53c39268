from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def with_zero_derivatives(x: Tensor,
                          parameters: Iterable[Tensor]) -> Tensor:
    r"""Returns :obj:`x`, which has derivatives with respect to all of the
    parameters: zero for those that it does not depend on, in the place of
    none. :class:`torch.nn.parallel.DistributedDataParallel` waits for a
    derivative of each.
    """
    if not torch.is_grad_enabled():
        return x
    nothing = [parameter.flatten()[:0] for parameter in parameters]
    return x + torch.cat(nothing).sum() if nothing else x


def usable(value: Any) -> Any:
    r"""Tensors made in inference mode cannot take part in a derivative: copies
    of them can, here also of those in tuples and dictionaries.
    """
    if isinstance(value, tuple):
        return tuple(map(usable, value))
    if isinstance(value, dict):
        return {key: usable(entry) for key, entry in value.items()}
    if isinstance(value, Tensor) and value.is_inference():
        return value.clone()
    return value
