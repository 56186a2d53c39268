r"""What torch's compiler is told to do in another way."""

import math
from typing import Any

import torch
from torch._inductor.custom_graph_pass import (
    CustomGraphPass,
    get_hash_for_files,
)
from torch.fx import Graph

# What compiled code follows from, of the time when this file was read:
_VERSION = get_hash_for_files((__file__, ))

# Sums of this many columns at most, such as the forces of all edges:
MAX_COLUMNS = 8

_library = torch.library.Library('torch_sake', 'FRAGMENT')
_library.define('index_add(Tensor x, Tensor index, Tensor values) -> Tensor')
_library.impl('index_add', lambda x, index, values: x.index_add(
    0, index, values), 'CPU')
torch.library.register_fake('torch_sake::index_add', lambda x, index, values:
                            torch.empty_like(x), lib=_library)


class NarrowSums(CustomGraphPass):
    r"""Has sums over edges of few columns computed by an operator that torch's
    compiler has no ideas about. Else it makes them part of other loops, and
    torch 2.13 reads the sums of the forces on moved atoms too early then, and
    silently returns wrong forces.
    """
    def __call__(self, graph: Graph) -> None:
        for node in graph.find_nodes(op='call_function',
                                     target=torch.ops.aten.index_put.default):
            x, indices, values, *accumulate = node.args
            out = node.meta['val']
            if (accumulate != [True] or len(indices) != 1
                    or out.device.type != 'cpu'
                    or math.prod(map(_hint, out.shape[1:])) > MAX_COLUMNS):
                continue
            with graph.inserting_before(node):
                total = graph.call_function(
                    torch.ops.torch_sake.index_add.default,
                    (x, indices[0], values))
            total.meta.update(node.meta)
            node.replace_all_uses_with(total)
            graph.erase_node(node)

    def uuid(self) -> Any:
        return _VERSION


def _hint(size: int | torch.SymInt) -> int:
    r"""Returns a size, or an example of a dynamic one: a comparison of the
    latter would be a reason to compile again.
    """
    return size if isinstance(size, int) else size.node.hint
