"""`srmu`: routes to the commands and turns errors into one sentence and an exit code."""

import logging
import sys
import time
from collections.abc import Sequence

import typer

from srmu.cli import apply as apply_command
from srmu.cli import ask as ask_command
from srmu.cli import attack as attack_command
from srmu.cli import compare as compare_command
from srmu.cli import convert as convert_command
from srmu.cli import demo as demo_command
from srmu.cli import doctor as doctor_command
from srmu.cli import evaluate as evaluate_command
from srmu.cli import export as export_command
from srmu.cli import gate as gate_command
from srmu.cli import overlap as overlap_command
from srmu.cli import questions as questions_command
from srmu.cli import report as report_command
from srmu.cli import request as request_command
from srmu.cli import tune as tune_command
from srmu.cli import unlearn as unlearn_command
from srmu.cli import verify as verify_command
from srmu.cli.benchmark import app as benchmark_command
from srmu.cli.settings_command import SettingsCommand
from srmu.cli.streams import describe_os_error, printable_streams, silence_stdout
from srmu.errors import InputError, SrmuError
from srmu.runtime.escaping import visible
from srmu.runtime.interruption import noticed_bus_errors
from srmu.runtime.processes import main_process, world_size

app = typer.Typer(
    name="srmu",
    help="Make an open-weight language model forget, selectively, and show what was forgotten and what was kept.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=True,
)
demo_command.register(app)
unlearn_command.register(app)
tune_command.register(app)
questions_command.register(app)
overlap_command.register(app)
evaluate_command.register(app)
ask_command.register(app)
attack_command.register(app)
benchmark_command.register(app)
compare_command.register(app)
report_command.register(app)
gate_command.register(app)
verify_command.register(app)
apply_command.register(app)
export_command.register(app)
request_command.register(app)
convert_command.register(app)
doctor_command.register(app)


INTERRUPTED = 130
BROKEN_PIPE = 141
SHARED = ("unlearn", "evaluate", "benchmark")
"""Commands whose work several processes share."""
# A launcher ends all processes when the first one ends badly: that is to be the one that says why.
SECONDS_TO_SPEAK = 2.0
_MOST_TOLD = 700
"""Characters of an error's beginning and end."""


def _version(value: bool | None) -> None:
    if value:
        from srmu import __version__

        typer.echo(f"srmu {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool | None = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    """Make an open-weight language model forget, selectively."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a check failed, 2 bad input, 3 the run failed."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    # Where torchao is installed, Transformers imports it, and both warn of what concerns nobody here.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    printable_streams()
    try:
        with noticed_bus_errors():
            code = _run(arguments)
            sys.stdout.flush()
            return code
    except BrokenPipeError:
        # Whoever read the output, such as `head`, has what it wanted.
        silence_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if (message := describe_os_error(error)) is None:
            raise
        silence_stdout()
        _show_error(message)
        return InputError.exit_code
    except ValueError as error:
        if "null" not in str(error):
            raise
        _show_error("A path holds a NUL character, which no file's name may. Remove it.")
        return InputError.exit_code


def _run(arguments: Sequence[str]) -> int:
    try:
        if world_size() > 1 and (arguments or [""])[0] not in SHARED:
            raise InputError(
                f"srmu {' '.join(arguments[:1])} was launched as {world_size()} processes, and only srmu "
                f"{', '.join(SHARED)} share their work between processes. Start it without a launcher."
            )
        result = app(args=arguments, standalone_mode=False)
        if result == INTERRUPTED:
            # Some releases of Typer return this code, others raise Abort.
            raise KeyboardInterrupt
        if isinstance(result, SettingsCommand):
            result = result.run()
        return int(result) if isinstance(result, int) else 0
    except SrmuError as error:
        _show_error(str(error))
        return error.exit_code
    except typer.Exit as error:
        return error.exit_code
    except (typer.Abort, KeyboardInterrupt):
        if main_process():
            typer.echo("interrupted", err=True)
        return INTERRUPTED
    except Exception as error:
        if type(error).__module__.split(".")[0] in ("click", "typer") and hasattr(error, "format_message"):
            # Without a command, Typer has shown the help, and there is no message.
            if message := error.format_message():
                _show_error(message if message.endswith((".", "?", ")")) else f"{message}.")
            return 2
        raise


def _show_error(message: str) -> None:
    try:
        speaks = main_process()
    except InputError:  # what is wrong is the environment, of which the message speaks
        speaks = True
    if not speaks:
        time.sleep(SECONDS_TO_SPEAK)
        return
    told = visible(" ".join(message.splitlines()))
    # A name may be as long as its giver likes; the sentence begins and ends around it.
    told = told if len(told) <= 2 * _MOST_TOLD else f"{told[:_MOST_TOLD]} … {told[-_MOST_TOLD:]}"
    typer.echo(f"error: {told}", err=True)
