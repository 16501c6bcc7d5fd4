"""`srmu verify`: check a run directory against its manifest."""

import typer

EPILOG = "Example: srmu verify runs/first --base ./my-model"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("verify", epilog=EPILOG)
    def verify(
        run: str = typer.Argument(..., metavar="RUN", help="A finished run directory."),
        base: str | None = typer.Option(
            None, "--base", help="The base checkpoint, where it is not at its recorded place."
        ),
        allowed_signers: str | None = typer.Option(
            None, "--allowed-signers", metavar="FILE", help="Names and public keys, by one of which it must be signed."
        ),
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Check that a run is whole: every file, the changed tensors, nothing else changed. Exit code 1 if not."""
        from dataclasses import asdict
        from pathlib import Path

        from rich.text import Text

        from srmu.cli.console import output, print_json, table
        from srmu.errors import InputError
        from srmu.export.verify import verify_run

        if not Path(run).is_dir():
            raise InputError(f"Run directory {run!r} does not exist. Give the --out of a finished run.")
        checks = verify_run(run, base=base, allowed_signers=allowed_signers)
        if json_output:
            print_json([asdict(check) for check in checks])
        else:
            colours = {"pass": "green", "fail": "red", "error": "red", "skipped": "yellow"}
            rows: list[list[str | Text]] = [[c.name, Text(c.status, colours[c.status]), c.detail] for c in checks]
            output.print(table(f"Verification of {run}", ["check", "status", "detail"], rows, num_texts=3))
        return 1 if any(check.status in ("fail", "error") for check in checks) else 0
