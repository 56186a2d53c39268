r"""What a function asks of a machine, and what the machine can do."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from torch_sake.ops.linear import Linear

MATRIX_SIZE = 1024
VECTOR_BYTES = 1 << 28
ROUNDS = 5  # of which the shortest counts


class Work(NamedTuple):
    r"""The work of one call: operations in products of matrices, and bytes
    that all operators read and write if each of them does so once.
    """
    flops: int
    bytes: int


class Rates(NamedTuple):
    r"""Operations in products of matrices, and bytes of memory, per second."""
    flops: float
    bytes: float


class CountWork(TorchDispatchMode):
    r"""Counts the :class:`Work` of what runs inside of it."""
    def __init__(self):
        super().__init__()
        self.flops = self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        count = flop_registry.get(function._overloadpacket)
        if function is torch.ops.mkldnn._linear_pointwise.default:
            self.flops += 2 * out.numel() * args[0].size(-1)
        elif count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        if not function.is_view:
            self.bytes += sum(
                value.numel() * value.element_size()
                for value in tree_leaves((args, kwargs, out))
                if isinstance(value, torch.Tensor))
        return out


def count_work(call: Callable[[], Any]) -> Work:
    r"""Returns the work of one call, which must not be compiled."""
    with CountWork() as counter:
        call()
    return Work(counter.flops, counter.bytes)


def measure_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    r"""Returns what products of large matrices, torch's own or those of our
    linear maps, and copies of large vectors reach.
    """
    matrix = torch.randn(MATRIX_SIZE, MATRIX_SIZE, device=device, dtype=dtype)
    vector = torch.ones(VECTOR_BYTES // matrix.element_size(), device=device,
                        dtype=dtype)
    out = torch.empty_like(vector)
    linear = Linear(MATRIX_SIZE, MATRIX_SIZE, bias=False).to(device, dtype)
    with torch.no_grad():
        product, ours, copy = (
            min(milliseconds(call, device) for _ in range(ROUNDS)) / 1000
            for call in (lambda: matrix @ matrix, lambda: linear(matrix),
                         lambda: out.copy_(vector)))
    return Rates(2 * MATRIX_SIZE**3 / min(product, ours),
                 2 * VECTOR_BYTES / copy)


def milliseconds(call: Callable[[], Any], device: torch.device,
                 repeats: int = 1) -> float:
    r"""Returns the mean time of several calls."""
    synchronize(device)
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    synchronize(device)
    return 1000 * (time.perf_counter() - began) / repeats


def synchronize(device: torch.device) -> None:
    r"""Waits until a device has done what it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)


def peak_memory(call: Callable[[], Any], device: torch.device) -> int:
    r"""Returns the largest number of bytes of tensors that are alive at a
    time during a call, beyond those from before.
    """
    if device.type == 'cuda':
        synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU],
            profile_memory=True) as profile:
        call()
    events = [event for event in profile.profiler.kineto_results.events()
              if event.name() == '[memory]']
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak
