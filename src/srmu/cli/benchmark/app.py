"""`srmu benchmark`: the field's benchmarks with their authors' metrics."""

import typer

from srmu.cli.benchmark import tofu

EPILOG = tofu.EPILOG


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    benchmarks = typer.Typer(no_args_is_help=True)
    # With one command alone, Typer would leave its name out.
    benchmarks.callback()(_benchmark)
    benchmarks.command("tofu", epilog=tofu.EPILOG)(tofu.tofu_command)
    app.add_typer(benchmarks, name="benchmark", epilog=EPILOG)


def _benchmark() -> None:
    """Measure a model on a published benchmark: tofu."""
