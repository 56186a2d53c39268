r"""What edges read from nodes."""

import torch
from torch import Tensor

_library = torch.library.Library('torch_sake', 'FRAGMENT')
_library.define('gather(Tensor x, Tensor index) -> Tensor')
_library.define('spread(Tensor x, Tensor index, SymInt num_nodes) -> Tensor')


def gather_nodes(x: Tensor, index: Tensor) -> Tensor:
    r"""Returns the rows :obj:`index` of :obj:`x`.

    Left alone, the compiler of torch 2.13 makes the derivative of six layers
    that move their nodes such that it reads the sums of edges too early, and
    returns wrong numbers without a word. Within :func:`torch.compile` this is
    therefore an operator it does not look into (which does not help torch 2.10
    and before). Where a derivative is taken inside, by :mod:`torch.func`, such
    operators are unknown; :meth:`torch_sake.Potential.compile` has other
    means.

    Shapes:
        - **input:** values :math:`(N, D)`, indices :math:`(E)`
        - **output:** values :math:`(E, D)`
    """
    if (torch.compiler.is_compiling() and x.device.type == 'cpu'
            and not torch._C._are_functorch_transforms_active()
            and not torch.compiler.is_exporting()):
        return torch.ops.torch_sake.gather(x, index)
    return x.index_select(0, index)


def _gather(x: Tensor, index: Tensor) -> Tensor:
    return x.index_select(0, index)


def _spread(x: Tensor, index: Tensor, num_nodes: int) -> Tensor:
    return x.new_zeros(num_nodes, x.size(1)).index_add(0, index, x)


# The derivative of each is the other.


def _keep_for_gather(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.num_nodes = inputs[0].size(0)


def _keep_for_spread(ctx, inputs, output) -> None:
    ctx.save_for_backward(inputs[1])


def _derivative_of_gather(ctx, grad: Tensor):
    return torch.ops.torch_sake.spread(grad, *ctx.saved_tensors,
                                       ctx.num_nodes), None


def _derivative_of_spread(ctx, grad: Tensor):
    return torch.ops.torch_sake.gather(grad, *ctx.saved_tensors), None, None


for name, function, derivative, keep in (
    ('gather', _gather, _derivative_of_gather, _keep_for_gather),
    ('spread', _spread, _derivative_of_spread, _keep_for_spread),
):
    _library.impl(name, function, 'CompositeExplicitAutograd')
    torch.library.register_autograd(f'torch_sake::{name}', derivative,
                                    setup_context=keep, lib=_library)
torch.library.register_fake(
    'torch_sake::gather',
    lambda x, index: x.new_empty(index.size(0), x.size(1)), lib=_library)
torch.library.register_fake(
    'torch_sake::spread',
    lambda x, index, num_nodes: x.new_empty(num_nodes, x.size(1)),
    lib=_library)
