"""Locks between processes on files; the system lets go of them when a process ends, however it ends.

Where the system has no such locks (Windows), nothing is locked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from srmu.errors import InputError

try:
    import fcntl
except ImportError:  # pragma: no cover
    fcntl = None  # type: ignore[assignment]


@contextmanager
def waiting_lock(file: Path) -> Iterator[None]:
    """Hold a lock for as long as the block lasts; wait while another process holds it."""
    with file.open("a") as opened:
        if fcntl is not None:
            fcntl.flock(opened, fcntl.LOCK_EX)
        yield


@contextmanager
def only_one(file: Path, busy: str) -> Iterator[None]:
    """Hold a lock for as long as the block lasts.

    Args:
        file: The lock; it stays, empty.
        busy: What to say where another process holds it.

    Raises:
        InputError: Another process holds it.
    """
    with file.open("a") as opened:
        if fcntl is not None:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise InputError(busy) from None
        yield
