"""The log of a folder of requests: JSON lines that only grow, each with the hash of the one before.

A line is written in one form only, so that no byte of it can change and leave it as it was: it must be what
`json.dumps` makes of its content, and `hash` must be the SHA-256 of that content without `hash`. `previous` is the hash
of the line before. Whoever rewrites all lines from a place on makes another log that is right in itself: against that
only a hash helps that was kept elsewhere (`find_hash`).
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.results.erasure.records import Entry
from srmu.results.schema import Mismatch, from_json, to_json
from srmu.runtime.files import readable_errors, sync
from srmu.runtime.locks import waiting_lock

FIRST = "0" * 64
"""`previous` of the first entry."""
EVENTS = ("received", "began", "abandoned", "checked", "written", "closed")


@dataclass(frozen=True)
class Damage:
    """A place of the log that is not as it was written.

    Attributes:
        line: From 1.
        problem: What is wrong there.
    """

    line: int
    problem: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.problem}"


@dataclass(frozen=True)
class Log:
    """What a log says.

    Attributes:
        entries: Up to the first damage.
        damage: All places that are wrong; empty = every byte is as it was written.
    """

    entries: tuple[Entry, ...]
    damage: tuple[Damage, ...]

    @property
    def head(self) -> str:
        """Hash of the last entry."""
        return self.entries[-1].hash if self.entries else FIRST


def read_log(file: Path) -> Log:
    """Read and verify a log; a file that is not there is an empty log.

    Raises:
        InputError: It cannot be read.
    """
    try:
        content = file.read_bytes() if file.exists() else b""
    except OSError as error:
        raise InputError(f"The log {str(file)!r} cannot be read: {error.strerror}.") from None
    entries: list[Entry] = []
    damage: list[Damage] = []
    previous: set[str] | None = {FIRST}
    lines = content.split(b"\n")
    if lines.pop():
        damage.append(Damage(len(lines) + 1, "it does not end: a write was cut short, or something was added"))
    for number, line in enumerate(lines, 1):
        entry, problem = _read_line(line, number, previous)
        if problem:
            damage.append(Damage(number, problem))
        # The next line follows what this one says of itself or holds: one changed byte is one damage.
        previous = None if entry is None else {entry.hash, _content_hash(json.loads(line))}
        if entry is not None and not damage:
            entries.append(entry)
    return Log(tuple(entries), tuple(sorted(damage, key=lambda found: found.line)))


def append(file: Path, record: Any, time: str) -> Entry:
    """Add an entry; two processes that do so wait for each other.

    Args:
        file: The log.
        record: One of the records that an `Entry` may hold.
        time: In UTC.

    Raises:
        InputError: The log is damaged, or cannot be written.
    """
    with readable_errors(file.parent), waiting_lock(file.with_name(f".{file.name}.lock")):
        log = read_whole_log(file)
        name = type(record).__name__.lower()
        assert name in EVENTS
        entry = Entry(number=len(log.entries) + 1, time=time, previous=log.head, **{name: record})
        entry = dataclasses.replace(entry, hash=_content_hash(to_json(entry)))
        _write_line(file, _line(to_json(entry)))
        return entry


def read_whole_log(file: Path) -> Log:
    """Read a log that nobody changed.

    Raises:
        InputError: Naming the first place where it is damaged.
    """
    log = read_log(file)
    if log.damage:
        raise InputError(
            f"The log {str(file)!r} is not as it was written, {log.damage[0]}. Nothing was added to it. Restore it "
            "from a copy, and find out who changed it."
        )
    return log


def find_hash(log: Log, wanted: str) -> Entry | None:
    """The entry with this hash, or with a hash that begins so; none = the log that it was taken from is another one."""
    return next((entry for entry in log.entries if wanted and entry.hash.startswith(wanted.lower())), None)


def event_of(entry: Entry) -> str:
    """Which of its records an entry holds."""
    return next(name for name in EVENTS if getattr(entry, name) is not None)


def _read_line(line: bytes, number: int, previous: set[str] | None) -> tuple[Entry | None, str]:
    """The entry of a line, where it is one, and what is wrong with it, or nothing.

    Args:
        line: Without its end.
        number: From 1.
        previous: Hashes of which the entry must name one; none = the line before is no entry, so that nothing is known.
    """
    try:
        content = json.loads(line.decode("utf-8"))
        entry: Entry = from_json(Entry, content)
    except (ValueError, RecursionError, Mismatch) as error:
        return None, f"it is no entry of a log ({' '.join(str(error).split())[:80]})"
    held = [name for name in EVENTS if getattr(entry, name) is not None]
    if len(held) != 1:
        return entry, f"it holds {len(held)} events instead of one"
    name = f"entry {entry.number}, {held[0]!r}"
    if _line(content) != line:
        return entry, f"it is not in the form in which srmu writes it ({name})"
    if entry.hash != _content_hash(content):
        return entry, f"its content does not have the hash that it names ({name})"
    if previous is not None and entry.previous not in previous:
        return entry, f"it does not follow the line before it: one was changed, removed or added there ({name})"
    if entry.number != number:
        return entry, f"it is not the one with this number ({name})"
    return entry, ""


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, separators=(",", ":"), allow_nan=False).encode("ascii")


def _content_hash(content: dict[str, Any]) -> str:
    return hashlib.sha256(_line({key: value for key, value in content.items() if key != "hash"})).hexdigest()


def _write_line(file: Path, line: bytes) -> None:
    """Append one line, flushed to the disk; what a full disk cuts short is taken back."""
    is_new = not file.exists()
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        content = line + b"\n"
        try:
            while content:
                content = content[os.write(handle, content) :]
            os.fsync(handle)
        except OSError:
            os.ftruncate(handle, size)
            raise
    finally:
        os.close(handle)
    if is_new:
        sync(file.parent)


def entries_of(log: Log, event: str) -> Sequence[Any]:
    """The records of one kind of event, in order."""
    return [record for entry in log.entries if (record := getattr(entry, event)) is not None]
