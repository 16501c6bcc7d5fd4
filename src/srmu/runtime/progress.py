"""How long work reports what it is doing: silent here, progress bars where the command line overrides it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[int, int | None], None]


class Reporter:
    """Receives stages and notes; this one says nothing."""

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        """A stage of work; the callback takes units done and units in all, none = not known."""
        yield lambda done, total: None

    def detail(self, text: str) -> None:
        """A short text beside the running stage's bar, such as the current loss."""

    def note(self, text: str) -> None:
        """One line that stays: what was found or decided."""


def in_words(seconds: float) -> str:
    """A time to come, as people say it: "5 s", "3 min", "2.5 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
