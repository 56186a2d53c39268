r"""Tensors of files become those of modules."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torch_sake.utils.global_state import own_global_state
from torch_sake.utils.messages import in_words

PRECISIONS = (torch.float, torch.double)
_lock = threading.RLock()  # of what is global while modules are built


def check_tensors(found: Mapping[str, Tensor], expected: Mapping[str, Tensor],
                  prefix: str = '') -> None:
    r"""Checks that tensors are those that are expected, by their names, types
    and shapes, and that their numbers are finite.

    Args:
        found (dict): The tensors.
        expected (dict): Tensors as they are to be, of any values.
        prefix (str, optional): What messages put before the names.
            (default: :obj:`''`)

    Raises:
        ValueError: If they are not.
    """
    for name in (*expected, *found):
        label = f"tensor {in_words(prefix + name)}"
        if name not in found:
            raise ValueError(f"The {label} is missing")
        if name not in expected:
            raise ValueError(f"There must be no {label}")
        value, like = found[name], expected[name]
        if (value.dtype, value.shape) != (like.dtype, like.shape):
            raise ValueError(f"The {label} must be {in_words(like)} "
                             f"(got {in_words(value)})")
        # Models of others may have infinite constants.
        if not bool((value.isfinite() | (not like.is_meta and
                                         ~like.isfinite())).all()):
            raise ValueError(f"The {label} must be finite "
                             f"(got NaN or infinity)")


def with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    r"""Returns the tensors whose names begin with a prefix, without it."""
    return {name[len(prefix):]: value for name, value in tensors.items()
            if name.startswith(prefix)}


def build_with(build: Callable[[], torch.nn.Module], state: dict[str, Tensor],
               arguments: dict[str, Any], prefix: str,
               ours: bool = True) -> torch.nn.Module:
    r"""Returns a module with the tensors of a file, which are to be all that
    it has.

    Args:
        build (callable): Returns the module with tensors of any values.
        state (dict): The tensors.
        arguments (dict): The arguments of the module, as a file has them.
        prefix (str): What messages put before the names of tensors.
        ours (bool, optional): Whether its constructor needs no values of
            tensors, as all of this package. Sizes are known without memory
            then. (default: :obj:`True`)

    Raises:
        TypeError, ValueError: If there cannot be such a module, or it has
            other tensors than the file.
    """
    # What a file says of sizes must not take memory, or time, that its tensors
    # do not account for. Some models make no use of small ones.
    numbers = max(1000, sum(map(Tensor.numel, state.values())))
    layers = max(100, len(state))
    for name, value in arguments.items():
        limit = layers if name == 'num_layers' else numbers
        if isinstance(value, int) and value > limit:
            raise ValueError(f"'{name}' must be at most {limit} for the "
                             f"tensors that there are (got {in_words(value)})")
    with _lock, own_global_state(), torch.device('meta' if ours else 'cpu'):
        module = build()
    first = next((name for name, _ in module.named_parameters()), None)
    dtype = state[first].dtype if first in state else torch.float
    if dtype not in PRECISIONS:
        raise ValueError(f"The tensor '{prefix}{first}' must be of one of the "
                         f"types {PRECISIONS} (got {dtype})")
    check_tensors(state, module.to(dtype).state_dict(), prefix)
    if ours:
        with _lock, own_global_state():  # weights are drawn, in vain
            module = build().to(dtype)
    module.load_state_dict(state)
    return module.eval()
