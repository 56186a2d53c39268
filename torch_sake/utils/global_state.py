r"""What torch and others keep for a whole process: a run must leave it as it
was, and must not depend on it.
"""

import os
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy
import torch

CUBLAS = 'CUBLAS_WORKSPACE_CONFIG'  # without it, cuBLAS is not deterministic


@contextmanager
def own_global_state() -> Iterator[None]:
    r"""Within this context, or a function that it decorates, numbers are of
    single precision by default, and tensors on the CPU. Afterwards, types,
    devices, random numbers, deterministic mode, threads and the handlers of
    interruptions are what they were before.
    """
    state = _get_state()
    device = nullcontext()
    if torch.get_default_device().type != 'cpu':  # costs time in all calls
        device = torch.device('cpu')
    try:
        torch.set_default_dtype(torch.float)
        with device:
            yield
    finally:
        _set_state(state)


def use_deterministic_algorithms() -> None:
    r"""Has torch refuse or replace what is not deterministic."""
    os.environ.setdefault(CUBLAS, ':4096:8')
    torch.use_deterministic_algorithms(True)


def _get_state() -> dict[str, Any]:
    return {
        'dtype': torch.get_default_dtype(),
        'python': random.getstate(),
        'numpy': numpy.random.get_state(),
        'torch': torch.get_rng_state(),
        'cuda': (torch.cuda.get_rng_state_all()
                 if torch.cuda.is_initialized() else None),
        'deterministic': (torch.are_deterministic_algorithms_enabled(),
                          torch.is_deterministic_algorithms_warn_only_enabled(
                          )),
        'benchmark': torch.backends.cudnn.benchmark,
        'threads': torch.get_num_threads(),
        'cublas': os.environ.get(CUBLAS),
        'handlers': {number: signal.getsignal(number)
                     for number in (signal.SIGINT, signal.SIGTERM)},
    }


def _set_state(state: dict[str, Any]) -> None:
    torch.set_default_dtype(state['dtype'])
    random.setstate(state['python'])
    numpy.random.set_state(state['numpy'])
    torch.set_rng_state(state['torch'])
    if state['cuda'] is not None:
        torch.cuda.set_rng_state_all(state['cuda'])
    else:  # those of GPUs that nothing was drawn from follow from the seed
        torch.cuda.manual_seed_all(torch.initial_seed())
    enabled, warn_only = state['deterministic']
    torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
    torch.backends.cudnn.benchmark = state['benchmark']
    if torch.get_num_threads() != state['threads']:
        torch.set_num_threads(state['threads'])
    if state['cublas'] is None:
        os.environ.pop(CUBLAS, None)
    else:
        os.environ[CUBLAS] = state['cublas']
    if threading.current_thread() is threading.main_thread():
        for number, handler in state['handlers'].items():
            if handler is not None:  # else one that is not of Python
                signal.signal(number, handler)
