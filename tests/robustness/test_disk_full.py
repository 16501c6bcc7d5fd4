"""A disk that fills up while a run is written: a clear error, the base untouched, no half checkpoint."""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from checkpoint_files import all_bytes
from main_job import call, flags, write_texts
from srmu.runtime import files


@pytest.fixture
def command(saved_family: Callable[..., Path], tmp_path: Path) -> list[str]:
    texts = write_texts(tmp_path / "texts")
    sources = ["--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl")]
    return ["unlearn", str(saved_family("llama")), *sources, *flags(steps=3), "--no-eval", "--out"]


@contextmanager
def files_end_at(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes; the write that would gives EFBIG, since Python ignores SIGXFSZ."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def check_refused(code: int, errors: str, run: Path) -> None:
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert code == 2, errors
    assert len(told) == 1
    assert "disk" in told[0]
    assert "Traceback" not in errors
    assert list(run.parent.rglob("*.safetensors*")) == []
    assert [path.name for path in run.rglob("*") if "partial" in path.name or path.name == "model"] == []


# The weights take 180 kB; the manifest and the metrics a few.
@pytest.mark.parametrize("size", [20_000, 100_000, 170_000])
def test_a_file_that_cannot_grow_ends_the_export_and_leaves_nothing_of_it(
    size: int, command: list[str], tmp_path: Path, capsys: Any
) -> None:
    before = all_bytes(Path(command[1]))
    run = tmp_path / "out" / "run"
    with files_end_at(size):
        code, _, errors = call(capsys, *command, str(run))
    check_refused(code, errors, run)
    assert all_bytes(Path(command[1])) == before
    # With room again, the same command works where the failed run's metrics are replaced.
    assert call(capsys, *command, str(run), "--overwrite")[0] == 0
    assert call(capsys, "verify", str(run))[0] == 0


@pytest.mark.parametrize("at", ["write_atomic", "copy_file", "sync"])
def test_a_full_disk_at_any_kind_of_write_is_one_sentence(
    at: str, command: list[str], tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "out" / "run"

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for module in (
        "runtime.files",
        "export.patch",
        "export.manifest",
        "job.unlearn",
        "job.record",
    ):
        monkeypatch.setattr(f"srmu.{module}.{at}", full, raising=False)
    code, _, errors = call(capsys, *command, str(run))
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert (code, len(told)) == (2, 1), errors
    assert "disk" in told[0]
    assert not (run / "manifest.json").exists()
    assert not any(path.name.startswith(".model.partial") for path in run.iterdir())


def test_a_state_that_cannot_be_written_leaves_the_last_one(command: list[str], tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "out" / "run"
    # Masters of three matrices and their moments take 55 kB.
    with files_end_at(30_000):
        code, _, errors = call(capsys, *command, str(run), "--save-every", "1")
    check_refused(code, errors, run)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "srmu-test", str(place)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("this system does not allow mounting")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_another_program_fills_meanwhile_ends_the_run(
    command: list[str], small_disk: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = files.copy_file

    def copy_while_it_fills(source: Path, target: Path) -> None:
        if source.suffix == ".safetensors":
            free = shutil.disk_usage(small_disk).free
            with (small_disk / "ballast").open("wb") as file:
                file.write(bytes(free - 50_000))
        copy(source, target)

    monkeypatch.setattr("srmu.export.patch.copy_file", copy_while_it_fills)
    before = all_bytes(Path(command[1]))
    run = small_disk / "out" / "run"
    code, _, errors = call(capsys, *command, str(run))
    check_refused(code, errors, run)
    assert "became full" in errors
    assert all_bytes(Path(command[1])) == before


def test_a_disk_that_is_too_small_is_known_before_anything_is_computed(
    command: list[str], small_disk: Path, capsys: Any
) -> None:
    (small_disk / "ballast").write_bytes(bytes(30_000_000))
    run = small_disk / "run"
    code, _, errors = call(capsys, *command, str(run))
    assert code == 2
    assert "GB free" in errors
    assert not run.exists()
