"""Attempts on the records of a finished run: flipped bits, lost and exchanged files, forgeries, damaged values."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from robustness.attempts import Attempt, SoundRun, attempts
from sealed import seal

RESULTS, MANIFEST, METRICS, MAPS = "results.json", "manifest.json", "metrics.jsonl", "importance.safetensors"
REPORT = ["report", "run"]
READERS: dict[str, list[list[str]]] = {
    RESULTS: [["gate", "run", "--require", "forget<=0.3"], ["compare", "run"], REPORT],
    MANIFEST: [["gate", "run", "--require", "forget<=0.3"], ["compare", "run", "--format", "json"], REPORT],
    METRICS: [REPORT],
    MAPS: [REPORT],
}
"""Commands that read each file."""


def copy_of(sound: SoundRun, folder: Path) -> Path:
    """The run, to be damaged."""
    return Path(shutil.copytree(sound.run, folder / "run"))


def files_of(run: Path) -> list[str]:
    """Every file of a run by its name."""
    return sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())


def look(source: random.Random, name: str) -> Attempt:
    """Verify, which must fail, or a command that reads this file, which must refuse."""
    if name in READERS and source.random() < 0.5:
        return Attempt(source.choice(READERS[name]), (2,))
    return Attempt(["verify", "run"], (1,))


@attempts(share=12)
def flipped_bit(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = copy_of(sound, folder)
    name = source.choice([*files_of(run), *READERS])
    content = bytearray((run / name).read_bytes())
    place = source.randrange(8 * len(content))
    content[place // 8] ^= 1 << place % 8
    (run / name).write_bytes(content)
    return look(source, name)


@attempts(share=3)
def file_that_is_another(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = copy_of(sound, folder)
    name = source.choice([*(name for name in files_of(run) if name != "SHA256SUMS"), *READERS])
    file = run / name
    kind = source.choice(["gone", "empty", "cut", "longer", "folder", "link", "other"])
    content = file.read_bytes()
    if kind == "other":
        file.write_bytes((run / source.choice([one for one in files_of(run) if one != name])).read_bytes() + b"\n")
    elif kind in ("empty", "cut", "longer"):
        cut = content[: source.randrange(len(content))]
        file.write_bytes({"empty": b"", "cut": cut, "longer": content + b" "}[kind])
    else:
        file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(source.choice(["nowhere", file.name, "/dev/zero"]))
    return look(source, name)


@attempts()
def file_that_nothing_lists(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = copy_of(sound, folder)
    name = source.choice(["model/more.json", "questions/more.jsonl", "model/a/b.txt", "attack_cells.json"])
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).write_text("{}")
    return Attempt(["verify", "run"], (1,))


@attempts(share=2)
def list_that_is_damaged(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = copy_of(sound, folder)
    sums = run / "SHA256SUMS"
    lines = sums.read_text().splitlines(keepends=True)
    kind = source.choice(["gone", "less", "twice", "crlf", "upper", "outside", "words", "binary", "huge", "cut"])
    if kind == "gone":
        sums.unlink()
    elif kind == "less":
        sums.write_text("".join(line for line in lines if "manifest.json" not in line))
    elif kind == "huge":
        sums.write_bytes(b"0" * 5_000_000)
    else:
        changed = {
            "twice": [*lines, lines[0]], "crlf": [line.replace("\n", "\r\n") for line in lines],
            "upper": [line.upper() for line in lines], "outside": [*lines, "0" * 64 + "  ../texts/forget.txt\n"],
            "words": ["all is well\n"], "binary": ["\0" * 100], "cut": ["".join(lines)[:-1]],
        }[kind]  # fmt: skip
        sums.write_text("".join(changed))
    return Attempt(source.choice([["verify", "run"]]), (1,)) if source.random() < 0.5 else Attempt(
        source.choice(READERS[MANIFEST]), (2,)
    )  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a JSON value."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    """The value at the end of a way."""
    for key in path:
        value = value[key]
    return value


def rewrite(file: Path, value: Any) -> None:
    """Write JSON as others might; a number without an end is no JSON, but many writers write it."""
    file.write_text(json.dumps(value), encoding="utf-8", errors="surrogatepass")


@attempts(share=10)
def record_of_another_form(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """One value has another type, a key is unknown or missing; the list is forged to fit."""
    run = copy_of(sound, folder)
    name = source.choice([RESULTS, MANIFEST])
    record = json.loads((run / name).read_text())
    # Settings may be any JSON value.
    path = source.choice([path for path in places(record) if path[0] != "config"])
    holder, key = at(record, path[:-1]), path[-1]
    old = holder[key]
    kind = source.choice(["type", "type", "type", "nan", "nest", "digits"])
    if kind == "type":
        holder[key] = 17 if isinstance(old, str) else "text" if not isinstance(old, (dict, list)) else 3
    elif kind == "nan":
        holder[key] = source.choice([float("nan"), float("inf"), -float("inf")])
    elif kind == "digits":
        holder[key] = [[10**300]] if isinstance(old, list) else 10**300
    else:
        holder[key] = json.loads("[" * 40 + "]" * 40)
    rewrite(run / name, record)
    seal(run)
    return Attempt(source.choice([*READERS[name], ["verify", "run"]]), (1, 2))


@attempts(share=2)
def record_that_is_none(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = copy_of(sound, folder)
    name = source.choice([RESULTS, MANIFEST])
    content = source.choice(
        [b"", b"null", b"[]", b"3", b"\xff", b"[" * 100_000, b"{" * 1000, b'{"format": 2}', b'{"format": true}',
         b'{"format": [[[[]]]]}', b"1" * 10_000, b'{"format": 1e999}', b" " * 1_000_000, b'{"a":' * 5000,
         b"[[]," * 10**6]
    )  # fmt: skip
    (run / name).write_bytes(content)
    seal(run)
    return Attempt(source.choice([*READERS[name], ["verify", "run"]]), (1, 2))


@attempts(share=8)
def record_with_odd_values(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """Values of the right type that nobody would write: the answer may be any, but an answer it is."""
    run = copy_of(sound, folder)
    name = source.choice([RESULTS, MANIFEST])
    record = json.loads((run / name).read_text())
    found = list(places(record))
    for _ in range(source.randint(1, 6)):
        path = source.choice(found)
        with_parent = at(record, path[:-1])
        old = with_parent[path[-1]]
        if isinstance(old, bool) or old is None:
            with_parent[path[-1]] = source.choice([True, False])
        elif isinstance(old, (int, float)):
            choices = [0, -1, 1, 2**62, -(2**62), 5e-324, 1e308, -1e308, 1e-9, 0.5]
            with_parent[path[-1]] = source.choice(choices if isinstance(old, float) else choices[:5])
        elif isinstance(old, str):
            with_parent[path[-1]] = source.choice(HOSTILE)
        elif isinstance(old, list):
            with_parent[path[-1]] = old * source.choice([0, 3])
        elif old:
            keys = list(old)
            old[source.choice(HOSTILE)] = old.pop(source.choice(keys))
            found = list(places(record))
    rewrite(run / name, record)
    seal(run)
    command = source.choice(
        [*READERS[name], ["verify", "run"], ["compare", "run", "--format", "csv"],
         ["compare", "run", "--plot", "p.svg"],
         ["compare", "run", "--format", "markdown"],
         ["gate", "run", "--require", "text.forget.nll<=1", "--junit", "j.xml"],
         ["export", "run", "--as", "delta", "--out", "d"], ["evaluate", "run", "--limit", "1"]]
    )  # fmt: skip
    ours = ("p.svg", "j.xml", "d", "run/report.html", "run/results.json", "run/SHA256SUMS")
    return Attempt(command, (0, 1, 2), ours)


HOSTILE = [
    "\x1b[31mred\x1b[0m", "a\rb", "a\x00b", "\x9b2J", "\u202egnp.exe", "\ud800", "", "x" * 100_000, "=1+1", "a|b\n# c",
    "<script>alert(1)</script>", "../../etc/passwd", "/etc/passwd", "~root", "text:sha256:" + "0" * 64, "$(reboot)",
    "--help", "{{ 7 * 7 }}", "%s%n", "日本", "forget", "NaN",
]  # fmt: skip
"""Texts that somewhere are orders."""


@attempts(share=3)
def traces_that_are_damaged(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """Losses and maps that no run wrote, listed all the same."""
    run = copy_of(sound, folder)
    if source.random() < 0.5:
        line = source.choice(
            ["{", "[]", "3", '{"step": "x"}', '{"forget_loss": 1}', '{"step": 1, "forget_loss": "x"}', "\ud800",
             '{"step": 1, "forget_loss": NaN}', '{"step": 1, "retain_loss": 1e400}', '{"step": 1, "topic": 3}',
             "[" * 70_000, '{"step": 1, "forget_loss": 1e300}', f'{{"step": {10**400}}}', "x" * 5_000_000]
        )  # fmt: skip
        with (run / METRICS).open("a", encoding="utf-8", errors="surrogatepass") as file:
            file.write(line + "\n")
    else:
        tensors = load_file(run / MAPS)
        name = next(name for name in tensors if name.endswith("importance_map"))
        wrong = source.choice(
            [np.zeros((2, 2), np.float32), np.zeros(0, np.float32), np.full(8, np.nan, np.float32),
             np.zeros(4, np.int64),
             np.full(8, -np.inf, np.float32), np.zeros(5, np.float64)]
        )  # fmt: skip
        save_file({**tensors, name: np.ascontiguousarray(wrong)}, run / MAPS)
        if source.random() < 0.4:
            (run / MAPS).write_bytes(
                source.choice([b"", b"\xff" * 100, os.urandom(500), (run / MAPS).read_bytes()[:-3]])
            )
    seal(run)
    return Attempt(REPORT, (2,))


@attempts(share=2)
def delta_that_is_damaged(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = copy_of(sound, folder)
    file = run / "delta.safetensors"
    content = bytearray(file.read_bytes())
    kind = source.choice(["bit", "cut", "empty", "header", "gone"])
    if kind == "gone":
        file.unlink()
    elif kind in ("cut", "empty"):
        file.write_bytes(content[: source.randrange(len(content)) if kind == "cut" else 0])
    else:
        length = int.from_bytes(content[:8], "little")
        place = source.randrange(8 + length if kind == "header" else len(content))
        content[place] ^= 1 << source.randrange(8)
        file.write_bytes(content)
    # A bit of the card, which the delta holds, is found by verify and not by apply.
    damaged = ["apply", source.choice(["run", "run/delta.safetensors"]), "--base", str(sound.single), "--out", "made"]
    return Attempt(damaged, (2,) if kind != "bit" and kind != "header" else (0, 2), ("made",))


@attempts(share=2)
def answers_that_are_none(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    copy_of(sound, folder)
    content = source.choice(
        ["", "{}", "[3]", '[{"prompt": 3, "result": "x"}]', '[{"prompt": "x"}]', "[" * 100_000, "\xff", "1" * 5000,
         '[{"prompt": "a", "result": "b", "base": ["c"]}]', '[{"prompt": "a", "result": "b", "more": 1}]']
    )  # fmt: skip
    (folder / "answers.json").write_text(content, encoding="latin-1")
    return Attempt([*REPORT, "--answers", source.choice(["answers.json", "answers.json", "none.json", "run"])], (2,))


@attempts()
def finished_parts_of_an_attack_that_are_damaged(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = copy_of(sound, folder)
    file = run / "attack_cells.json"
    file.write_bytes(source.choice([b"[]", b"{", b"\xff", b'{"a": 3}', b"[" * 100_000]))
    if source.random() < 0.7:
        seal(run)
    return Attempt(["attack", "run", "--only", "keywords"], (2,))


@attempts()
def base_that_is_another(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    copy_of(sound, folder)
    other = str(sound.sharded)
    return source.choice(
        [Attempt(["verify", "run", "--base", other], (1,)),
         Attempt(["ask", "run", "--prompt", "a", "--base", other], (2,)),
         Attempt(["evaluate", "run", "--base", other], (2,)), Attempt(["verify", "run", "--base", "nowhere"], (1,)),
         Attempt(["apply", "run", "--base", other, "--out", "made"], (2,))]
    )  # fmt: skip


@attempts()
def run_as_it_is(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """The control: a sound run passes, and what is added keeps it so."""
    copy_of(sound, folder)
    ours = ("run/report.html", "run/results.json", "run/SHA256SUMS", "made", "d")
    return source.choice(
        [Attempt(["verify", "run"], (0,)), Attempt(REPORT, (0,), ours), Attempt(["compare", "run"], (0,)),
         Attempt(["apply", "run", "--base", str(sound.single), "--out", "made"], (0,), ours),
         Attempt(["gate", "run", "--require", "forget<=1"], (0,)), Attempt(["evaluate", "run"], (0,), ours),
         Attempt(["export", "run", "--as", "delta", "--out", "d"], (0,), ours)]
    )  # fmt: skip
