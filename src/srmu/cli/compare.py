"""`srmu compare`: run directories side by side."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from srmu.results.compare import Comparison

EPILOG = (
    "A group whose name begins with 'forget' (or its last part, as in bio.forget) is to be forgotten, one that begins "
    "with 'neighbour' is only reported, every other one is to be kept, unless --sides said otherwise when it was "
    "measured. "
    "Example: srmu compare runs/rmu runs/srmu --format markdown --plot frontier.svg"
)
FORMATS = ("table", "markdown", "csv", "json")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("compare", epilog=EPILOG)
    def compare(
        runs: list[str] = typer.Argument(
            ..., metavar="RUN...", help="Run directories on one base, or a folder of them."
        ),
        form: str = typer.Option("table", "--format", metavar="|".join(FORMATS), help="How to print."),
        plot: Path | None = typer.Option(None, "--plot", help="Draw the frontier to this .png, .svg or .pdf file."),
    ) -> int:
        """What each run forgot, kept and cost, in one table; differences beyond chance are marked."""
        from srmu.errors import InputError, nearest_hint
        from srmu.results import compare_formats
        from srmu.results.compare import compare_runs

        if form not in FORMATS:
            raise InputError(f"Format {form!r} is unknown.{nearest_hint(form, FORMATS)} Known: {', '.join(FORMATS)}.")
        comparison = compare_runs(runs)
        if plot is not None:
            compare_formats.plot_frontier(comparison, plot)
        if form == "table":
            show_comparison(comparison)
        else:
            print(getattr(compare_formats, f"to_{form}")(comparison), end="")
        return 0


def show_comparison(comparison: "Comparison") -> None:
    """Print the table and what its mark means."""
    from srmu.cli.console import output, table
    from srmu.results.compare_formats import columns, rows

    head, body = columns(comparison), rows(comparison)
    num_texts = 2
    if len(body) < len(head):
        # The longer side goes down: a terminal is narrow.
        (head, *body), num_texts = [list(line) for line in zip(head, *body, strict=True)], 1
    output.print(table(comparison.title, head, body, num_texts=num_texts))
    output.print(comparison.mark)
