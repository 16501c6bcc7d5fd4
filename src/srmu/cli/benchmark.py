"""`srmu benchmark`: the field's benchmarks with their authors' metrics."""

import typer

from srmu.cli.compute_flags import DEVICE_OR_ALL, DTYPE, MEMORY_GB, TRUST_REMOTE_CODE
from srmu.results.benchmark_tofu import TofuResult

EPILOG = "Example: srmu benchmark tofu runs/first --split forget10 --data tofu --gold ./retain90"
_SETS = {"forget": "forget", "retain": "retain", "real_authors": "real authors", "world_facts": "world facts"}


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    benchmarks = typer.Typer(no_args_is_help=True)
    # With one command alone, Typer would leave its name out.
    benchmarks.callback()(_benchmark)
    benchmarks.command("tofu", epilog=EPILOG)(tofu_command)
    app.add_typer(benchmarks, name="benchmark", epilog=EPILOG)


def _benchmark() -> None:
    """Measure a model on a published benchmark: tofu."""


def tofu_command(
    model: str = typer.Argument(..., metavar="MODEL|RUN", help="Checkpoint directory, hub id or run directory."),
    data: str = typer.Option(..., "--data", metavar="FOLDER", help="TOFU's JSONL files, the perturbed ones."),
    split: str = typer.Option("forget10", "--split", help="forget01, forget05 or forget10."),
    gold: str | None = typer.Option(
        None,
        "--gold",
        metavar="MODEL|JSON",
        help="Model retrained without the forget set, or its own --json result: adds forget quality.",
    ),
    limit: int | None = typer.Option(None, "--limit", help="Most questions of each of the four sets."),
    chat: bool = typer.Option(False, "--chat", help="Ask in the tokenizer's chat template."),
    question_start: str = typer.Option("Question: ", "--question-start", help="Before a question; \\n is a line."),
    question_end: str = typer.Option("\\n", "--question-end", help="After a question."),
    answer_start: str = typer.Option("Answer: ", "--answer-start", help="Before an answer."),
    space_apart: bool = typer.Option(
        False, "--space-apart", help="Leave the space before an answer with the prompt, as OpenUnlearning does."
    ),
    max_new_tokens: int = typer.Option(200, "--max-new-tokens", help="Most tokens of a written answer."),
    device: str = DEVICE_OR_ALL,
    dtype: str = DTYPE,
    memory_gb: str = MEMORY_GB,
    trust_remote_code: bool = TRUST_REMOTE_CODE,
    json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
) -> int:
    """TOFU: what is left of forgotten authors, and of all else; with --gold, whether it looks retrained.

    The result of a run directory is also kept in its benchmark_tofu.json.
    """  # fmt: skip
    from srmu.cli.console import TerminalReporter, print_json
    from srmu.config.settings import parse_memory
    from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt
    from srmu.job.benchmark import ComputeOptions, benchmark_tofu
    from srmu.results.benchmark_tofu import as_record
    from srmu.results.schema import to_json

    starts = {"question_start": question_start, "question_end": question_end, "answer_start": answer_start}
    result = benchmark_tofu(
        model, split=split, data=data, gold=gold, limit=limit,
        prompt=TofuPrompt(
            chat=chat, space_apart=space_apart,
            **{name: text.replace("\\n", "\n") for name, text in starts.items()},
        ),
        max_new_tokens=max_new_tokens,
        compute=ComputeOptions(
            device=device, dtype=dtype, memory_gb=parse_memory(memory_gb), trust_remote_code=trust_remote_code
        ),
        reporter=TerminalReporter(),
    )  # fmt: skip
    if json_output:
        print_json(to_json(as_record(result)))
    else:
        show_tofu(result)
    return 0


def show_tofu(result: TofuResult) -> None:
    """The four sets as in the paper's tables, what is made of them, and published rows of the split."""
    from srmu.cli.console import facts, output, table
    from srmu.evaluation.benchmarks.tofu_data import SET_NAMES, full_size

    rows, sampled = [], False
    for name in SET_NAMES:
        entry, size = getattr(result, name), full_size(result.split, name)
        sampled |= entry.n != size
        asked = f"{entry.n}" if entry.n == size else f"{entry.n} of {size}"
        rows.append([_SETS[name], asked, *map(_number, (entry.rouge_l_recall, entry.probability, entry.truth_ratio))])
    title = f"TOFU {result.split}" + (", a sample: not to be compared with published numbers" if sampled else "")
    output.print(table(title, ["set", "questions", "ROUGE-L recall", "probability", "truth ratio"], rows))
    output.print(facts("", _whole(result)))
    if not sampled:
        _show_published(result.split)


def _whole(result: TofuResult) -> list[tuple[str, str]]:
    quality = "not known: it needs the model retrained without the forget set, --gold"
    if result.gold is not None:
        found = result.gold
        quality = f"{found.forget_quality:.3g} (log10 {found.log10_forget_quality:.2f}), against {found.model}"
    return [
        ("model utility", _number(result.model_utility)),
        ("forget quality, p value", quality),
        ("extraction strength, forget", _number(result.extraction_strength)),
        ("exact memorisation, forget", _number(result.exact_memorization)),
    ]


def _show_published(split: str) -> None:
    from srmu.cli.console import output, table
    from srmu.evaluation.benchmarks.tofu_published import published

    found = published(split)
    rows = [
        [row.method, f"{row.forget_quality:.3g}", f"{row.model_utility:.2f}", f"{row.forget_truth_ratio:.3g}"]
        for row in found.rows
    ]
    columns = ["method", "forget quality", "model utility", "forget truth ratio"]
    output.print(table(f"Published for {found.model}, {split}", columns, rows))
    output.print(f"Source: {found.source}.")


def _number(value: float) -> str:
    return f"{value:.4f}"
