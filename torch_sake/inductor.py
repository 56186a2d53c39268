r"""What torch's compiler is told to do in another way."""

import math
from typing import Any, Optional, Union

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import (CustomGraphPass,
                                               get_hash_for_files)
from torch.fx import Graph, Node

from torch_sake.nn.linear import MIN_MULTIPLICATIONS, onednn_linear

# What compiled code follows from, of the time when this file was read:
_VERSION = get_hash_for_files((__file__, ))

# Sums of this many columns at most, such as the forces of all edges:
MAX_COLUMNS = 8

# Operators that the compiler has no ideas about:
_library = torch.library.Library('torch_sake', 'DEF')
_library.define('linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor')
_library.define('index_add(Tensor x, Tensor index, Tensor values) -> Tensor')
_library.impl('linear', onednn_linear, 'CPU')
_library.impl('index_add', lambda x, index, values: x.index_add(
    0, index, values), 'CPU')


@torch.library.register_fake('torch_sake::linear', lib=_library)
def _(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:
    return x.new_empty(x.size(0), weight.size(0))


@torch.library.register_fake('torch_sake::index_add', lib=_library)
def _(x: Tensor, index: Tensor, values: Tensor) -> Tensor:
    return torch.empty_like(x)


class OperatorsForCPU(CustomGraphPass):
    r"""Puts other operators in the place of some of those for the CPU:

    - large products of matrices in single precision are oneDNN's, as those of
      :class:`~torch_sake.nn.linear.Linear` are;
    - sums over edges of few columns are not made part of other loops: torch
      2.13 reads the sums of the forces on moved atoms too early then, and
      silently returns wrong forces. There is little to gain from them, either.
    """
    def __call__(self, graph: Graph) -> None:
        aten = torch.ops.aten
        for node in list(graph.nodes):
            if node.op != 'call_function' or not isinstance(
                    node.meta.get('val'), Tensor) or (
                        node.meta['val'].device.type != 'cpu'):
                continue
            if node.target is aten.mm.default:
                _replace_product(node, None, *node.args)
            elif node.target is aten.addmm.default and not node.kwargs:
                _replace_product(node, *node.args)
            elif node.target is aten.index_put.default:
                _replace_sum(node, *node.args)

    def uuid(self) -> Any:
        return _VERSION


def _replace_product(node: Node, added: Optional[Node], left: Node,
                     right: Node) -> None:
    value, aten = node.meta['val'], torch.ops.aten
    multiplications = math.prod(map(_hint, (
        *value.shape, left.meta['val'].size(1))))
    if (value.dtype != torch.float or multiplications < MIN_MULTIPLICATIONS
            or not torch.backends.mkldnn.is_available()):
        return
    bias = None  # of all rows; anything else is added in a step of its own
    if added is not None and added.meta['val'].dim() == 1:
        bias, added = added, None
    graph = node.graph
    with graph.inserting_before(node):
        weight = graph.call_function(aten.permute.default, (right, [1, 0]))
        weight.meta['val'] = right.meta['val'].t()
        product = graph.call_function(torch.ops.torch_sake.linear.default,
                                      (left, weight, bias))
        if added is not None:
            product.meta['val'] = value
            product = graph.call_function(aten.add.Tensor, (product, added))
    _replace(node, product)


def _replace_sum(node: Node, x: Node, indices: Any, values: Node,
                 accumulate: bool = False) -> None:
    columns = math.prod(map(_hint, node.meta['val'].shape[1:]))
    if not accumulate or len(indices) != 1 or columns > MAX_COLUMNS:
        return
    with node.graph.inserting_before(node):
        total = node.graph.call_function(
            torch.ops.torch_sake.index_add.default, (x, indices[0], values))
    _replace(node, total)


def _hint(size: Union[int, torch.SymInt]) -> int:
    r"""Returns a size, or an example of a dynamic one: a comparison of the
    latter would be a reason to compile again.
    """
    return size if isinstance(size, int) else size.node.hint


def _replace(node: Node, other: Node) -> None:
    other.meta.update(node.meta)
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)
