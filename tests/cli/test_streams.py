"""Output that cannot take everything, names that no file may have, and an environment that promises other processes."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from main_job import call
from srmu.cli.app import main
from srmu.cli.streams import describe_os_error
from srmu.errors import InputError
from srmu.runtime import processes
from srmu.runtime.files import write_atomic

SOURCE = Path(__file__).parents[2] / "src"


def start(
    arguments: list[str], stdout: Any = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """The command in a process of its own."""
    variables = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [sys.executable, "-m", "srmu", *arguments], stdout=stdout, stderr=subprocess.PIPE, env=variables, timeout=60
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_output_is_one_sentence() -> None:
    with open("/dev/full", "wb") as full:
        done = start(["--version"], stdout=full)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: The output cannot be read or written (No space left on device).")
    assert len(done.stderr.splitlines()) == 1


def test_an_output_that_nobody_reads_ends_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = start(["--help"], stdout=writer)
    os.close(writer)
    assert done.returncode in (1, 141)  # Typer's own code, or that of a shell
    assert done.stderr == b""


def test_an_output_of_ascii_alone_shows_escapes() -> None:
    done = start(["verify", "rün\N{CAT}"], PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert done.returncode in (1, 2)
    assert b"Traceback" not in done.stderr
    assert b"does not exist" in done.stderr
    assert start(["unlearn", "--help"], PYTHONIOENCODING="ascii", PYTHONUTF8="0").returncode == 0


BAD_NAMES = {"long": "x" * 300, "deep": "/".join(["y" * 200] * 30), "nul": "a\0b", "surrogate": "a\udc80b"}


@pytest.mark.parametrize("kind", BAD_NAMES)
@pytest.mark.parametrize(
    "command",
    [
        ["unlearn", "NAME", "--forget", "a.txt"],
        ["unlearn", "BASE", "--forget", "NAME"],
        ["unlearn", "BASE", "--forget", "FILE", "--out", "NAME"],
        ["unlearn", "BASE", "--forget", "FILE", "--questions", "forget=NAME", "--out", "run"],
        ["unlearn", "--resume", "NAME"],
        ["unlearn", "NAME.yaml"],
        ["evaluate", "NAME"],
        ["verify", "NAME"],
        ["report", "NAME"],
        ["gate", "NAME", "--require", "forget<=0.3"],
        ["compare", "NAME", "NAME2"],
        ["apply", "BASE", "NAME", "out"],
        ["export", "NAME", "--as", "lora"],
        ["demo", "--out", "NAME"],
    ],
    ids=lambda command: " ".join(command),
)
def test_a_name_that_no_file_may_have_is_one_sentence(
    command: list[str], kind: str, saved_family: Any, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.txt").write_text("one two three four\n\nfive six seven eight")
    replaced = {"BASE": str(saved_family("llama")), "FILE": "f.txt"}
    arguments = [replaced.get(part, part.replace("NAME", BAD_NAMES[kind])) for part in command]
    if command[:2] == ["unlearn", "BASE"]:
        arguments += ["--dry-run"]
    if kind == "surrogate" and "--out" in command:
        pytest.skip("a name of bytes that are no text is one that a file may have")
    code, _, errors = call(capsys, *arguments)
    assert code in (1, 2), errors
    assert "Traceback" not in errors
    assert len([line for line in errors.splitlines() if line.startswith("error: ")]) == (
        command[0] != "verify" or code == 2
    )


@pytest.mark.parametrize("missing", ["RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_a_world_size_without_a_launcher_is_refused_instead_of_waited_for(
    missing: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "4", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(missing)
    code, _, errors = call(capsys, "unlearn", "no/model", "--forget", "a.txt")
    assert code == 2
    assert (
        f"error: WORLD_SIZE=4 in the environment says that 4 processes share the work, but {missing} is not" in errors
    )


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("WORLD_SIZE", "many", "is no number"), ("RANK", "x", "is no number"), ("RANK", "7", "not below WORLD_SIZE")],
)
def test_a_launcher_s_environment_that_makes_no_sense_is_named(
    name: str, value: str, words: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", name: value}
    for key, entry in given.items():
        monkeypatch.setenv(key, entry)
    with pytest.raises(InputError, match=words):
        processes.world_size()
    assert call(capsys, "unlearn", "no/model", "--forget", "a.txt")[0] == 2


def test_a_requirement_of_blanks_is_refused_at_once(tmp_path: Path, capsys: Any) -> None:
    code, _, errors = call(capsys, "unlearn", str(tmp_path), "--forget", "a.txt", "--require", " " * 120_000)
    assert code == 2
    assert "is not understood" in errors
    assert len(errors) < 1500


@pytest.mark.parametrize("place", ["/dev/null", "folder", "pipe"])
def test_no_file_takes_the_place_of_a_device_a_pipe_or_a_folder(place: str, tmp_path: Path) -> None:
    path = Path(place) if place.startswith("/") else tmp_path / place
    if place == "folder":
        path.mkdir()
    elif place == "pipe":
        os.mkfifo(path)
    with pytest.raises(InputError, match="is a folder or a device"):
        write_atomic(path, b"report")
    assert not path.is_file()


def test_a_file_that_is_cut_short_while_it_is_mapped_ends_with_a_sentence(tmp_path: Path) -> None:
    script = """
import sys, torch
from srmu.runtime.interruption import noticed_bus_errors
file = sys.argv[1]
open(file, "wb").write(bytes(1 << 24))
mapped = torch.from_file(file, shared=True, size=1 << 22, dtype=torch.float32)
with noticed_bus_errors():
    open(file, "wb").close()
    mapped.sum()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "weights")],
        env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 3
    assert done.stderr.strip().startswith("error: A file was cut short while it was being read")


def test_signals_are_left_as_they_were(capsys: Any) -> None:
    import signal

    before = signal.getsignal(signal.SIGBUS)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGBUS) == before
    assert signal.set_wakeup_fd(-1) == -1


def test_what_the_system_refuses_for_no_known_reason_stays_a_fault() -> None:
    assert describe_os_error(OSError(errno.EADDRINUSE, "in use")) is None
    told = describe_os_error(OSError(errno.EACCES, "Permission denied", "secret.txt"))
    assert told == "'secret.txt' cannot be read or written (Permission denied). Check its permissions."
