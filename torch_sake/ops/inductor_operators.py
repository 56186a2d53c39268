r"""Operators that torch's compiler calls and has no ideas about."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch._inductor.ir import ExternKernel
from torch._inductor.lowering import register_lowering

from torch_sake.ops.linear import onednn_linear
from torch_sake.ops.segments import Segments, sort_edges

_library = torch.library.Library('torch_sake', 'FRAGMENT')


def _define(schema: str, function: Callable, fake: Callable) -> None:
    name = schema.partition('(')[0]
    _library.define(schema)
    _library.impl(name, function, 'CPU')
    torch.library.register_fake(f'torch_sake::{name}', fake, lib=_library)


def _sort_edges(index: Tensor, num_nodes: int) -> tuple[Tensor, Tensor]:
    segments = sort_edges(Segments(index, num_nodes))
    return segments.order, segments.offsets


def _sum_edges(values: Tensor, weights: Tensor | None, order: Tensor,
               offsets: Tensor) -> Tensor:
    if weights is not None:
        weights = weights.flatten().index_select(0, order)
    return torch.embedding_bag(values, order, offsets,
                               per_sample_weights=weights)[0]


def _copy_in_rows(x: Tensor) -> Tensor:
    return torch.clone(x, memory_format=torch.contiguous_format)


_define('linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor',
        onednn_linear,
        lambda x, weight, bias: x.new_empty(x.size(0), weight.size(0)))
_define('index_add(Tensor x, Tensor index, Tensor values) -> Tensor',
        lambda x, index, values: x.index_add(0, index, values),
        lambda x, index, values: torch.empty_like(x))
_define('sort_edges(Tensor index, SymInt num_nodes) -> (Tensor, Tensor)',
        _sort_edges,
        lambda index, num_nodes: (torch.empty_like(index),
                                  index.new_empty(num_nodes)))
_define('sum_edges(Tensor values, Tensor? weights, Tensor order, '
        'Tensor offsets) -> Tensor', _sum_edges,
        lambda values, weights, order, offsets: values.new_empty(
            offsets.size(0), values.size(1)))
_define('in_memory(Tensor x) -> Tensor', torch.clone, torch.empty_like)
_define('in_rows(Tensor x) -> Tensor', _copy_in_rows, _copy_in_rows)


# The last two are there for the compiler alone, which has them call nothing.


@register_lowering(torch.ops.torch_sake.in_memory.default,
                   type_promotion_kind=None)
def _(x):
    x.realize()
    return x


@register_lowering(torch.ops.torch_sake.in_rows.default,
                   type_promotion_kind=None)
def _(x):
    return ExternKernel.require_contiguous(x)
