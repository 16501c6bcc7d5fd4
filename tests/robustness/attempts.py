"""Attempts from outside to break a command, each with the right answer, and the driver that makes them in-process.

A maker gets a source of randomness, a folder of its own and the sound inputs; it prepares the folder and says which
command is given and what the right answer is. Everything in the folder that the command has no business with must be
there afterwards, byte for byte.
"""

import contextlib
import errno
import io
import os
import random
import signal
import sys
import time
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from robustness.generated_inputs import Sound
from srmu.cli.app import main
from srmu.runtime.memory import peak_memory_mb, reset_peak_memory

SECONDS, MEGABYTES = 10.0, 1000.0
"""Processor time and memory that a command may take, beyond a tiny model's."""
HANGS = 90
"""Seconds after which a command is stopped, on a machine that may be busy."""


@dataclass(frozen=True)
class Found:
    """What a command left: its code, what it printed, and the folder."""

    code: int
    out: str
    errors: str
    folder: Path


@dataclass(frozen=True)
class Attempt:
    """One command and its right answer.

    Attributes:
        arguments: Of `srmu`.
        codes: Right exit codes.
        ours: Files and folders below the attempt's folder that the command may make, change or replace.
        judge: What else is right; it returns what is wrong, or nothing.
        environment: Variables to set.
        output: What standard output is: utf-8, ascii, or full, as a disk may be.
    """

    arguments: list[str]
    codes: tuple[int, ...]
    ours: tuple[str, ...] = ()
    judge: Callable[[Found], str] = lambda _: ""
    environment: dict[str, str] = field(default_factory=dict)
    output: str = "utf-8"


@dataclass(frozen=True)
class SoundRun(Sound):
    """Sound inputs and a finished, measured, attacked run on `single`.

    Attributes:
        run: Its directory.
    """

    run: Path


Maker = Callable[[random.Random, Path, SoundRun], Attempt]
KINDS: dict[str, tuple[int, Maker]] = {}


def attempts(share: int = 1) -> Callable[[Maker], Maker]:
    """Register a maker under its function's name; it gets so many shares of all attempts."""

    def register(maker: Maker) -> Maker:
        KINDS[maker.__name__] = (share, maker)
        return maker

    return register


def kind_of(number: int) -> str:
    """Kinds by turns, each as often as its share."""
    turns = [kind for kind, (share, _) in KINDS.items() for _ in range(share)]
    # A step that has no common factor with their number visits all of them, in an order that mixes them.
    step = next(step for step in (37, 41, 43, 47) if len(turns) % step)
    return turns[number * step % len(turns)]


def make(number: int, folder: Path, sound: SoundRun) -> Attempt:
    """The attempt of that number, prepared in a folder."""
    folder.mkdir()
    return KINDS[kind_of(number)][1](random.Random(number), folder, sound)


class _FullDisk(io.RawIOBase):
    full = True

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return len(content)


@contextlib.contextmanager
def _streams(kind: str) -> Iterator[tuple[io.BytesIO, io.BytesIO]]:
    out, errors = io.BytesIO(), io.BytesIO()
    raw = io.BufferedWriter(_FullDisk()) if kind == "full" else out
    encoding = "utf-8" if kind == "full" else kind
    # Each is given back as it was, even where the command pointed it elsewhere.
    with mock.patch.multiple(sys, stdout=io.TextIOWrapper(raw, encoding), stderr=io.TextIOWrapper(errors, encoding)):
        yield out, errors
        if kind == "full":
            # Nothing more is to be written when it is thrown away.
            raw.raw.full = False  # type: ignore[attr-defined]


@contextlib.contextmanager
def _stopped_when_it_hangs() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no end after {HANGS} s")

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def problem(attempt: Attempt, folder: Path) -> str:
    """What is wrong with how the command took this attempt; empty where nothing is."""
    device, before = torch.device("cpu"), contents(folder, attempt.ours)
    reset_peak_memory(device)
    held, started = peak_memory_mb(device)["resident"], time.process_time()
    try:
        with (
            _streams(attempt.output) as (out, errors), mock.patch.dict(os.environ, attempt.environment),
            contextlib.chdir(folder), warnings.catch_warnings(), _stopped_when_it_hangs(),
        ):  # fmt: skip
            warnings.simplefilter("ignore")
            code = main(attempt.arguments)
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError, ValueError):
                    stream.flush()
            found = Found(code, out.getvalue().decode(), errors.getvalue().decode(), folder)
    except (Exception, SystemExit) as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    seconds, peak = time.process_time() - started, peak_memory_mb(device)["resident"] - held
    return (
        _wrong_answer(attempt, found)
        or _touched(before, contents(folder, attempt.ours))
        or attempt.judge(found)
        or (f"it took {seconds:.1f} s and {peak:.0f} MB" if seconds > SECONDS or peak > MEGABYTES else "")
    )


def _wrong_answer(attempt: Attempt, found: Found) -> str:
    if found.code not in attempt.codes or "Traceback" in found.errors + found.out:
        return f"code {found.code}, right is {attempt.codes}: {(found.out + found.errors)[-400:]}"
    told = [line for line in found.errors.splitlines() if line.startswith("error: ")]
    if found.code >= 2 and (len(told) != 1 or not told[0].endswith((".", "?", ")")) or len(told[0]) > 2000):
        return f"no sentence: {found.errors[-400:]}"
    if orders := {letter for letter in found.out + found.errors if is_order(letter)}:
        return f"control characters {orders} were printed"
    return ""


def is_order(letter: str) -> bool:
    """Whether a terminal would obey a character, or turn the direction of writing by it."""
    return letter not in "\n\t" and (unicodedata.category(letter) in ("Cc", "Cs") or letter in "\u202e\u2066\u2028")


def _touched(before: dict[str, object], after: dict[str, object]) -> str:
    if gone := sorted(before.keys() - after.keys()):
        return f"{gone[:3]} were deleted"
    if made := sorted(after.keys() - before.keys()):
        return f"{made[:3]} were written"
    changed = [name for name in before if before[name] != after[name]]
    return f"{changed[:3]} were changed" if changed else ""


def contents(folder: Path, ours: tuple[str, ...]) -> dict[str, object]:
    """What lies in a folder, but for what the command may change."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            if any(relative == own or relative.startswith(own + "/") for own in ours):
                continue
            is_content = path.is_file() and not path.is_symlink()
            found[relative] = path.read_bytes() if is_content else (path.is_symlink() and os.readlink(path))
    return found
