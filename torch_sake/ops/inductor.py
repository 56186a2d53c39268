r"""What torch's compiler is told to do in another way."""

import math
import operator
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
# From so many on, an operator for them is worth to write what is summed:
MIN_COLUMNS = 128

# tanh(x) = x P(x^2) / Q(x^2) up to this |x|, beyond which it is 1: the fit of
# least maximal relative error, 2e-8 (3e-7 in single precision).
TANH_RANGE = 9.0
TANH_NUMERATOR = (0.9999999794536973, 0.13381034736180603,
                  0.0034955988077183787, 2.0609251220899222e-05,
                  1.3354878487304522e-08)
TANH_DENOMINATOR = (1.0, 0.46714350331417565, 0.025877023171935697,
                    0.00032856520151774494, 7.776650947949113e-07)

VIEWS = {aten.view.default, aten.unsqueeze.default, aten.squeeze.dim,
         aten.squeeze.dims, aten.expand.default, aten.permute.default,
         aten.select.int, aten.slice.Tensor, aten.split.Tensor,
         aten.split_with_sizes.default, aten.unbind.int, operator.getitem}
GATHERS = {aten.index.Tensor, aten.index_select.default, aten.gather.default}


class OperatorsForCPU(CustomGraphPass):
    r"""Puts other operators in the place of some of those for the CPU:

    - the hyperbolic tangent in single precision is a fraction of polynomials,
      which takes two fifths of the time of a sigmoid;
    - sums over edges of tensors with a weight for each edge, of many columns,
      are those of :func:`torch.nn.functional.embedding_bag`, which take a
      quarter of the time of loops, after edges were sorted once for all;
    - sums over edges of few columns are not made part of other loops: torch
      2.13 reads the sums of the forces on moved atoms too early then, and
      silently returns wrong forces. There is little to gain from them, either;
    - large products of matrices in single precision are oneDNN's where those
      of :class:`~torch_sake.ops.linear.Linear` are, with copies of transposed
      matrices, such as those of the derivatives of weights, made by loops;
    - what a node has is computed once, before its edges read it, and what an
      edge has before its channels do, in place of again for each of them.
    """
    def __call__(self, graph: Graph) -> None:
        sorted_edges: dict = {}
        for node in filter(_is_tensor_of_cpu, list(graph.nodes)):
            if node.target is aten.tanh.default:
                _replace_tanh(node)
            elif node.target is aten.index_put.default:
                _replace_sum(node, sorted_edges, *node.args)
            elif node.target is aten.mm.default:
                _replace_product(node, None, *node.args)
            elif node.target is aten.addmm.default and not node.kwargs:
                _replace_product(node, *node.args)
        graph.eliminate_dead_code()
        for node in filter(_is_tensor_of_cpu, list(graph.nodes)):
            if _is_pointwise(node) or node.target in GATHERS:
                _compute_once(node)

    def uuid(self) -> Any:
        # A folder of compiled code may be shared by different processors.
        return _VERSION, onednn.is_faster()


def _call(graph: Graph, target: Any, args: tuple, like: Tensor) -> Node:
    node = graph.call_function(target, args)
    node.meta['val'] = like
    return node


def _replace_tanh(node: Node) -> None:
    x, graph = node.args[0], node.graph
    value = node.meta['val']
    if value.dtype != torch.float:
        return

    def polynomial(coefficients: tuple[float, ...]) -> Node:
        *rest, last = coefficients
        result = _call(graph, aten.mul.Scalar, (square, last), value)
        for i, coefficient in enumerate(reversed(rest)):
            if i > 0:
                result = _call(graph, aten.mul.Tensor, (result, square), value)
            result = _call(graph, aten.add.Scalar, (result, coefficient),
                           value)
        return result

    with graph.inserting_before(node):
        for bound, limit in ((TANH_RANGE, aten.minimum.default),
                             (-TANH_RANGE, aten.maximum.default)):
            bound = graph.call_function(
                aten.full.default, ([], bound),
                {'dtype': value.dtype, 'device': value.device})
            bound.meta['val'] = value.new_empty(())
            x = _call(graph, limit, (x, bound), value)
        square = _call(graph, aten.mul.Tensor, (x, x), value)
        above = _call(graph, aten.mul.Tensor,
                      (x, polynomial(TANH_NUMERATOR)), value)
        _replace(node, _call(graph, aten.div.Tensor, (
            above, polynomial(TANH_DENOMINATOR)), value))


def _replace_sum(node: Node, sorted_edges: dict, x: Node, indices: Any,
                 values: Node, accumulate: bool = False) -> None:
    if not accumulate or len(indices) != 1:
        return
    graph, index, out = node.graph, indices[0], node.meta['val']
    columns = math.prod(map(_hint, out.shape[1:]))
    if columns <= MAX_COLUMNS:
        with graph.inserting_before(node):
            _replace(node, _call(graph, ours.index_add.default,
                                 (x, index, values), out))
        return
    if (out.dim() != 2 or columns < MIN_COLUMNS
            or out.dtype not in (torch.float, torch.double)
            or index.meta['val'].dtype != torch.long
            or x.target is not aten.full.default or x.args[1] != 0):
        return
    terms = _weighted_terms(values, values.meta['val'])
    if not terms:
        return
    with graph.inserting_before(node):
        key = index, str(out.size(0))
        if key not in sorted_edges:
            val = index.meta['val']
            pair = graph.call_function(ours.sort_edges.default,
                                       (index, x.args[0][0]))
            pair.meta['val'] = (torch.empty_like(val),
                                val.new_empty(out.size(0)))
            sorted_edges[key] = tuple(
                _call(graph, operator.getitem, (pair, i), pair.meta['val'][i])
                for i in range(2))
        total = None
        for term, weights in terms:
            part = _call(graph, ours.sum_edges.default,
                         (term, weights, *sorted_edges[key]), out)
            total = part if total is None else _call(
                graph, aten.add.Tensor, (total, part), out)
        _replace(node, total)


def _weighted_terms(values: Node, like: Tensor) -> list[tuple[Node, Node]]:
    r"""Returns the terms of a sum of tensors, each of size and type of
    :obj:`like`, that have a weight for every row, or an empty list if
    :obj:`values` are none.
    """
    if values.target is aten.add.Tensor and not values.kwargs:
        parts = [_weighted_terms(part, like) if isinstance(part, Node) else []
                 for part in values.args]
        return sum(parts, []) if all(parts) else []
    if values.target is aten.mul.Tensor:
        for term, weights in (values.args, reversed(values.args)):
            if not (isinstance(term, Node) and isinstance(weights, Node)):
                continue
            if weights.target is aten.expand.default:
                weights = weights.args[0]
            if (_has_sizes(term, like, like.shape)
                    and _has_sizes(weights, like, (like.size(0), 1))):
                return [(term, weights)]
    return []


def _has_sizes(node: Node, like: Tensor, sizes: tuple) -> bool:
    # As text: to compare dynamic sizes would be a reason to compile again.
    value = node.meta['val']
    return value.dtype == like.dtype and (
        list(map(str, value.shape)) == list(map(str, sizes)))


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


def _compute_once(node: Node) -> None:
    for operand in node.all_input_nodes:
        while operand.target in VIEWS:
            operand = operand.args[0]
        if (isinstance(operand, Node) and _is_tensor(operand)
                and (_is_pointwise(operand) or operand.target in GATHERS)
                and operand.meta['val'].is_floating_point()
                and 1 < 2 * _numel(operand) <= _numel(node)):
            graph = node.graph
            with graph.inserting_after(operand):
                kept = graph.call_function(ours.in_memory.default,
                                           (operand, ))
            kept.meta.update(operand.meta)
            operand.replace_all_uses_with(
                kept, delete_user_cb=lambda user, kept=kept: user is not kept)


def _is_tensor(node: Node) -> bool:
    return node.op == 'call_function' and isinstance(
        node.meta.get('val'), Tensor)


def _is_tensor_of_cpu(node: Node) -> bool:
    return _is_tensor(node) and node.meta['val'].device.type == 'cpu'


def _is_pointwise(node: Node) -> bool:
    return torch.Tag.pointwise in getattr(node.target, 'tags', ())


def _numel(node: Node) -> int:
    return math.prod(map(_hint, node.meta['val'].shape))


def _hint(size: int | torch.SymInt) -> int:
    r"""Returns a size, or an example of a dynamic one: a comparison of the
    latter would be a reason to compile again.
    """
    return size if isinstance(size, int) else size.node.hint


def _replace(node: Node, other: Node) -> None:
    other.meta.update(node.meta)
    node.replace_all_uses_with(other)
    node.graph.erase_node(node)
