"""What the C library is asked to keep, and on which systems."""

import ctypes
import sys

import pytest

from srmu.runtime.memory import keep_freed_memory


class Library:
    def __init__(self, *names):
        self.asked = {}
        for name in names:
            setattr(self, name, lambda *arguments: self.asked.update([arguments]) or 1)


@pytest.mark.parametrize(
    ("platform", "names"), [("darwin", ["gnu_get_libc_version", "mallopt"]), ("linux", ["mallopt"])]
)
def test_other_systems_are_left_as_they_are(platform, names, monkeypatch):
    library = Library(*names)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    keep_freed_memory()
    assert library.asked == {}


def test_glibc_keeps_blocks_of_a_batchs_size_and_gives_larger_ones_back(monkeypatch):
    library = Library("gnu_get_libc_version", "mallopt")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    keep_freed_memory()
    mmap, trim, top = (library.asked[parameter] for parameter in (-3, -1, -2))
    # glibc refuses a larger threshold, and then changes nothing.
    assert mmap == 32 * 2**20
    assert trim > top > mmap


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="the C library is not glibc")
def test_glibc_takes_what_it_is_asked(monkeypatch):
    library = ctypes.CDLL(None)
    answers = []

    class Recorded:
        gnu_get_libc_version = library.gnu_get_libc_version

        @staticmethod
        def mallopt(*arguments):
            answers.append(library.mallopt(*arguments))

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Recorded)
    keep_freed_memory()
    assert answers == [1, 1, 1]
