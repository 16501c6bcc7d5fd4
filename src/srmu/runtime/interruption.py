"""Ctrl-C and SIGTERM: while matrices are trained they are noted, and the run ends between two steps.

And SIGBUS, with which the system ends a process whose file, mapped into memory, was cut short.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from srmu.errors import RunError
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


@contextmanager
def noticed_bus_errors() -> Iterator[None]:
    """Inside this block, end with a sentence and exit code 3 where a mapped file was cut short by another program.

    Nothing can be resumed from within the fault: Python's own handler only wakes a thread, which prints and exits.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGBUS"):
        yield
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    previous = signal.signal(signal.SIGBUS, lambda *_: None)
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=_watch, args=(reader,), daemon=True, name="bus-errors")
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        signal.signal(signal.SIGBUS, signal.SIG_DFL if previous is None else previous)
        os.close(writer)
        watcher.join()


def _watch(reader: int) -> None:
    with open(reader, "rb", buffering=0) as numbers:
        while content := numbers.read(1):
            if content[0] == signal.SIGBUS:
                with contextlib.suppress(OSError):
                    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, _CUT_SHORT)
                os._exit(RunError.exit_code)


_CUT_SHORT = (
    b"\nerror: A file was cut short while it was being read, most likely a weight file of the model. Restore it, and "
    b"begin anew.\n"
)
