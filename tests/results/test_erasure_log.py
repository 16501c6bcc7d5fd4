"""The log of erasure requests: it only grows, and no byte of it changes without a word."""

import json
import os
import threading
from pathlib import Path

import pytest

from srmu.errors import InputError
from srmu.results.erasure import log as log_module
from srmu.results.erasure.log import FIRST, append, find_hash, read_log, read_whole_log
from srmu.results.erasure.records import Abandoned, Closed, Written

TIME = "2026-11-26T12:00:00+00:00"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "log.jsonl"
    append(file, Abandoned("run-001", "the settings changed é|"), TIME)
    append(file, Written("run-001", {"run-001.md": "ab" * 32}), TIME)
    append(file, Closed(request="r1", by="J. Roe", run="run-001", outcome="forgotten"), TIME)
    return file


def damaged_lines(file: Path) -> list[int]:
    return [damage.line for damage in read_log(file).damage]


def test_each_entry_has_the_hash_of_the_one_before(file: Path) -> None:
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    assert [entry["number"] for entry in entries] == [1, 2, 3]
    assert [entry["previous"] for entry in entries] == [FIRST, entries[0]["hash"], entries[1]["hash"]]
    log = read_whole_log(file)
    assert log.head == entries[2]["hash"]
    assert log.entries[2].closed is not None


def test_any_changed_byte_is_found_and_its_line_named(file: Path) -> None:
    content = file.read_bytes()
    for place in range(len(content)):
        changed = bytearray(content)
        changed[place] ^= (1, 0x20, 0x80)[place % 3]
        file.write_bytes(changed)
        assert damaged_lines(file)[:1] == [content[:place].count(b"\n") + 1], place
    file.write_bytes(content)
    assert damaged_lines(file) == []


def test_one_changed_byte_is_one_place(file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    for old, new in ((b"J. Roe", b"J. Doe"), (lines[0][-12:-3], b"000000000")):
        content = file.read_bytes()
        assert content.count(old) in (1, 2)
        file.write_bytes(content.replace(old, new, 1))
        assert len(damaged_lines(file)) == 1
        file.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], lines[2]], 2),
        (lambda lines: [lines[0], lines[2], lines[1]], 2),
        (lambda lines: [lines[0], lines[1], lines[1], lines[2]], 3),
        (lambda lines: [*lines, b"{}\n"], 4),
        (lambda lines: [*lines, b"\n"], 4),
        (lambda lines: [*lines, lines[2][:40]], 4),
        (lambda lines: [lines[0].replace(b'"number":1', b'"number": 1'), *lines[1:]], 1),
        (lambda lines: [*lines[:2], b"[" * 100_000 + b"\n"], 3),
        (lambda lines: [*lines[:2], lines[2].replace(b'"number":3', b'"number":3,"number":3')], 3),
    ],
)
def test_removed_exchanged_repeated_and_added_lines_are_named(file: Path, change, line: int) -> None:
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    assert damaged_lines(file)[0] == line


def test_a_log_that_was_cut_or_rewritten_is_found_by_a_hash_that_was_kept(file: Path, tmp_path: Path) -> None:
    head = read_whole_log(file).head
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    assert read_whole_log(cut).damage == ()  # in itself it is right
    assert find_hash(read_log(cut), head) is None
    append(cut, Closed(request="r1", by="somebody else", run="run-001", outcome="forgotten"), TIME)
    assert find_hash(read_whole_log(cut), head) is None
    assert find_hash(read_log(file), head[:12]) == read_log(file).entries[2]
    assert find_hash(read_log(file), "") is None


def test_nothing_is_added_to_a_damaged_log(file: Path) -> None:
    content = file.read_bytes().replace(b"J. Roe", b"J. Doe")
    file.write_bytes(content)
    with pytest.raises(
        InputError, match=r"line 3: its content does not have the hash that it names \(entry 3, 'closed'"
    ):
        append(file, Abandoned("run-002", "x"), TIME)
    assert file.read_bytes() == content


def test_what_a_full_disk_cuts_short_is_taken_back(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, write = file.read_bytes(), os.write

    def full(handle: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(handle, data[: len(data) // 2])

    monkeypatch.setattr(log_module.os, "write", full)
    with pytest.raises(InputError, match="disk became full"):
        append(file, Abandoned("run-002", "x"), TIME)
    assert file.read_bytes() == content


def test_entries_that_are_added_at_once_wait_for_each_other(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"

    def add(name: str) -> None:
        for _ in range(5):
            append(file, Abandoned(name, "x"), TIME)

    threads = [threading.Thread(target=add, args=(f"run-{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_whole_log(file).entries) == 20
