r"""Checks of arguments at the door.

Types, shapes and options are checked always: that costs nothing on any device.
Values (finite positions, indices in range) are looked at only where looking is
free, see :func:`values_are_visible`, so that no check makes a GPU wait in the
hot path of training. :func:`torch_sake.neighbor_list`, which has to wait for
the device anyway, and everything that reads files always look at the values.
"""

import json
import os.path as osp
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from torch_sake.utils.elements import symbols_of
from torch_sake.utils.pyg import torch_geometric

INTEGERS = (torch.int32, torch.int64)  # others are no index to torch
MAX_ATOMIC_NUMBER = 118


def values_are_visible(tensor: Tensor) -> bool:
    r"""Whether the values of :obj:`tensor` may be looked at: eagerly on the
    CPU, and on other devices inside :class:`torch_geometric.debug` only.
    """
    if (torch.compiler.is_compiling()
            or torch._C._are_functorch_transforms_active()):
        return False
    return tensor.device.type == 'cpu' or (
        tensor.device.type != 'meta' and torch_geometric.is_debug_enabled())


def check_tensor(name: str, value: Any, shape: tuple,
                 dtype: torch.dtype | None = None) -> Tensor:
    r"""Checks the type and the shape of a floating point tensor. Entries of
    :obj:`shape` are sizes, or strings for sizes that may be anything.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"'{name}' must be a tensor (got {type(value)})")
    if value.dim() != len(shape) or any(
            not isinstance(size, str) and size != actual
            for size, actual in zip(shape, value.shape)):
        expected = '[' + ', '.join(str(size) for size in shape) + ']'
        raise ValueError(f"'{name}' must have shape {expected} "
                         f"(got {list(value.shape)})")
    if not value.is_floating_point():
        raise TypeError(f"'{name}' must be of floating point type "
                        f"(got {value.dtype})")
    if dtype is not None and value.dtype != dtype:
        raise TypeError(f"'{name}' must be of type {dtype}, as the model's "
                        f"parameters (got {value.dtype})")
    return value


def check_devices(pos: Tensor, **others: Tensor | None) -> None:
    for name, value in others.items():
        if value is not None and value.device != pos.device:
            raise ValueError(f"'{name}' must be on {pos.device}, as 'pos' "
                             f"(got {value.device})")


def check_pos(pos: Any, num_nodes: int | None = None,
              num_dimensions: int | None = None,
              dtype: torch.dtype | None = None,
              look: bool = True) -> Tensor:
    r"""Checks positions. They may be in double precision whatever the type of
    the model is: only short vectors between them are rounded.
    """
    if isinstance(pos, Tensor) and pos.dtype == torch.double:
        dtype = None
    check_tensor('pos', pos, ('N' if num_nodes is None else num_nodes,
                              num_dimensions or 'D'), dtype)
    if pos.size(1) < 1:
        raise ValueError("'pos' must have at least one dimension "
                         f"(got shape {list(pos.shape)})")
    if look and values_are_visible(pos):
        check_finite('pos', pos)
    return pos


def check_finite(name: str, value: Tensor) -> None:
    finite = value.detach().isfinite()
    if not finite.all():
        row = int((~finite).flatten(1).any(dim=1).nonzero()[0])
        raise ValueError(f"'{name}' must be finite (got NaN or infinity "
                         f"in row {row})")


def _check_integers(name: str, value: Any, expected: str) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"'{name}' must be a tensor (got {type(value)})")
    if value.dtype not in INTEGERS:
        raise TypeError(f"'{name}' must be of {expected} (got {value.dtype})")


def check_index(name: str, value: Any, length: int | None) -> Tensor:
    r"""Checks type and shape of a vector of integers."""
    _check_integers(name, value, 'integer type, torch.int64')
    if value.dim() != 1 or (length is not None and value.numel() != length):
        expected = '[N]' if length is None else f'[{length}]'
        raise ValueError(f"'{name}' must have shape {expected} "
                         f"(got {list(value.shape)})")
    return value


def check_range(name: str, value: Tensor, end: int | None = None) -> None:
    r"""Checks that integers lie in :obj:`[0, end)`, where looking is free."""
    if value.numel() == 0 or not values_are_visible(value):
        return
    low, high = (int(limit) for limit in torch.aminmax(value))
    if low < 0:
        raise ValueError(f"'{name}' must not be negative (got {low})")
    if end is not None and high >= end:
        raise ValueError(f"'{name}' must be smaller than {end} (got {high})")


def check_batch(batch: Any, num_nodes: int,
                batch_size: int | None = None) -> Tensor:
    check_index('batch', batch, num_nodes)
    check_range('batch', batch, batch_size)
    return batch


def check_atomic_numbers(z: Any, end: int) -> Tensor:
    check_index('z', z, None)
    check_range('z', z, end)
    return z


def check_known_elements(subject: str, numbers: Iterable[int],
                         elements: Iterable[int] | None) -> None:
    unknown = sorted(set(numbers) - set(elements or numbers))
    if unknown:
        raise ValueError(f"{subject} {symbols_of(unknown)}, atomic numbers "
                         f"{unknown}, which the potential was not trained on, "
                         f"as it was on {symbols_of(elements)} (it knows "
                         f"{list(elements)})")


def check_edge_index(edge_index: Any, num_nodes: int,
                     look: bool = True) -> Tensor:
    _check_integers('edge_index', edge_index, 'type torch.int64')
    if edge_index.dim() != 2 or edge_index.size(0) != 2:
        raise ValueError(f"'edge_index' must have shape [2, E] "
                         f"(got {list(edge_index.shape)})")
    if look:
        check_range('edge_index', edge_index, num_nodes)
    return edge_index


def check_edge_shift(edge_shift: Any, edge_index: Tensor,
                     pos: Tensor) -> Tensor:
    return check_tensor('edge_shift', edge_shift,
                        (edge_index.size(1), pos.size(1)), pos.dtype)


def check_same_settings(settings: dict[str, Any], found: dict[str, Any],
                        free: set[str], what: str = 'run') -> None:
    r"""Checks that what goes on has the settings it began with, those
    :obj:`found` in a file, but for some that are free. What an older file does
    not know may be anything.
    """
    # Through JSON, as those of the file came, which has no tuples:
    for key, value in json.loads(json.dumps(settings)).items():
        if key not in free and value != found.get(key, value):
            raise ValueError(f"'resume' needs the settings of the {what}: "
                             f"'{key}' must be {found[key]!r} "
                             f"(got {value!r}); repeat its command with "
                             f"'--resume'{_or_its_file(settings.get('out'))}")


def _or_its_file(out: Any) -> str:
    path = osp.join(out, 'config.yaml') if isinstance(out, str) else ''
    return f", or give '--config {path} --resume'" if osp.isfile(path) else ''


def check_same_data(fingerprint: str, found: str | None, data: str) -> None:
    r"""Checks that what goes on has the data it began with, those of the
    fingerprint :obj:`found` in a file, if an older one has one at all.
    """
    if found not in (None, fingerprint):
        raise ValueError(f"'resume' needs the data of the run (what is in "
                         f"{data!r} now differs)")
