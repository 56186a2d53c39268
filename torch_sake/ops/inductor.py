r"""What torch's compiler is told to do in another way."""

import math
from typing import Any

import torch
from torch import Tensor
from torch._inductor.custom_graph_pass import (
    CustomGraphPass,
    get_hash_for_files,
)
from torch.fx import Graph, Node

from torch_sake.ops import inductor_operators, onednn
from torch_sake.ops.linear import MIN_MULTIPLICATIONS

aten, ours = torch.ops.aten, torch.ops.torch_sake

# What compiled code follows from, of the time when this file was read:
_VERSION = get_hash_for_files((__file__, inductor_operators.__file__))

# Sums of this many columns at most, such as the forces of all edges:
MAX_COLUMNS = 8


class OperatorsForCPU(CustomGraphPass):
    r"""Puts other operators in the place of some of those for the CPU:

    - sums over edges of few columns are not made part of other loops: torch
      2.13 reads the sums of the forces on moved atoms too early then, and
      silently returns wrong forces;
    - large products of matrices in single precision are oneDNN's where those
      of :class:`~torch_sake.ops.linear.Linear` are, with copies of transposed
      matrices, such as those of the derivatives of weights, made by loops.
    """
    def __call__(self, graph: Graph) -> None:
        for node in list(graph.nodes):
            value = node.meta.get('val')
            if not isinstance(value, Tensor) or value.device.type != 'cpu':
                continue
            if node.target is aten.index_put.default:
                _replace_sum(node, *node.args)
            elif node.target is aten.mm.default:
                _replace_product(node, None, *node.args)
            elif node.target is aten.addmm.default and not node.kwargs:
                _replace_product(node, *node.args)
        graph.eliminate_dead_code()

    def uuid(self) -> Any:
        # A folder of compiled code may be shared by different processors.
        return _VERSION, onednn.is_faster()


def _call(graph: Graph, target: Any, args: tuple, like: Tensor) -> Node:
    node = graph.call_function(target, args)
    node.meta['val'] = like
    return node


def _replace_sum(node: Node, x: Node, indices: Any, values: Node,
                 accumulate: bool = False) -> None:
    out = node.meta['val']
    if (accumulate and len(indices) == 1
            and math.prod(map(_hint, out.shape[1:])) <= MAX_COLUMNS):
        with node.graph.inserting_before(node):
            _replace(node, _call(node.graph, ours.index_add.default,
                                 (x, indices[0], values), out))


def _replace_product(node: Node, added: Node | None, left: Node,
                     right: Node) -> None:
    value = node.meta['val']
    multiplications = math.prod(map(_hint, (
        *value.shape, left.meta['val'].size(1))))
    if (value.dtype != torch.float or multiplications < MIN_MULTIPLICATIONS
            or not onednn.is_faster()):
        return
    bias = None  # of all rows; anything else is added in a step of its own
    if added is not None and added.meta['val'].dim() == 1:
        bias, added = added, None
    graph = node.graph
    with graph.inserting_before(node):
        left = _in_rows(left)
        weight = _call(graph, aten.permute.default, (right, [1, 0]),
                       right.meta['val'].t())
        product = _call(graph, ours.linear.default, (left, weight, bias),
                        value)
        if added is not None:
            product = _call(graph, aten.add.Tensor, (product, added), value)
    _replace(node, product)


def _in_rows(node: Node) -> Node:
    r"""Returns a matrix with its rows one after the other in memory: where
    they are not, oneDNN is given a copy, which compiled loops make in less
    time.
    """
    value = node.meta['val']
    # As text, as comparisons of dynamic sizes are:
    if list(map(str, value.stride())) == [str(value.size(1)), '1']:
        return node
    return _call(node.graph, ours.in_rows.default, (node, ),
                 value.new_empty(value.shape))


def _hint(size: int | torch.SymInt) -> int:
    r"""Returns a size, or an example of a dynamic one: a comparison of the
    latter would be a reason to compile again.
    """
    return size if isinstance(size, int) else size.node.hint


def _replace(node: Node, other: Node) -> None:
    other.meta.update(node.meta)
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)
