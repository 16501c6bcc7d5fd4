"""Standard output and error that cannot take everything: ASCII alone, a full disk, a pipe that nobody reads."""

import contextlib
import errno
import io
import os
import sys

_DESCRIBED = {
    errno.ENAMETOOLONG: "Shorten it.",
    errno.ELOOP: "It is a link that leads back to itself.",
    errno.EACCES: "Check its permissions.",
    errno.EPERM: "Check its permissions.",
    errno.EROFS: "Choose another place.",
    errno.ENOTDIR: "Check the path.",
    errno.EISDIR: "Name a file.",
    errno.ENOENT: "Check the path.",
    errno.EEXIST: "Choose another place.",
    errno.ENXIO: "Name a file.",
    errno.EIO: "Check the disk.",
    errno.ENOSPC: "Free some space.",
    errno.EDQUOT: "Free some space.",
    errno.EFBIG: "Choose another place.",
}


def printable_streams() -> None:
    """Let characters that an encoding lacks, and bytes of file names that are no text, be shown as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence_stdout() -> None:
    """Throw away what could not be printed, so that the interpreter does not try once more when it ends."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


def describe_os_error(error: OSError) -> str | None:
    """One sentence for what the system refused, or none where it would say nothing to a user."""
    if error.errno not in _DESCRIBED:
        return None
    name = f"{str(error.filename)[:200]!r}" if error.filename is not None else "The output"
    return f"{name} cannot be read or written ({error.strerror}). {_DESCRIBED[error.errno]}"
