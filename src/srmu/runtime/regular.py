"""Files that users name, which may be pipes or devices: those would be waited for, or read, without an end."""

import errno
import os
from pathlib import Path


def read_regular(path: str | Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: As of any file that cannot be read; and where it is a pipe, a device or a folder.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a pipe, a device or a folder", str(path))
    return path.read_bytes()


def special_file(directory: Path) -> str | None:
    """The name of a pipe, a device, or a folder called `README.md`, in a directory of a model, if there is one."""
    with os.scandir(directory) as entries:
        special = (entry.name for entry in entries if os.path.exists(entry.path) and not _is_plain(entry))
        return next(special, None)


def _is_plain(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() or (entry.is_dir() and entry.name != "README.md")
