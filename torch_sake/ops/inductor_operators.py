r"""Operators that torch's compiler calls and has no ideas about."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch._inductor.ir import ExternKernel
from torch._inductor.lowering import register_lowering

from torch_sake.ops.linear import onednn_linear

_library = torch.library.Library('torch_sake', 'FRAGMENT')


def _define(schema: str, function: Callable, fake: Callable) -> None:
    name = schema.partition('(')[0]
    _library.define(schema)
    _library.impl(name, function, 'CPU')
    torch.library.register_fake(f'torch_sake::{name}', fake, lib=_library)


def _copy_in_rows(x: Tensor) -> Tensor:
    return torch.clone(x, memory_format=torch.contiguous_format)


_define('linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor',
        onednn_linear,
        lambda x, weight, bias: x.new_empty(x.size(0), weight.size(0)))
_define('index_add(Tensor x, Tensor index, Tensor values) -> Tensor',
        lambda x, index, values: x.index_add(0, index, values),
        lambda x, index, values: torch.empty_like(x))
_define('in_rows(Tensor x) -> Tensor', _copy_in_rows, _copy_in_rows)


# This one is there for the compiler alone, which has it call nothing.
@register_lowering(torch.ops.torch_sake.in_rows.default,
                   type_promotion_kind=None)
def _(x):
    return ExternKernel.require_contiguous(x)
