"""The one rule that tells a text from a path, in Python and in what is written down."""

from pathlib import Path

import pytest

from srmu.config.sources import as_source, inline_text


@pytest.mark.parametrize("text", ["vault", "The code is 4711.", "notes.txt", "", "~nobody/x", "a\0b", "x" * 5000])
def test_a_string_that_names_nothing_that_exists_is_a_text(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert as_source(text) == f"text:{text}"
    assert inline_text(as_source(text)) == text


def test_a_string_that_names_a_file_or_folder_is_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    for name in ("notes.txt", str(tmp_path)):
        assert as_source(name) == name
        assert inline_text(as_source(name)) is None


@pytest.mark.parametrize("source", ["hub:someone/data:part", "self", "general", "text:hub: a text"])
def test_what_is_written_as_a_source_stays(source):
    assert as_source(source) == source


@pytest.mark.parametrize("name", ["missing.txt", "self", "general", "text:x", "hub:x"])
def test_a_path_is_a_path_whatever_it_is_called(name):
    source = as_source(Path(name))
    assert inline_text(source) is None
    assert source not in ("self", "general")
    assert not source.startswith("hub:")
    assert Path(source) == Path(name)
