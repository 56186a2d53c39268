import functools
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from torch_sake.models import MoleculeModel
from torch_sake.ops import compilation
from torch_sake.utils.thread_lock import ThreadLock, one_thread_at_a_time


class Compilable(torch.nn.Module):
    r"""A module around a :obj:`model` that calls functions of itself compiled
    from :meth:`compile` on.
    """
    def __init__(self):
        super().__init__()
        self.compiled = False
        self._verified: set[tuple[Any, ...]] = set()
        self._lock = ThreadLock()

    def compile(self, kernels: Any = None) -> None:
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

        Raises:
            TypeError: If the model is none of this package: neighbor lists
                that a model makes in the middle cannot be compiled.
        """
        if kernels is not None:
            raise TypeError(f"'kernels' went with 0.2.0: 'compile()' takes no "
                            f"arguments (got {kernels!r})")
        if not isinstance(self.model, MoleculeModel):
            raise TypeError(f"'model' must be SAKE or VectorSAKE to be "
                            f"compiled (got {type(self.model)})")
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
        traced = function
        if torch.__version__ < (2, 13):
            traced = compilation.by_indexing(function)

        def call() -> Any:
            compiled = functools.partial(
                (compiler or compilation.compile_function)(traced),
                self, z, pos, batch, **kwargs)
            with torch.set_grad_enabled(differentiable):
                if kind not in self._verified:
                    compilation.verify(compiled, functools.partial(
                        function, self, z, pos, batch, **kwargs),
                        list(self.parameters()))
                    self._verified.add(kind)
                return compiled()

        # Here, as it takes a second to import the compiler:
        from torch_sake.ops import compiler_cache
        try:
            return compiler_cache.compile_again_if_files_fail(call)
        # Compilers fail in many ways. If the cause is another one, the same
        # call without compilation says so.
        except Exception as error:
            self.compiled = False
            # Nobody needs the place of this line:
            warnings.warn_explicit(
                f'Compilation failed, all is computed without it, more slowly '
                f'{compiler_cache.describe(error)}', UserWarning, 'torch_sake',
                0)
            return None
