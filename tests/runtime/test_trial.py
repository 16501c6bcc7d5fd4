"""Programs of others, tried in a process that can be killed; and files that are none."""

import os
import time
from pathlib import Path

import pytest

from srmu.runtime.regular import read_regular, special_file
from srmu.runtime.trial import ends_within


def test_an_action_without_end_is_stopped_and_one_that_ends_is_not() -> None:
    def loops() -> None:
        while True:
            pass

    started = time.monotonic()
    assert not ends_within(loops, seconds=0.3, megabytes=100)
    assert time.monotonic() - started < 5
    assert ends_within(lambda: None, seconds=20, megabytes=100)
    # What fails has ended: whoever runs it in earnest hears why.
    assert ends_within(lambda: 1 // 0, seconds=20, megabytes=100)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs /proc")
def test_an_action_that_fills_the_memory_is_stopped() -> None:
    assert not ends_within(lambda: bytes(1 << 30), seconds=20, megabytes=200)
    assert ends_within(lambda: bytes(1 << 20), seconds=20, megabytes=200)


def test_nothing_of_a_tried_action_reaches_this_process() -> None:
    seen: list[int] = []
    assert ends_within(lambda: seen.append(1), seconds=20, megabytes=100)
    assert seen == []


def test_pipes_devices_and_folders_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="a pipe, a device or a folder"):
            read_regular(place)
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none")
    (tmp_path / "file").write_bytes(b"content")
    assert read_regular(tmp_path / "file") == b"content"
    assert special_file(tmp_path) == "pipe"
    (tmp_path / "pipe").unlink()
    (tmp_path / "nowhere").symlink_to("gone")
    assert special_file(tmp_path) is None
