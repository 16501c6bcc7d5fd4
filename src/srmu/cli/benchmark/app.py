"""`srmu benchmark`: the field's benchmarks with their authors' metrics."""

import typer

from srmu.cli.benchmark import muse, rwku, tofu, wmdp

EPILOG = tofu.EPILOG


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    benchmarks = typer.Typer(no_args_is_help=True)
    benchmarks.callback()(_benchmark)
    benchmarks.command("tofu", epilog=tofu.EPILOG)(tofu.tofu_command)
    benchmarks.command("muse", epilog=muse.EPILOG)(muse.muse_command)
    benchmarks.command("wmdp", epilog=wmdp.EPILOG)(wmdp.wmdp_command)
    benchmarks.command("rwku", epilog=rwku.EPILOG)(rwku.rwku_command)
    app.add_typer(benchmarks, name="benchmark", epilog=EPILOG)


def _benchmark() -> None:
    """Measure a model on a published benchmark: tofu, muse, wmdp or rwku."""
