import signal
import threading
from typing import Any


class DeferredInterrupt:
    r"""Within this context, an interruption (Ctrl-C, or the end of a job)
    waits until the code asks for it: :meth:`raise_if_requested` raises the
    :class:`KeyboardInterrupt`. A second one does not wait.

    Outside of the main thread, which signals do not reach, it does nothing.
    """
    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self):
        self.requested = False
        self.handlers: dict[int, Any] = {}

    def __enter__(self) -> 'DeferredInterrupt':
        self.requested = False
        if threading.current_thread() is threading.main_thread():
            self.handlers = {
                number: signal.signal(number, self._handle)
                for number in self.SIGNALS
            }
        return self

    def _handle(self, number: int, frame: Any) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True

    def raise_if_requested(self) -> None:
        if self.requested:
            raise KeyboardInterrupt

    def __exit__(self, *args: Any) -> None:
        for number, handler in self.handlers.items():
            signal.signal(number, handler)
        self.handlers = {}
