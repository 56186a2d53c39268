from collections.abc import Iterable

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
