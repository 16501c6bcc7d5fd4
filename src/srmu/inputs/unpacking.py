"""The text of a file, unpacked and decoded.

It is unpacked where its name ends in `.gz` or `.zst`, and decoded from UTF-8, or from UTF-16 or UTF-32 where its first
bytes say so, as those of files saved by Windows programs do.
"""

import codecs
import errno
import gzip
import zlib
from pathlib import Path
from typing import IO, Any

from srmu.errors import InputError
from srmu.runtime.regular import read_regular

PACKED = (".gz", ".zst")
_CHUNK = 1 << 20
# Ordinary text unpacks to 3 to 30 times its packed size; a file made to fill the memory, to 1000 times.
_MOST_GROWTH = 100
_ALWAYS_BYTES = 1 << 25
# UTF-32's mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", ""), (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"), (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)  # fmt: skip


def read_text(path: Path, where: str, notes: list[str]) -> str:
    """Read a whole file as text.

    Args:
        path: The file.
        where: The words that begin an error.
        notes: A sentence is added if the file was decoded from something other than UTF-8.

    Raises:
        InputError: The file cannot be read, is damaged, is far too large when unpacked, or is not text.
    """
    try:
        data = _read_bytes(path, where)
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror or error}.") from None
    encoding, name = next(((encoding, name) for mark, encoding, name in _MARKS if data.startswith(mark)), ("utf-8", ""))
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise InputError(f"{where}: not {name or 'UTF-8'} text ({found}). Save the file as UTF-8.") from None
    if "\0" in text:
        raise InputError(
            f"{where}: binary data (a zero byte at position {text.index(chr(0))}), not text. Check the path."
        )
    if name:
        notes.append(f"{where}: decoded from {name}. Save the file as UTF-8 to be sure of every character.")
    return text


def _read_bytes(path: Path, where: str) -> bytes:
    suffix = path.suffix.lower()
    if suffix not in PACKED:
        return read_regular(path)
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a pipe, a device or a folder")
    with path.open("rb") as raw:
        if suffix == ".gz":
            try:
                with gzip.GzipFile(fileobj=raw) as stream:
                    return _read_bounded(stream, raw, where)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise InputError(f"{where}: not a whole gzip file ({error}). Compress it again.") from None
        return _read_zst(raw, where)


def _read_zst(raw: IO[bytes], where: str) -> bytes:
    try:
        import pyarrow
    except ImportError:
        raise InputError(
            f"{where}: .zst files need the package pyarrow. Install it: pip install 'srmu[hub]'."
        ) from None
    try:
        with pyarrow.CompressedInputStream(pyarrow.PythonFile(raw, mode="r"), "zstd") as stream:
            return _read_bounded(stream, raw, where)
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"{where}: not a whole zstd file ({reason}). Compress it again.") from None


def _read_bounded(stream: Any, raw: IO[bytes], where: str) -> bytes:
    """All bytes of a packed stream, unless they are far more than the packed bytes they come from."""
    data = bytearray()
    while chunk := stream.read(_CHUNK):
        data += chunk
        if len(data) > _ALWAYS_BYTES and len(data) > _MOST_GROWTH * raw.tell():
            raise InputError(
                f"{where}: unpacks to more than {_MOST_GROWTH} times its size, which ordinary text does not. "
                "Unpack the file yourself and look at it."
            )
    return bytes(data)
