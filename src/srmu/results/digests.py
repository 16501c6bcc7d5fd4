"""`SHA256SUMS` of a run directory: the hash of every file in it, the manifest included.

A manifest cannot hold its own hash, and `results.json` grows after it was written. So a file of its own covers all,
in the format of `sha256sum`: `cd RUN && sha256sum -c SHA256SUMS` checks it without srmu. What srmu reads of a finished
run, to gate, compare, report, evaluate or attack it, must be what is listed there; what it adds is listed there too.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from srmu.errors import InputError
from srmu.results.run_files import MANIFEST_FILE, SIGNATURE_FILE, SUMS_FILE
from srmu.runtime.files import file_sha256, is_leftover, sync, write_atomic, write_partial

# `sha256sum` puts a backslash before a line whose name needed escapes.
_LINE = re.compile(rb"(\\?)([0-9a-f]{64})  ([^\n\r\0]+)\n")
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_UNESCAPES = {escape: character for character, escape in _ESCAPES.items()}
_MOST_BYTES = 50_000_000
"""Of a JSON file of a run: those that srmu writes have some thousands."""


def write_sums(run_dir: Path, digests: Mapping[str, str]) -> None:
    """Write `SHA256SUMS`, which appears whole or not at all.

    Args:
        run_dir: The run directory.
        digests: SHA-256 by name, relative to it and with '/'.
    """
    write_atomic(run_dir / SUMS_FILE, b"".join(_line(name, digests[name]) for name in sorted(digests)))


def read_sums(run_dir: Path) -> dict[str, str]:
    """SHA-256 of every file of a finished run, by name.

    Raises:
        InputError: There is no `SHA256SUMS`, or it is not as srmu or `sha256sum` write it.
    """
    file = run_dir / SUMS_FILE
    try:
        content = file.read_bytes() if file.is_file() else None
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read ({error.strerror}). Restore it from a copy.") from None
    if content is None:
        raise InputError(
            f"Run {str(run_dir)!r} has no {SUMS_FILE}, so nothing says whether its files are whole. Restore it from a "
            "copy of the run; for a run of an earlier srmu, make it with sha256sum."
        )
    return parse_sums(content, file)


def parse_sums(content: bytes, file: Path) -> dict[str, str]:
    """The same from the file's content; nothing else than what `sha256sum` writes is taken.

    Raises:
        InputError: The content is damaged, or names what lies outside of the run.
    """
    digests: dict[str, str] = {}
    position = 0
    while position < len(content):
        if (match := _LINE.match(content, position)) is None:
            raise InputError(f"{str(file)!r} is damaged in line {1 + len(digests)}. Restore it from a copy.")
        name = _name_of(match)
        if name in digests or not _is_inside(name) or _line(name, "") != match[1] + b"  " + match[3] + b"\n":
            raise InputError(
                f"{str(file)!r} names {name[:200]!r}, which is listed twice or is no plain name inside the run "
                "directory. Restore it from a copy."
            )
        digests[name] = match[2].decode()
        position = match.end()
    return digests


def read_listed(run_dir: Path, name: str) -> bytes | None:
    """The content of a file of a finished run, which must be the one that is listed; none where there is no such file.

    Raises:
        InputError: The run has no `SHA256SUMS`, or its file is another one, missing, not listed, or far too large.
    """
    file = run_dir / name
    listed = read_sums(run_dir).get(name)
    if listed is not None and _interrupted(run_dir, name, listed) is not None:
        with contextlib.suppress(OSError):
            settle(run_dir)
    if not file.is_file():
        if listed is None:
            return None
        raise InputError(
            f"{str(file)!r} is missing, and {SUMS_FILE} of the run lists it. Restore it from a copy; to go on without "
            "it, remove its line there."
        )
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise InputError(
                f"{str(file)!r} has {file.stat().st_size:,} bytes, and srmu writes none of more than {_MOST_BYTES:,}. "
                "Restore it from a copy."
            )
        content = file.read_bytes()
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read ({error.strerror}). Restore it from a copy.") from None
    found = hashlib.sha256(content).hexdigest()
    if listed is None:
        raise InputError(
            f"{str(file)!r} is not listed in {SUMS_FILE} of the run, so srmu did not write it there. Remove it, or "
            "restore the run from a copy."
        )
    if found != listed:
        raise InputError(
            f"{str(file)!r} is not the file that srmu wrote: it has SHA-256 {found[:12]}…, and {SUMS_FILE} of the run "
            f"lists {listed[:12]}…. Restore it from a copy; srmu verify looks at all files."
        )
    return content


def check_listed(run_dir: Path, name: str) -> None:
    """Refuse a file of a finished run that is not the one listed; read in pieces.

    Raises:
        InputError: As `read_listed`.
    """
    file, listed = run_dir / name, read_sums(run_dir).get(name)
    if listed is None or not file.is_file() or file_sha256(file) != listed:
        raise InputError(
            f"{str(file)!r} is not the file that {SUMS_FILE} of the run lists. Restore it from a copy; srmu verify "
            "looks at all files."
        )


def is_finished(run_dir: Path) -> bool:
    """Whether a directory holds a manifest, which is the last file of a run."""
    return (run_dir / MANIFEST_FILE).is_file()


def replace_listed(run_dir: Path, name: str, content: bytes, *, private: bool = False) -> None:
    """Put a file into a finished run, together with its hash.

    Three renames: the new content under a temporary name, the list that has its hash, the content to its place. A
    process that is killed in between leaves the old file or one that `settle` finds, never one that is not listed.
    The caller holds `locked_directory`, for two that write at once would list each other's files.

    Raises:
        InputError: The run has no `SHA256SUMS`, or what is there is no file.
    """
    digests = read_sums(run_dir)
    partial = write_partial(run_dir / name, content, private=private)
    try:
        write_sums(run_dir, {**digests, name: hashlib.sha256(content).hexdigest()})
        os.replace(partial, run_dir / name)
    except BaseException:
        # Listed already, what was written is found by `settle`.
        if read_sums(run_dir).get(name) != hashlib.sha256(content).hexdigest():
            partial.unlink(missing_ok=True)
        raise
    sync(run_dir)


def settle(run_dir: Path) -> None:
    """Finish what a process killed within `replace_listed` left."""
    for name, listed in read_sums(run_dir).items():
        if (written := _interrupted(run_dir, name, listed)) is not None:
            os.replace(written, run_dir / name)


def unlisted(run_dir: Path, digests: Mapping[str, str]) -> list[str]:
    """Files in a run directory that its `SHA256SUMS` does not list, itself and its signature left out."""
    found = [
        path.relative_to(run_dir).as_posix()
        for path in run_dir.rglob("*")
        if not path.is_dir() and not is_leftover(path)
    ]
    return sorted(name for name in found if name not in digests and name not in (SUMS_FILE, SIGNATURE_FILE))


def _interrupted(run_dir: Path, name: str, listed: str) -> Path | None:
    """The listed content under its temporary name, where a killed process left it and it is not in its place."""
    left = [path for path in _leftovers(run_dir / name) if file_sha256(path) == listed]
    return left[0] if left and not _holds(run_dir / name, listed) else None


def _leftovers(file: Path) -> Iterator[Path]:
    # A plain listing: names may hold what a pattern would take for its own.
    if file.parent.is_dir():
        yield from (path for path in file.parent.iterdir() if is_leftover(path, file.name) and path.is_file())


def _holds(file: Path, listed: str) -> bool:
    return file.is_file() and file_sha256(file) == listed


def _line(name: str, digest: str) -> bytes:
    escaped = re.sub(r"[\\\n\r]", lambda match: _ESCAPES[match.group()], name)
    return ("\\" if escaped != name else "").encode() + digest.encode() + b"  " + os.fsencode(escaped) + b"\n"


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and path.as_posix() == name


def _name_of(match: re.Match[bytes]) -> str:
    name = os.fsdecode(match[3])
    if not match[1]:
        return name
    return re.sub(r"\\[\\nr]", lambda found: _UNESCAPES[found.group()], name)
