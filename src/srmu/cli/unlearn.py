"""`srmu unlearn`: the main command. Its flags are the settings of a run."""

from pathlib import Path
from typing import Any

import typer

from srmu.cli.settings_command import settings_command
from srmu.errors import InputError

EPILOG = (
    "Example: srmu unlearn ./my-model --forget secrets.txt --retain notes.jsonl --retain self "
    "--questions forget=q.jsonl --out runs/first"
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    own = [
        ("model", str, typer.Argument("", metavar="MODEL|RUN.yaml", help="Directory, hub id, or YAML file.")),
        ("dry_run", bool, typer.Option(False, "--dry-run", help="Say what would be done, and its cost.")),
        ("resume", str | None, typer.Option(None, "--resume", help="Continue an interrupted run directory.")),
        ("json_output", bool, typer.Option(False, "--json", help="Print the results as JSON.")),
    ]
    command = settings_command("UnlearnCommand", run, own)
    app.command("unlearn", epilog=EPILOG, help="Make a checkpoint forget texts.")(command)


def run(command: Any) -> int:
    """Run, resume, or say what would be done."""
    from srmu.cli.unlearn_output import resume_and_show, run_and_show

    if not command.resume:
        return run_and_show(command.config(), dry_run=command.dry_run, json_output=command.json_output)
    if command.model or command.settings() or command.dry_run:
        raise InputError("--resume takes no other settings: the interrupted run's own are used. Leave them out.")
    return resume_and_show(Path(command.resume), json_output=command.json_output)
