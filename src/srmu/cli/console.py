"""Terminal output shared by the commands: progress bars, tables, JSON."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from srmu import reporting

# Progress and notes go to stderr, results to stdout, so that `--json` and pipes stay clean.
notes = Console(stderr=True, highlight=False)
output = Console(highlight=False)


class TerminalReporter(reporting.Reporter):
    """Progress bars and notes on stderr."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._task: Any = None

    @contextmanager
    def task(self, title: str) -> Iterator[reporting.Progress]:
        """Show a bar for this stage; it stays, finished, with the time it took."""
        columns = (
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<34}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}"),
        )
        with Progress(*columns, console=notes) as bar:
            task = bar.add_task(title, total=None, detail="")
            self._bar, self._task = bar, task
            try:
                yield lambda done, total: bar.update(task, completed=done, total=total)
            finally:
                self._bar = None
            finished = bar.tasks[0]
            total = finished.total or 1
            bar.update(task, completed=total, total=total)

    def detail(self, text: str) -> None:
        """Show a text beside the bar."""
        if self._bar is not None:
            self._bar.update(self._task, detail=text)

    def note(self, text: str) -> None:
        """Print one line."""
        (self._bar.console if self._bar is not None else notes).print(text)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout, for machines."""
    print(json.dumps(value, indent=2))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose first column is text and whose others are numbers."""
    result = Table(title=title, title_justify="left", header_style="bold")
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index == 0 else "right", no_wrap=index > 0)
    for row in rows:
        result.add_row(*row)
    return result
