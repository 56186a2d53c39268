import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar('Function', bound=Callable[..., Any])


class ThreadLock:
    r"""A lock of threads, which the one that has it may take again. A copy of
    what has one, also one by pickling, has a lock of its own.
    """
    def __init__(self):
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: Any) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[Any, ...]:
        return ThreadLock, ()


def one_thread_at_a_time(method: Function) -> Function:
    r"""Has the methods of an object that keeps something from call to call
    wait for each other, by its :obj:`_lock`.
    """
    @functools.wraps(method)
    def wrapper(self, *args, **kwargs) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)
    return wrapper
