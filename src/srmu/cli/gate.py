"""`srmu gate`: does a run meet its acceptance criteria?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

EPILOG = (
    "METRIC is a group of questions (its accuracy), GROUP.nll, text.GROUP.nll, task.NAME (of lm-evaluation-harness) or "
    "attack.NAME; COMPARATOR is <=, >=, < or >; BOUND is a number, or FACTOR*base. Only what is required is judged: "
    "the name of a group decides nothing. Example: srmu gate runs/first --require 'forget<=0.30' "
    "--require 'entangled>=0.98*base' --junit gate.xml"
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("gate", epilog=EPILOG)
    def gate(
        run: str = typer.Argument(..., metavar="RUN", help="A finished run directory."),
        require: list[str] = typer.Option(
            [], "--require", help="METRIC COMPARATOR BOUND; repeatable, beside those in the run's own config."
        ),
        junit: Path | None = typer.Option(None, "--junit", help="Write a JUnit XML file for CI systems."),
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Check results against requirements. Exit code 1 unless every one passes; what was not measured never does."""
        from dataclasses import asdict

        from srmu.cli.console import print_json
        from srmu.errors import InputError
        from srmu.job.gate import gate as check_run
        from srmu.results.gate import junit_xml, passed
        from srmu.runtime.files import write_atomic

        verdicts = check_run(run, require)
        if junit is not None:
            try:
                write_atomic(junit, junit_xml(verdicts, Path(run).absolute().name).encode("utf-8", "backslashreplace"))
            except OSError as error:
                raise InputError(
                    f"JUnit file {str(junit)!r} cannot be written ({error.strerror}). Choose another."
                ) from None
        if json_output:
            print_json([asdict(verdict) for verdict in verdicts])
        else:
            show_verdicts(verdicts, f"Acceptance criteria of {run}")
        return 0 if passed(verdicts) else 1


def show_verdicts(verdicts: Sequence[Any], title: str) -> None:
    """Print one line for each requirement."""
    from rich.text import Text

    from srmu.cli.console import output, table

    colours = {"pass": "green", "fail": "red"}
    rows = [[v.requirement, Text(v.status, colours.get(v.status, "yellow")), v.detail] for v in verdicts]
    output.print(table(title, ["requirement", "status", "detail"], rows, num_texts=3))
