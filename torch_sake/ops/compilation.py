r"""Compiled functions of potentials and properties, and how they are looked at
before they are trusted.
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from torch_sake.models import MoleculeModel
from torch_sake.nn import SAKEConv
from torch_sake.nn.spatial_attention import HAS_TRITON
from torch_sake.utils.files import one_line
from torch_sake.utils.thread_lock import ThreadLock, one_thread_at_a_time

# Of a compiled function in one process, for all models together:
MAX_VERSIONS = 128


class Compilable(torch.nn.Module):
    r"""A module around a :obj:`model` that calls functions of itself compiled
    from :meth:`compile` on.
    """
    def __init__(self):
        super().__init__()
        self.compiled = False
        self._verified: set[tuple[Any, ...]] = set()
        self._lock = ThreadLock()

    def compile(self, kernels: bool = False) -> None:
        r"""Has energies and forces, or whatever it predicts, computed by
        compiled functions from now on, with :func:`torch.compile`, for
        inference and for training.

        They are compiled at the first call, which takes a good part of a
        minute, once for all numbers of atoms, edges and graphs; single graphs
        and calls under :class:`torch.no_grad` have functions of their own, and
        so have, in training, more and fewer than 4096 atoms or edges, sums of
        which torch writes in two ways.
        Neighbor lists are made outside of them. Positions that require
        gradients are not for them: compiled forces can be differentiated with
        respect to parameters only. Compilers have bugs: the first results, and
        in training their derivatives with respect to parameters, are compared
        with those of the model as it is. Where they differ, or where
        compilation fails, such as without a C++ compiler, there is one
        warning, and all goes on without it.

        Args:
            kernels (bool, optional): If set to :obj:`True`, compiled functions
                of :class:`~torch_sake.SAKE` on a GPU, in single precision,
                have kernels of this package in Triton for the spatial
                attention. They write no tensor of all edges and combinations;
                nobody has measured yet what this brings.
                (default: :obj:`False`)

        Raises:
            TypeError: If the model is none of this package: neighbor lists
                that a model makes in the middle cannot be compiled.
            ValueError: If there are to be kernels for a model that has no
                :class:`~torch_sake.SAKEConv`.
            ImportError: If there are to be kernels without Triton.
        """
        if not isinstance(self.model, MoleculeModel):
            raise TypeError(f"'model' must be SAKE or VectorSAKE to be "
                            f"compiled (got {type(self.model)})")
        convs = [module for module in self.model.modules()
                 if isinstance(module, SAKEConv)]
        if kernels and not convs:
            raise ValueError(f"'kernels' are there for SAKE only "
                             f"(got {type(self.model)})")
        if kernels and not HAS_TRITON:
            raise ImportError("'kernels' need Triton: pip install triton")
        for conv in convs:
            conv.kernels = kernels
        self.compiled = True

    def _takes_compiled(self, pos: Tensor, cell: Tensor | None) -> bool:
        return self.compiled and not pos.requires_grad and not (
            cell is not None and cell.requires_grad)

    @one_thread_at_a_time  # parameters may be frozen for the time of a call
    def _call_compiled(self, function: Callable, z: Tensor, pos: Tensor,
                       batch: Tensor | None, differentiable: bool,
                       compiler: Callable | None = None, **kwargs) -> Any:
        r"""Returns what the function returns after it, or what the
        :obj:`compiler` chooses of it, is compiled, or :obj:`None` if it cannot
        be compiled."""
        # Everything of which the size depends on values comes from outside:
        if batch is None:
            batch, kwargs['batch_size'] = torch.zeros_like(z), 1
        elif kwargs.get('batch_size') is None:
            kwargs['batch_size'] = int(batch.max()) + 1 if len(batch) else 0
        kind = (function, differentiable, *sorted(
            key for key, value in kwargs.items() if value is not None))
        # Before 2.13, torch fails at the derivative of index_select for
        # dynamic sizes by torch.func.grad:
        traced = (by_indexing(function) if torch.__version__ < (2, 13) else
                  function)

        def call() -> Any:
            compiled = functools.partial(
                (compiler or compile_function)(traced), self, z, pos, batch,
                **kwargs)
            with torch.set_grad_enabled(differentiable):
                if kind not in self._verified:
                    verify(compiled, functools.partial(
                        function, self, z, pos, batch, **kwargs),
                        list(self.parameters()))
                    self._verified.add(kind)
                return compiled()

        try:
            # Here, as not all versions of torch can do this:
            from torch_sake.ops import compiler_cache
            return compiler_cache.compile_again_if_files_fail(call)
        # Compilers fail in many ways. If the cause is another one, the same
        # call without compilation says so.
        except Exception as error:
            self.compiled = False
            # Nobody needs the place of this line:
            warnings.warn_explicit(
                f'Compilation failed, all is computed without it, more slowly '
                f'{_describe(error)}', UserWarning, 'torch_sake', 0)
            return None


def _describe(error: Exception) -> str:
    try:
        from torch_sake.ops.compiler_cache import describe
        return describe(error)
    except ImportError:
        return f'({one_line(error)})'


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
    r"""Returns the function in which elements are selected by indexing."""
    def wrapper(*args, **kwargs):
        with _Indexing():
            return function(*args, **kwargs)
    return wrapper


@functools.cache
def compile_function(function: Callable) -> Callable:
    r"""Returns the compiled function, for all sizes of its inputs."""
    # Here, as versions of torch before 2.6 can do all but this:
    from torch_sake.ops.compiler_cache import remove_broken_libraries
    from torch_sake.ops.inductor import OperatorsForCPU

    remove_broken_libraries()
    limit = {}
    # Every model with layers of other sizes is one more version of the
    # function, of which torch allows eight, or more where it can be told so:
    if 'recompile_limit' in inspect.signature(torch.compile).parameters:
        limit['recompile_limit'] = MAX_VERSIONS
    options = {
        'post_grad_custom_post_pass': OperatorsForCPU(),
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
