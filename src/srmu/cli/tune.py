"""`srmu tune`: search settings with Optuna."""

from typing import Any

import typer

from srmu.cli.settings_command import settings_command
from srmu.errors import InputError, nearest_hint

# Of a run, not of a study.
LEFT_OUT = ("search", "request", "overwrite", "save_every", "track", "eval", "require")
CHOICES = {"sampler": ("tpe", "nsga2"), "score": ("accuracy", "loss")}
EPILOG = (
    "Example: srmu tune ./my-model --forget secrets.txt --retain notes.jsonl --questions forget=q.jsonl,kept=k.jsonl "
    "--trials 30 --out runs/tune; then: srmu unlearn runs/tune/best.yaml"
)
HELP = """Search settings: what is forgotten against what is kept, on your validation questions or held-out texts.

Calling it again with the same --out goes on; with --storage URL many workers on many machines share one study.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    option = typer.Option
    own = [
        ("model", str, typer.Argument(..., metavar="MODEL|RUN.yaml", help="Directory, hub id, or YAML file.")),
        ("trials", int, option(20, "--trials", help="In all, of all workers and earlier calls.")),
        ("timeout", float | None, option(None, "--timeout", help="Seconds after which no trial begins.")),
        ("storage", str | None, option(None, "--storage", help="Optuna storage URL; none = a file in --out.")),
        ("study", str, option("srmu", "--study", help="Name of the study in the storage.")),
        ("sampler", str, option("tpe", "--sampler", metavar="tpe|nsga2", help="How trials are proposed.")),
        ("score", str, option("accuracy", "--score", metavar="accuracy|loss", help="What judges questions.")),
        ("keys", list[str] | None, option(None, "--keys", help="Settings to search; none = all.")),
        ("search_seed", int, option(0, "--search-seed", help="Seed of the sampler.")),
        ("group_questions", int, option(48, "--group-questions", help="Most questions of a group per trial.")),
        ("json_output", bool, option(False, "--json", help="Print trials.json.")),
    ]  # fmt: skip
    command = settings_command("TuneCommand", run, own, leave_out=LEFT_OUT)
    app.command("tune", epilog=EPILOG, help=HELP)(command)


def run(command: Any) -> int:
    """Search, and show what was found."""
    from srmu.cli.console import TerminalReporter
    from srmu.job.tuning.study import tune

    for flag, known in CHOICES.items():
        if (value := getattr(command, flag)) not in known:
            raise InputError(f"--{flag} {value!r} is unknown.{nearest_hint(value, known)} Known: {', '.join(known)}.")
    result = tune(
        command.config(),
        trials=command.trials,
        seed=command.search_seed,
        timeout=command.timeout,
        storage=command.storage,
        study_name=command.study,
        sampler=command.sampler,
        score=command.score,
        keys=[part.strip() for item in command.keys or [] for part in item.split(",") if part.strip()],
        group_questions=command.group_questions,
        reporter=TerminalReporter(),
    )
    _show(result, json_output=command.json_output)
    return 0 if result.record.chosen is not None else 3


def _show(result: Any, *, json_output: bool) -> None:
    """The space that was searched, the Pareto front, and where the files are."""
    from srmu.cli.console import facts, output, print_json, table
    from srmu.job.tuning.study import BEST_FILE, PLOT_FILE
    from srmu.results.schema import to_json
    from srmu.results.study import TRIALS_FILE

    if json_output:
        print_json(to_json(result.record))
        return
    record = result.record
    output.print(facts("Searched", list(record.space.items())))
    rows = []
    for trial in record.complete:
        if trial.number in record.front:
            settings = " ".join(f"{name}={value}" for name, value in trial.settings.items())
            mark = "chosen" if trial.number == record.chosen else ""
            rows.append(
                [settings, mark, str(trial.number), f"{trial.outcome.remaining:.3f}", f"{trial.outcome.kept:.3f}"]
            )
    diverged = len(record.trials) - len(record.complete)
    title = f"Pareto front of {len(record.trials)} trials" + (f", {diverged} of them diverged" if diverged else "")
    output.print(table(title, ["", "", "trial", "remains", "kept"], rows, num_texts=2))
    if record.chosen is not None:
        output.print(f"Files: {PLOT_FILE}, {TRIALS_FILE} and {BEST_FILE} in {result.directory}", soft_wrap=True)
        output.print(f"Run it with: srmu unlearn {result.directory / BEST_FILE}", soft_wrap=True)
