import contextlib
import threading
from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn.functional import linear

from torch_sake.ops import onednn
from torch_sake.ops.plain import plain_operators_needed

# From so many multiplications on, oneDNN makes up for what it costs to call it
# in this way:
MIN_MULTIPLICATIONS = 1 << 21

_state = threading.local()


class constant_weights:
    r"""Within this context, if :obj:`constant`, linear maps have no
    derivatives with respect to their weights, and nothing is computed or kept
    for these. It may be entered again and again.
    """
    def __init__(self, constant: bool = True):
        self.constant = constant
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_weights_are_constant())
        _state.constant = self.constant

    def __exit__(self, *error) -> None:
        _state.constant = self._before.pop()


def contexts_of_checkpoint() -> tuple[
        AbstractContextManager, AbstractContextManager]:
    r"""Returns the contexts of :func:`torch.utils.checkpoint.checkpoint`: what
    is computed again, on a GPU by another thread, is to be the same.
    """
    return (contextlib.nullcontext(),
            constant_weights(_weights_are_constant()))


def _weights_are_constant() -> bool:
    return getattr(_state, 'constant', False)


class Linear(torch.nn.Linear):
    r"""The linear map of :class:`torch.nn.Linear`. Large ones in single
    precision on a CPU of AMD are products of oneDNN, which are as exact as
    those of MKL, torch's choice, and faster there. Compiled ones are left to
    torch.

    Args:
        in_features (int): Size of the inputs.
        out_features (int): Size of the outputs.
        bias (bool, optional): If set to :obj:`False`, there is no bias.
            (default: :obj:`True`)
    """
    def forward(self, x: Tensor) -> Tensor:
        """"""
        return linear_map(x, self.weight, self.bias)


def linear_map(x: Tensor, weight: Tensor,
               bias: Tensor | None = None) -> Tensor:
    r"""Returns what a :class:`Linear` of these parameters, or of a part of
    them, returns.
    """
    if torch.compiler.is_compiling():
        return linear(x, weight, bias)
    if _weights_are_constant():
        weight = weight.detach()
        bias = None if bias is None else bias.detach()
    if (plain_operators_needed(x) or x.dtype != torch.float
            or x.numel() * weight.size(0) < MIN_MULTIPLICATIONS
            or not onednn.is_faster()):
        return linear(x, weight, bias)
    return _Linear.apply(x, weight, bias)


def linear_parts(x: Tensor, lin: Linear, chunks: int) -> tuple[Tensor, ...]:
    r"""Returns the output of a linear map with bias in parts of equal size.
    Compiled, they are maps of their own: one part of a single product would
    keep the memory of all.
    """
    if not torch.compiler.is_compiling():
        return lin(x).chunk(chunks, dim=-1)
    parts = zip(lin.weight.chunk(chunks), lin.bias.chunk(chunks))
    return tuple(linear(x, weight, bias) for weight, bias in parts)


def onednn_linear(x: Tensor, weight: Tensor,
                  bias: Tensor | None) -> Tensor:
    r"""Returns the linear map, without derivatives."""
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')


class _Linear(Function):
    r"""Its derivatives are linear maps again."""
    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor,
                bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return onednn_linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_x = linear_map(grad, weight.t())
        if ctx.needs_input_grad[1]:
            rows = (x.reshape(-1, x.size(-1)).t(),
                    grad.reshape(-1, grad.size(-1)).t())
            # The first factor is copied: let it be the smaller one.
            if x.size(-1) < grad.size(-1):
                grad_weight = linear_map(*rows).t()
            else:
                grad_weight = linear_map(*reversed(rows))
        if ctx.needs_input_grad[2]:
            grad_bias = grad.reshape(-1, grad.size(-1)).sum(dim=0)
        return grad_x, grad_weight, grad_bias
