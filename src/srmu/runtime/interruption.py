"""Ctrl-C and SIGTERM: while matrices are trained they are noted, and the run ends between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from srmu.runtime.processes import world_size


class StopRequest:
    """What was asked for so far.

    Attributes:
        signal: Number of the first signal; 0 = none came.
        at_once: Whether a signal raises KeyboardInterrupt where it strikes, instead of being noted.
    """

    def __init__(self) -> None:
        self.signal = 0
        self.at_once = False

    def receive(self, number: int, frame: FrameType | None) -> None:
        """Note a signal. A second one is meant; but launchers send each signal on, so that ranks get it twice."""
        repeated = self.signal != 0
        self.signal = self.signal or number
        if self.at_once or (repeated and world_size() == 1):
            raise KeyboardInterrupt


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """Note SIGINT and SIGTERM inside this block; outside the main thread Python lets no one, and none is noted."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    previous = {number: signal.signal(number, request.receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in previous.items():
            # None: the handler was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
