r"""Compiled functions, and how they are looked at before they are trusted."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

# Of a compiled function in one process, for all models together:
MAX_VERSIONS = 128


class _Indexing(TorchFunctionMode):
    r"""Has :meth:`torch.Tensor.index_select` done by indexing."""
    def __torch_function__(self, function: Callable, types: Any, args: tuple,
                           kwargs: dict[str, Any] | None = None) -> Any:
        if function is Tensor.index_select:
            function = _select
        return function(*args, **(kwargs or {}))


def _select(x: Tensor, dim: int, index: Tensor) -> Tensor:
    return x[(slice(None), ) * (dim % x.dim()) + (index, )]


@functools.cache
def by_indexing(function: Callable) -> Callable:
    r"""Returns the function in which elements are selected by indexing: before
    2.13, torch fails at the derivative of index_select for dynamic sizes by
    :func:`torch.func.grad`.
    """
    def wrapper(*args, **kwargs):
        with _Indexing():
            return function(*args, **kwargs)
    return wrapper


@functools.cache
def compile_function(function: Callable) -> Callable:
    r"""Returns the compiled function, for all sizes of its inputs."""
    # Here, as it takes a second to import the compiler:
    from torch_sake.ops.compiler_cache import remove_broken_libraries
    from torch_sake.ops.inductor import NarrowSums

    remove_broken_libraries()
    limit = {}
    # Every model with layers of other sizes is one more version of the
    # function, of which torch allows eight, or more where it can be told so:
    if 'recompile_limit' in inspect.signature(torch.compile).parameters:
        limit['recompile_limit'] = MAX_VERSIONS
    options = {
        'post_grad_custom_post_pass': NarrowSums(),
        # Loops of several threads would sum over edges by atomic operations:
        # in an order by chance, so that a seed fixes no run, and at several
        # times the time. Products of matrices have all threads.
        'cpp.threads': 1,
    }
    # Kept here, not by potentials, which can be copied and pickled then.
    return torch.compile(function, dynamic=True, fullgraph=True,
                         options=options, **limit)


def verify(compiled: Callable, function: Callable,
           parameters: list[Tensor]) -> None:
    r"""Raises an error if a compiled function returns something else than the
    function, or has other derivatives with respect to parameters that learn.
    """
    learning = [value for value in parameters if value.requires_grad]
    results = []
    for call in (compiled, function):
        outputs = call()
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        values = [output.detach() for output in outputs]
        if outputs[0].requires_grad:
            # Of a sum in which every number has a weight of its own:
            total = sum((output * torch.linspace(
                0.5, 1.5, output.numel(), dtype=output.dtype,
                device=output.device).view_as(output)).sum()
                for output in outputs)
            values += torch.autograd.grad(total, learning,
                                          materialize_grads=True)
        results.append(values)
    for value, expected in zip(*results):
        tolerance = torch.finfo(parameters[0].dtype).eps**0.5
        error = (value - expected).abs().max() if value.numel() else 0
        scale = expected.abs().max() if value.numel() else 1
        if not error <= tolerance * scale + tolerance:
            raise RuntimeError(f'the compiled function differs by '
                               f'{float(error):.2g} in values up to '
                               f'{float(scale):.2g}')
