"""Files that appear whole or not at all: new directories, atomic writes, copies by the operating system."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from srmu.errors import InputError, RunError

PRIVATE = 0o600
"""Mode of a file that its owner alone may read."""
CHUNK_BYTES = 1 << 23
"""Files are read in pieces of this size."""
_FICLONE = 0x40049409
"""ioctl of Linux that makes a file share another's blocks until one of them is written (linux/fs.h)."""
_COPY_BYTES = 1 << 30
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG)
_NO_KERNEL_COPY = (errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM)


@contextlib.contextmanager
def new_directory(out_dir: Path) -> Iterator[Path]:
    """Give a temporary sibling of `out_dir` to write into, and rename it to `out_dir` at the end.

    On any failure the sibling is removed, and so are parents that were made for it. What a killed process
    left under the same name is removed first.

    Raises:
        InputError: `out_dir` exists and is not an empty directory, cannot be made, or its disk is full.
        RunError: A write failed for another reason.
    """
    if os.path.lexists(out_dir) and not (out_dir.is_dir() and not any(out_dir.iterdir())):
        raise InputError(f"Output {str(out_dir)!r} exists and is not an empty directory. Choose another or remove it.")
    out_dir = out_dir.absolute()
    made_parents = [parent for parent in out_dir.parents if not parent.exists()]
    partial = out_dir.with_name(f".{out_dir.name}.partial-{os.getpid()}")
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(out_dir.parent, out_dir.name)
        partial.mkdir()
        yield partial
        os.rename(partial, out_dir)
        sync(out_dir.parent)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made_parents:
            with contextlib.suppress(OSError):
                parent.rmdir()
        if isinstance(error, OSError):
            raise _readable(error, out_dir) from error
        raise


def refuse_devices(path: Path) -> None:
    """Refuse to put a file in the place of a device, a pipe or a folder.

    Raises:
        InputError: If `path` is one of these.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{str(path)!r} is a folder or a device, which no file may replace. Choose another place.")


def write_atomic(path: Path, content: bytes, *, private: bool = False) -> None:
    """Write a file under a temporary name, flush it to the disk and rename it.

    Args:
        path: The file.
        content: What to write.
        private: Whether the file is for its owner's eyes alone, as texts and states are.

    Raises:
        InputError: If what is there is no file, such as a device.
    """
    partial = write_partial(path, content, private=private)
    try:
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def write_partial(path: Path, content: bytes, *, private: bool = False) -> Path:
    """Write what is to become a file under a temporary name, flushed to the disk; the caller renames it.

    Args and errors as in `write_atomic`.
    """
    refuse_devices(path)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            if private:
                os.fchmod(file.fileno(), PRIVATE)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


@contextlib.contextmanager
def locked_directory(directory: Path) -> Iterator[None]:
    """Let one process at a time into this block, where the system and its disk can lock; others wait."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def json_bytes(content: Any) -> bytes:
    """JSON as it is written into files.

    Raises:
        ValueError: A number in it is not finite: JSON has no such thing.
    """
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "backslashreplace")


def write_json_atomic(path: str | Path, content: Any, *, private: bool = False) -> None:
    """Write JSON that appears whole or not at all; see `write_atomic`.

    Raises:
        ValueError: A number in it is not finite: JSON has no such thing.
    """
    write_atomic(Path(path), json_bytes(content), private=private)


def write_tensors_atomic(path: Path, tensors: Mapping[str, Any], *, private: bool = False) -> None:
    """Write a safetensors file elsewhere, flush it to the disk and rename it.

    The library writes to a temporary file beside the one that is asked for, under a random name and for the owner
    alone: a folder of ours keeps what a killed process leaves of it where `remove_leftovers` finds it.
    """
    from safetensors.torch import save_file  # here, so that commands that only read results load no torch

    folder = path.with_name(f".{path.name}.partial-{os.getpid()}")
    folder.mkdir()
    try:
        save_file(dict(tensors), folder / path.name)
        (folder / path.name).chmod(PRIVATE if private else folder.stat().st_mode & 0o666)
        sync(folder / path.name)
        os.replace(folder / path.name, path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sync(path.parent)


def is_leftover(path: Path, name: str | None = None) -> bool:
    """Whether this is what a process that is gone had begun to write, under the name or under any."""
    begun, mark, process = path.name.rpartition(".partial-")
    if not (mark and begun.startswith(".") and process.isdecimal()) or name not in (None, begun[1:]):
        return False
    return not _is_another_alive(int(process))


def remove_leftovers(directory: Path, name: str | None = None) -> None:
    """Remove what a killed process left half written in a directory."""
    for path in directory.iterdir():
        if is_leftover(path, name):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def list_files(directory: Path, skip_folder: Callable[[str], bool] = lambda _: False) -> tuple[list[str], list[str]]:
    """Names of all folders and all files below a directory, sorted, relative, with '/'; links are followed.

    Args:
        directory: Where to begin.
        skip_folder: Folders, by their names, that are not entered and not listed.

    Raises:
        InputError: A link that leads nowhere or in a circle, or something that is neither a file nor a
            folder.
    """
    folders: list[str] = []
    files: list[str] = []

    def visit(folder: Path, prefix: str, above: tuple[str, ...]) -> None:
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            name = prefix + entry.name
            if entry.is_dir() and skip_folder(name):
                continue
            if entry.is_dir():
                real = os.path.realpath(entry.path)
                if real in above:
                    raise InputError(f"Link {entry.path!r} leads back to a folder above it. Remove it.")
                folders.append(name)
                visit(Path(entry.path), name + "/", (*above, real))
            elif entry.is_file():
                files.append(name)
            else:
                kind = "a link to nothing" if entry.is_symlink() else "neither a file nor a folder"
                raise InputError(
                    f"{entry.path!r} is {kind}, so the checkpoint cannot be copied whole. Remove or restore it."
                )

    visit(directory, "", (os.path.realpath(directory),))
    return folders, files


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, in hexadecimal, read in pieces."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(directory: Path) -> dict[str, str]:
    """SHA-256 of every file below a directory, by relative name."""
    return {name: file_sha256(directory / name) for name in list_files(directory)[1]}


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's bytes: as a reflink where the file system can, else inside the kernel, else in pieces.

    The target gets the source's mode, readable and writable by its owner.
    """
    with source.open("rb") as reader, target.open("xb") as writer:
        status = os.fstat(reader.fileno())
        os.fchmod(writer.fileno(), stat.S_IMODE(status.st_mode) & 0o777 | 0o600)
        if not clone(reader.fileno(), writer.fileno()):
            copied = _kernel_copy(reader.fileno(), writer.fileno(), status.st_size)
            reader.seek(copied)
            writer.seek(copied)
            shutil.copyfileobj(reader, writer, CHUNK_BYTES)


def clone(source: int, target: int) -> bool:
    """Make the open file `target` a reflink of `source`; false where the file system cannot."""
    try:
        import fcntl

        fcntl.ioctl(target, _FICLONE, source)
    except (ImportError, OSError):
        return False
    return True


def can_clone(source: Path, directory: Path) -> bool:
    """Whether files like `source` can be reflinked into `directory`."""
    probe = directory / ".probe"
    with source.open("rb") as reader, probe.open("xb") as writer:
        cloned = clone(reader.fileno(), writer.fileno())
    probe.unlink()
    return cloned


def sync(path: Path) -> None:
    """Flush a file or a directory to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_space(directory: Path, needed: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        InputError: `directory` has less than `needed` bytes free.
    """
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise InputError(
            f"The disk of {str(directory.parent)!r} has {free / 1e9:.2f} GB free, "
            f"and the checkpoint needs {needed / 1e9:.2f} GB. "
            "Free some space or choose another output directory."
        )


def _kernel_copy(reader: int, writer: int, size: int) -> int:
    """Copy without passing through this process; returns the bytes that were copied, all of them or fewer."""
    copied = 0
    try:
        while hasattr(os, "copy_file_range") and copied < size:
            step = os.copy_file_range(reader, writer, min(_COPY_BYTES, size - copied), copied, copied)
            if step == 0:
                break
            copied += step
    except OSError as error:
        if error.errno not in _NO_KERNEL_COPY:
            raise
    return copied


def _is_another_alive(process: int) -> bool:
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


@contextlib.contextmanager
def readable_errors(directory: Path) -> Iterator[None]:
    """Turn a write that failed below a directory into one sentence; what is whole there stays.

    Raises:
        InputError: Its disk is full, or it cannot be written.
        RunError: A write failed for another reason.
    """
    try:
        yield
    except OSError as error:
        raise _readable(error, directory, "what was whole in it stays") from error
    except SafetensorError as error:
        # The library gives the system's error in words only.
        found = re.search(r"os error (\d+)", str(error))
        if found is None:
            raise
        number = int(found.group(1))
        raise _readable(OSError(number, os.strerror(number)), directory, "what was whole in it stays") from error


def _readable(error: OSError, out_dir: Path, fate: str = "what had been written was removed") -> Exception:
    if error.errno in _FULL:
        return InputError(
            f"The disk became full while {str(out_dir)!r} was written; {fate}. "
            "Free some space or choose another output directory."
        )
    if error.errno in _REFUSED:
        return InputError(f"Output {str(out_dir)!r} cannot be written ({error.strerror}). Choose another place.")
    return RunError(f"Writing {str(out_dir)!r} failed ({error.strerror or error}); {fate}.")
