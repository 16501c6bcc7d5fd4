"""Programs that come with a checkpoint, tried where they can do no harm: chat templates may loop or fill the memory."""

import os
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path

_STATM = Path("/proc/self/statm")


def ends_within(action: Callable[[], object], *, seconds: float, megabytes: int) -> bool:
    """Whether an action ends in a child process, well or with an exception, with no more than this time and memory.

    Where the system cannot fork, the action is not tried, and the answer is yes.

    Args:
        action: Python code that touches no accelerator and no thread of its own.
        seconds: Wall time, after which the child is killed.
        megabytes: Memory that it may take beyond what this process has.
    """
    if not hasattr(os, "fork"):
        return True
    with warnings.catch_warnings():
        # Python warns of forks of processes with threads; the child runs this action alone.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _run_and_exit(action, megabytes)
    until = time.monotonic() + seconds
    while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > until:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return False
        time.sleep(0.002)
    return os.waitstatus_to_exitcode(found[1]) == 0


def _run_and_exit(action: Callable[[], object], megabytes: int) -> None:
    code = 1
    try:
        if _STATM.exists():
            import resource

            pages = int(_STATM.read_text().split()[0])
            most = pages * resource.getpagesize() + megabytes * (1 << 20)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        action()
        code = 0
    except MemoryError:
        code = 2
    except BaseException:
        code = 0  # whoever runs it in earnest will say what is wrong
    finally:
        os._exit(code)
