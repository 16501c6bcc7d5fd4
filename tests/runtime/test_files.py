import errno
import fcntl
import os
import signal
import stat
from pathlib import Path

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file

from srmu.runtime import files


@pytest.mark.parametrize("failure", [None, errno.EXDEV, errno.EOPNOTSUPP])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_a_copy_is_equal_whatever_the_file_system_can_do(
    size: int, failure: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    (tmp_path / "source").chmod(0o440)
    if failure is not None:

        def refuse(*_: object) -> int:
            raise OSError(failure, "cannot")

        monkeypatch.setattr(fcntl, "ioctl", refuse)
        monkeypatch.setattr(files.os, "copy_file_range", refuse)
    files.copy_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == content
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640


def test_a_kernel_copy_that_stops_early_is_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(1000)
    (tmp_path / "source").write_bytes(content)
    real, steps = os.copy_file_range, []

    def short(reader: int, writer: int, size: int, *offsets: int) -> int:
        steps.append(size)
        return real(reader, writer, 300, *offsets) if len(steps) == 1 else 0

    monkeypatch.setattr(files, "clone", lambda *_: False)
    monkeypatch.setattr(files.os, "copy_file_range", short)
    files.copy_file(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == content
    assert len(steps) == 2


def test_a_full_disk_is_not_hidden_by_the_fallback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").write_bytes(b"x")

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(files, "clone", lambda *_: False)
    monkeypatch.setattr(files.os, "copy_file_range", full)
    with pytest.raises(OSError, match="full"):
        files.copy_file(tmp_path / "source", tmp_path / "target")


def test_an_atomic_write_that_fails_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_atomic(tmp_path / "file", b"old")

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        files.write_atomic(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_tensors_written_atomically_replace_the_old_ones_and_are_readable_like_other_files(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    for value in (1.0, 2.0):
        files.write_tensors_atomic(tmp_path / "tensors", {"x": torch.tensor([value])})
    assert load_file(tmp_path / "tensors") == {"x": torch.tensor([2.0])}
    assert sorted(os.listdir(tmp_path)) == ["plain", "tensors"]
    assert (tmp_path / "tensors").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child only writes files and dies
def test_what_a_killed_write_of_tensors_leaves_is_removed_by_the_next(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:

        def killed(tensors: dict[str, torch.Tensor], file: Path) -> None:
            (file.parent / ".tmpAb1xYz").touch()  # as the library names what it has not finished
            os.kill(os.getpid(), signal.SIGKILL)

        safetensors.torch.save_file = killed
        files.write_tensors_atomic(tmp_path / "tensors", {"x": torch.ones(1)})
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert len(os.listdir(tmp_path)) == 1
    files.remove_leftovers(tmp_path)
    assert os.listdir(tmp_path) == []
