r"""The kernels of :mod:`torch_sake.ops.spatial_attention_triton` as operators
of torch, and their derivatives.
"""

from typing import NamedTuple

import torch
import triton
from torch import Tensor
from torch.autograd import Function

from torch_sake.ops.spatial_attention_triton import (
    edge_kernel,
    node_kernel,
    weight_kernel,
)

Gradients = tuple[Tensor, Tensor, Tensor]

# Triton's interpreter runs kernels on tensors of the CPU:
INTERPRETED = not isinstance(node_kernel, triton.runtime.JITFunction)

# What fits into the registers and the shared memory of a GPU:
MAX_CHANNELS, MAX_HEADS, MAX_DIMENSIONS = 256, 64, 16

# Edges and combinations of a step, and pieces of the products: such that
# kernels of the default sizes fit (tests/nn/test_spatial_attention_fits.py).
BLOCK_E, BLOCK_C, BLOCK_K = 32, 32, 16
WARPS = 8
ROWS = 16  # nodes times dimensions, at least
# The derivatives of weights hold all channels and heads of the default sizes,
# or z would be computed for each part of them:
WEIGHT_E, WEIGHT_K = 16, 256
# Derivatives of weights are sums of so many parts at most, each of the size of
# the weights and of a fixed share of the edges: atomic sums have no order.
MAX_PARTS = 32


def serve(embedding: Tensor, attention: Tensor, direction: Tensor) -> bool:
    r"""Returns whether there are kernels for these tensors."""
    values = (embedding, attention, direction)
    return ((embedding.is_cuda or INTERPRETED)
            and all(value.dtype == torch.float for value in values)
            and embedding.size(1) <= MAX_CHANNELS
            and attention.size(1) <= MAX_HEADS
            and direction.size(1) <= MAX_DIMENSIONS)


class Blocks(NamedTuple):
    r"""The sizes of the blocks of all kernels, powers of two."""
    F: int
    H: int
    D: int


def _blocks(embedding: Tensor, attention: Tensor, direction: Tensor) -> Blocks:
    return Blocks(max(triton.next_power_of_2(embedding.size(1)), 16),
                  triton.next_power_of_2(attention.size(1)),
                  triton.next_power_of_2(direction.size(1)))


def _precision() -> str:
    r"""TF32 is for those who have asked for it, as in torch's products."""
    return ('ieee' if torch.get_float32_matmul_precision() == 'highest' else
            'tf32')


@torch.library.custom_op('torch_sake::combinations', mutates_args=())
def node_sums(
    embedding: Tensor, attention: Tensor, direction: Tensor, weight: Tensor,
    index: Tensor, order: Tensor, offsets: Tensor,
    d_embedding: Tensor | None, d_attention: Tensor | None,
    d_direction: Tensor | None, d_weight: Tensor | None,
) -> Tensor:
    r"""Returns the sums :math:`(N, D, C)`."""
    num_nodes, C, D = offsets.numel(), weight.size(0), direction.size(1)
    out = direction.new_empty(num_nodes, D, C)
    if out.numel() == 0:
        return out
    block = _blocks(embedding, attention, direction)
    rows = max(ROWS, block.D)
    grid = (triton.cdiv(num_nodes, rows // block.D), triton.cdiv(C, BLOCK_C))
    with torch.cuda.device_of(out):
        node_kernel[grid](
            *_contiguous(embedding, attention, direction, weight, d_embedding,
                         d_attention, d_direction, d_weight, order, offsets),
            out, num_nodes, order.numel(), C, D, F=embedding.size(1),
            H=attention.size(1), ROWS=rows, BLOCK_E=BLOCK_E, BLOCK_C=BLOCK_C,
            BLOCK_D=block.D, BLOCK_K=BLOCK_K, PRECISION=_precision(),
            num_warps=WARPS)
    return out


@node_sums.register_fake
def _(embedding, attention, direction, weight, index, order, offsets, *_):
    return direction.new_empty(offsets.size(0), direction.size(1),
                               weight.size(0))


@torch.library.custom_op('torch_sake::combinations_by_edge', mutates_args=())
def edge_gradients(
    grad: Tensor, embedding: Tensor, attention: Tensor, direction: Tensor,
    weight: Tensor, index: Tensor, order: Tensor, offsets: Tensor,
    d_embedding: Tensor | None, d_attention: Tensor | None,
    d_direction: Tensor | None, d_weight: Tensor | None,
) -> Gradients:
    r"""Returns the derivatives with respect to what edges have."""
    inputs = _contiguous(grad, embedding, attention, direction, weight,
                         d_embedding, d_attention, d_direction, d_weight,
                         index, order)
    out = tuple(torch.empty_like(value) for value in inputs[1:4])
    num_edges, C, D = order.numel(), weight.size(0), direction.size(1)
    if num_edges == 0:
        return out
    block = _blocks(embedding, attention, direction)
    with torch.cuda.device_of(grad):
        edge_kernel[(triton.cdiv(num_edges, BLOCK_E), )](
            *inputs, *out, num_edges, C, D, F=embedding.size(1),
            H=attention.size(1), BLOCK_E=BLOCK_E, BLOCK_C=BLOCK_C,
            BLOCK_D=block.D, BLOCK_F=block.F, BLOCK_H=block.H,
            BLOCK_K=BLOCK_K, PRECISION=_precision(),
            num_warps=WARPS)
    return out


@edge_gradients.register_fake
def _(grad, embedding, attention, direction, *_):
    return tuple(value.new_empty(value.shape)
                 for value in (embedding, attention, direction))


@torch.library.custom_op('torch_sake::combinations_by_weight', mutates_args=())
def weight_gradient(
    grad: Tensor, embedding: Tensor, attention: Tensor, direction: Tensor,
    weight: Tensor, index: Tensor, order: Tensor, offsets: Tensor,
    d_embedding: Tensor | None, d_attention: Tensor | None,
    d_direction: Tensor | None, d_weight: Tensor | None,
) -> Tensor:
    r"""Returns the derivative with respect to the weight."""
    num_edges, D, (C, K) = order.numel(), direction.size(1), weight.shape
    if num_edges == 0:
        return weight.new_zeros(C, K)
    block = _blocks(embedding, attention, direction)
    parts = min(triton.cdiv(num_edges, 8 * WEIGHT_E), MAX_PARTS)
    out = weight.new_empty(parts, C, K)
    columns = min(max(triton.next_power_of_2(K), 16), WEIGHT_K)
    grid = (triton.cdiv(C, BLOCK_C), triton.cdiv(K, columns), parts)
    with torch.cuda.device_of(grad):
        weight_kernel[grid](
            *_contiguous(grad, embedding, attention, direction, weight,
                         d_embedding, d_attention, d_direction, d_weight,
                         index, order),
            out, num_edges, triton.cdiv(num_edges, parts), C, D,
            F=embedding.size(1), H=attention.size(1), BLOCK_E=WEIGHT_E,
            BLOCK_C=BLOCK_C, BLOCK_D=block.D, BLOCK_K=BLOCK_K,
            BLOCK_M=columns, PRECISION=_precision(),
            num_warps=WARPS)
    return out.sum(dim=0)


@weight_gradient.register_fake
def _(grad, embedding, attention, direction, weight, *_):
    return weight.new_empty(weight.shape)


def _contiguous(*values: Tensor | None) -> tuple[Tensor | None, ...]:
    return tuple(None if value is None else value.contiguous()
                 for value in values)


# Operators and derivatives are apart: what torch.library.register_autograd
# makes of them fails under torch.func.grad. Compilers have to leave the
# function as it is: where they look into it, torch 2.13 loses some of its
# second derivatives without a word.


@torch.compiler.allow_in_graph
def fused_combinations(
    embedding: Tensor, attention: Tensor, direction: Tensor, weight: Tensor,
    index: Tensor, order: Tensor, offsets: Tensor,
) -> Tensor:
    r"""Returns :func:`torch_sake.nn.spatial_attention.sum_combinations` of
    tensors on a GPU in single precision. It can be differentiated twice.
    """
    return _Combinations.apply(embedding, attention, direction, weight, index,
                               order, offsets)


class _Combinations(Function):
    @staticmethod
    def forward(*inputs: Tensor) -> Tensor:
        return node_sums(*inputs, None, None, None, None)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        by_edge, by_weight = (None, None, None), None
        if any(ctx.needs_input_grad[:3]):
            by_edge = _EdgeGradients.apply(grad, *inputs)
        if ctx.needs_input_grad[3]:
            by_weight = _WeightGradient.apply(grad, *inputs)
        return *by_edge, by_weight, None, None, None


class _EdgeGradients(Function):
    @staticmethod
    def forward(*inputs: Tensor) -> Gradients:
        return edge_gradients(*inputs, None, None, None, None)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, ...],
                      output: Gradients) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, *direction: Tensor) -> tuple[Tensor | None, ...]:
        return _second_derivatives(ctx, *direction, None)


class _WeightGradient(Function):
    @staticmethod
    def forward(*inputs: Tensor) -> Tensor:
        return weight_gradient(*inputs, None, None, None, None)

    @staticmethod
    def setup_context(ctx, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, direction: Tensor) -> tuple[Tensor | None, ...]:
        return _second_derivatives(ctx, None, None, None, direction)


def _second_derivatives(
        ctx, *direction: Tensor | None) -> tuple[Tensor | None, ...]:
    r"""Returns the first derivatives of the change along a direction."""
    grad, *inputs = ctx.saved_tensors
    needed = ctx.needs_input_grad
    by_grad, by_edge, by_weight = None, (None, None, None), None
    if needed[0]:
        by_grad = node_sums(*inputs, *direction)
    if any(needed[1:4]):
        by_edge = edge_gradients(grad, *inputs, *direction)
    if needed[4]:
        by_weight = weight_gradient(grad, *inputs, *direction)
    return by_grad, *by_edge, by_weight, None, None, None
