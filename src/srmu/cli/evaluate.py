"""`srmu evaluate`: a model, or a result beside its base, on questions, texts, completions and harness tasks."""

from typing import Any

import typer

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
        text_field: str = typer.Option(
            "auto",
            "--text-field",
            help="Field with the text in records, or a template: '{question} {answer}'; auto = recognised.",
        ),
        chat: bool = typer.Option(False, "--chat", help="Ask in the tokenizer's chat template."),
        limit: int | None = typer.Option(None, "--limit", help="Most items of every group and task."),
        device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, ..., all (spread over accelerators)."),
        dtype: str = typer.Option("auto", "--dtype", help="auto, float32, bfloat16, float16."),
        memory_gb: str = typer.Option(
            "auto", "--memory-gb", help="GiB that a model may take; auto = what is free. Beyond, layers stay on disk."
        ),
        trust_remote_code: bool = typer.Option(False, "--trust-remote-code", help="Run code of the checkpoint."),
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Measure a model; with a base, everything side by side with its difference and paired standard error.

        The results of a run directory are also merged into its results.json.
        """
        from srmu.cli.console import TerminalReporter, print_json
        from srmu.cli.unlearn import parse_pairs
        from srmu.config.settings import parse_memory
        from srmu.job.evaluate import evaluate
        from srmu.runtime.processes import main_process
        from srmu.runtime.progress import Reporter

        record = evaluate(
            model, base=base, questions=parse_pairs(questions, "--questions"), texts=parse_pairs(texts, "--texts"),
            completions=parse_pairs(completions, "--completions"),
            tasks=[part.strip() for item in tasks for part in item.split(",") if part.strip()],
            text_field=text_field, chat=chat, limit=limit, device=device, dtype=dtype,
            memory_gb=parse_memory(memory_gb),
            trust_remote_code=trust_remote_code,
            # Of several processes one speaks.
            reporter=TerminalReporter() if main_process() else Reporter(),
        )  # fmt: skip
        if not main_process():
            return 0
        if json_output:
            print_json(record)
        else:
            show(record)
        return 0


def show(record: dict[str, Any]) -> None:
    """A table for each kind of measurement."""
    from srmu.cli.console import output, table

    columns = ["", "n", "measure", "base", "result", "difference ± its standard error"]
    for kind, groups in record.items():
        if not isinstance(groups, dict) or not groups:
            continue
        rows = [row for name, entry in groups.items() for row in _rows(kind, name, entry)]
        if record["base"] is None:
            output.print(table(kind.capitalize(), [*columns[:3], "result"], [[*row[:3], row[4]] for row in rows]))
        else:
            output.print(table(kind.capitalize(), columns, rows))


def _rows(kind: str, name: str, entry: dict[str, Any]) -> list[list[str]]:
    """One row a measure; the group's name stands in its first."""
    result, base, change = entry["result"], entry.get("base"), entry.get("change", {})
    size = result.get("n", result.get("num_tokens"))
    if kind == "tasks":
        result, base = result["metrics"], base and base["metrics"]
    measures = [key for key in result if key not in ("n", "num_tokens") and not key.startswith("stderr")]
    rows = [
        ["", "", key, "" if base is None else _number(base[key]), _number(result[key]), _change(change.get(key))]
        for key in measures
    ]
    rows[0][:2] = [name, f"{size:,}"]
    known = entry.get("known", {})
    if "accuracy" in known:
        change = known["accuracy"]
        values = [_number(change["before"]), _number(change["after"]), _change(change)]
        rows.append([f"  known to the base ({known['unknown']} not)", str(known["n"]), "accuracy", *values])
    elif known:
        rows.append(["  known to the base", "0", "accuracy", "", "", ""])
    return rows


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _change(change: dict[str, Any] | None) -> str:
    if change is None:
        return ""
    error = change["stderr"]
    return f"{change['difference']:+.3f}" + ("" if error is None else f" ± {error:.3f}")
