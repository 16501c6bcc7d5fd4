"""`srmu evaluate`: a model, or a result beside its base, on questions, texts, completions and harness tasks."""

from collections.abc import Mapping

import typer

from srmu.cli.compute_flags import DEVICE_OR_ALL, DTYPE, MEMORY_GB, TRUST_REMOTE_CODE
from srmu.results.groups import (
    AnswerSummary,
    Group,
    Known,
    QuestionGroup,
    QuestionSummary,
    TaskSummary,
    TextSummary,
    measures_of,
)
from srmu.results.records import EvaluationReport

EPILOG = "Example: srmu evaluate runs/first --questions forget=q.jsonl --texts kept=notes.txt --tasks wmdp_bio"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("evaluate", epilog=EPILOG)
    def evaluate_command(
        model: str = typer.Argument(..., metavar="MODEL|RUN", help="Checkpoint directory, hub id or run directory."),
        base: str | None = typer.Option(None, "--base", help="Model to compare with; of a run, its own base."),
        questions: list[str] = typer.Option([], "--questions", metavar="NAME=PATH", help="Multiple choice, JSONL."),
        texts: list[str] = typer.Option([], "--texts", metavar="NAME=PATH", help="Texts, as for srmu unlearn."),
        completions: list[str] = typer.Option(
            [], "--completions", metavar="NAME=PATH", help="JSONL with 'prompt' and the expected 'answer'."
        ),
        tasks: list[str] = typer.Option(
            [], "--tasks", help="Tasks of lm-evaluation-harness with commas between: names or YAML files."
        ),
        sides: list[str] = typer.Option(
            [], "--sides", metavar="NAME=SIDE", help="forget, kept or reported, where a group's name does not say it."
        ),
        text_field: str = typer.Option(
            "auto",
            "--text-field",
            help="Field with the text in records, or a template: '{question} {answer}'; auto = recognised.",
        ),
        chat: bool = typer.Option(False, "--chat", help="Ask in the tokenizer's chat template."),
        limit: int | None = typer.Option(None, "--limit", help="Most items of every group and task."),
        device: str = DEVICE_OR_ALL,
        dtype: str = DTYPE,
        memory_gb: str = MEMORY_GB,
        trust_remote_code: bool = TRUST_REMOTE_CODE,
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Measure a model; with a base, everything side by side with its difference and paired standard error.

        The results of a run directory are also merged into its results.json.
        """
        from srmu.cli.console import TerminalReporter, print_json
        from srmu.cli.settings_command import parse_list, parse_pairs, parse_sides
        from srmu.config.settings import parse_memory
        from srmu.job.evaluate import evaluate
        from srmu.results.schema import to_json
        from srmu.runtime.processes import main_process
        from srmu.runtime.progress import Reporter

        report = evaluate(
            model, base=base, questions=parse_pairs(questions, "--questions"), texts=parse_pairs(texts, "--texts"),
            completions=parse_pairs(completions, "--completions"), tasks=parse_list(tasks), sides=parse_sides(sides),
            text_field=text_field, chat=chat, limit=limit, device=device, dtype=dtype,
            memory_gb=parse_memory(memory_gb), trust_remote_code=trust_remote_code,
            # Of several processes one speaks.
            reporter=TerminalReporter() if main_process() else Reporter(),
        )  # fmt: skip
        if not main_process():
            return 0
        if json_output:
            print_json(to_json(report))
        else:
            show(report)
        return 0


def show(report: EvaluationReport) -> None:
    """A table for each kind of measurement."""
    from srmu.cli.console import output, table

    columns = ["", "n", "measure", "base", "result", "difference ± its standard error"]
    for kind, groups in report.kinds().items():
        rows = [row for name, group in groups.items() for row in _rows(name, group)]
        if not rows:
            continue
        if report.base is None:
            output.print(table(kind.capitalize(), [*columns[:3], "result"], [[*row[:3], row[4]] for row in rows]))
        else:
            output.print(table(kind.capitalize(), columns, rows))


def _rows(name: str, group: Group) -> list[list[str]]:
    """One row per measure; the group's name is in its first."""
    from srmu.cli.console import show_change

    result, base = _measures(group.result), _measures(group.base) if group.base else {}
    change = group.change if isinstance(group.change, Mapping) else vars(group.change) if group.change else {}
    rows = [
        ["", "", key, _number(base[key]) if base else "", _number(value), show_change(change.get(key))]
        for key, value in result.items()
    ]
    size = group.result.num_tokens if isinstance(group.result, TextSummary) else group.result.n
    rows[0][:2] = [group.label(name) if isinstance(group, QuestionGroup) else name, f"{size:,}"]
    return [*rows, *_known_row(group.known)] if isinstance(group, QuestionGroup) and group.known else rows


def _known_row(known: Known) -> list[list[str]]:
    from srmu.cli.console import show_change

    if known.accuracy is None:
        return [["  known to the base", "0", "accuracy", "", "", ""]]
    change = known.accuracy
    values = [_number(change.before), _number(change.after), show_change(change)]
    return [[f"  known to the base ({known.unknown} not)", str(known.n), "accuracy", *values]]


def _measures(summary: QuestionSummary | TextSummary | AnswerSummary | TaskSummary) -> dict[str, float | None]:
    """What is shown of one model: no counts, and no standard errors of their own."""
    if isinstance(summary, TaskSummary):
        return dict(summary.metrics)
    found = measures_of(summary)
    return {key: found[key] for key in found if key not in ("n", "num_tokens") and not key.startswith("stderr")}


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
