"""`srmu report`: one HTML page about a run or a comparison."""

from pathlib import Path

import typer

EPILOG = "Example: srmu report runs/first"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("report", epilog=EPILOG)
    def report(
        runs: list[str] = typer.Argument(..., metavar="RUN...", help="One run, runs on one base, or a folder of them."),
        out: Path | None = typer.Option(None, "--out", help="File to write; for one directory, report.html in it."),
        answers: Path | None = typer.Option(
            None,
            "--answers",
            help="Show these sample answers, from srmu ask --json; they may quote what was forgotten.",
        ),
    ) -> int:
        """Write one self-contained page: what was forgotten, what was kept, what changed, where it comes from."""
        from srmu.cli.console import output
        from srmu.results.report.page import write_report

        output.print(str(write_report(runs, out=out, answers=answers)), soft_wrap=True)
        return 0
