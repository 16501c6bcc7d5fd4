"""Terminal output shared by the commands: progress bars, tables, JSON."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from srmu.results.groups import Change
from srmu.runtime import progress as reporting
from srmu.runtime.escaping import visible


class _PlainConsole(Console):
    """A console on which names and texts cannot give orders to the terminal."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print strings with control characters as escapes, everything else as it is."""
        super().print(*(visible(item) if isinstance(item, str) else item for item in objects), **options)


# Progress and notes go to stderr, results to stdout, so that `--json` and pipes stay clean.
# Texts and paths may hold what looks like markup.
notes = _PlainConsole(stderr=True, highlight=False, markup=False, emoji=False)
output = _PlainConsole(highlight=False, markup=False, emoji=False)


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
            TextColumn("{task.description:<23}", markup=False, table_column=Column(no_wrap=True)),
            # The bar takes what the others leave of the line.
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[detail]}", markup=False, table_column=Column(no_wrap=True)),
        )
        with Progress(*columns, console=notes, expand=True) as bar:
            task = bar.add_task(visible(title), total=None, detail="")
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
            self._bar.update(self._task, detail=visible(text))

    def note(self, text: str) -> None:
        """Print one line."""
        (self._bar.console if self._bar is not None else notes).print(visible(text))


def show_number(value: float | None) -> str:
    """Three digits, or nothing where there is no number."""
    return "" if value is None else f"{value:.3f}"


def show_change(change: Change | None) -> str:
    """A signed difference and its standard error, as far as they are known."""
    if change is None or change.difference is None:
        return ""
    return f"{change.difference:+.3f}" + ("" if change.stderr is None else f" ± {change.stderr:.3f}")


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout, for machines."""
    print(json.dumps(value, indent=2))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str | Text]], *, num_texts: int = 1) -> Table:
    """A table of texts, then numbers, that fits 80 columns: texts wrap, and so do the numbers' headers.

    Args:
        title: Above it.
        columns: Headers; none is shown where all are empty.
        rows: Cells, taken as they are (no markup).
        num_texts: Columns from the left that hold texts; the others hold numbers, which are never cut.
    """
    result = Table(
        title=Text(visible(title), "bold"), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False,
        padding=(0, 1, 0, 0), header_style="bold", show_header=any(columns),
    )  # fmt: skip
    for index, column in enumerate(map(visible, columns)):
        if index < num_texts:
            result.add_column(column, overflow="fold", min_width=min(10, _widest(rows, index)))
        else:
            result.add_column(column.replace(" ", "\n", 1), justify="right", no_wrap=True, vertical="bottom")
    for row in rows:
        result.add_row(*(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in row))
    return result


def facts(title: str, rows: Sequence[tuple[str, str]]) -> Table:
    """Names and values without a header."""
    return table(title, ["", ""], rows, num_texts=2)


def _widest(rows: Sequence[Sequence[str | Text]], index: int) -> int:
    return max((len(row[index]) for row in rows), default=1)
