"""`srmu benchmark tofu`: the four sets as in the paper's tables, and published rows of the split."""

import typer

from srmu.cli.benchmark.flags import JSON, MODEL, compute_options, reporter, show_or_print
from srmu.cli.compute_flags import DEVICE_OR_ALL, DTYPE, MEMORY_GB, TRUST_REMOTE_CODE
from srmu.errors import InputError
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.benchmarks.tofu import TofuResult

EPILOG = "Example: srmu benchmark tofu runs/first --split forget10 --data tofu --gold ./retain90"
_SETS = {"forget": "forget", "retain": "retain", "real_authors": "real authors", "world_facts": "world facts"}


def tofu_command(
    model: str = MODEL,
    data: str = typer.Option(..., "--data", metavar="FOLDER", help="TOFU's JSONL files, the perturbed ones."),
    split: str = typer.Option("forget10", "--split", help="forget01, forget05 or forget10."),
    gold: str | None = typer.Option(
        None,
        "--gold",
        metavar="MODEL|JSON",
        help="Model retrained without the forget set, or its own --json result: adds forget quality.",
    ),
    depth: bool = typer.Option(
        False, "--depth", help="Add the unlearning depth score: --gold's hidden states against the result's."
    ),
    base: str | None = typer.Option(
        None, "--base", metavar="MODEL", help="For --depth, the model before forgetting; of a run, its own base."
    ),
    entities: str | None = typer.Option(
        None, "--entities", metavar="FILE", help="For --depth, the answers' entities; else whole answers count."
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
    json_output: bool = JSON,
) -> int:
    """TOFU: what is left of forgotten authors, and of all else; with --gold, whether it looks retrained.

    The result of a run directory is also kept in its results.json.
    """  # fmt: skip
    from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt
    from srmu.job.benchmarks.depth import DepthOptions
    from srmu.job.benchmarks.tofu import benchmark_tofu

    if not depth and (base or entities):
        raise InputError("--base and --entities belong to the unlearning depth score. Add --depth, or leave them out.")
    starts = {"question_start": question_start, "question_end": question_end, "answer_start": answer_start}
    result = benchmark_tofu(
        model, split=split, data=data, gold=gold, limit=limit,
        depth=DepthOptions(base=base, entities=entities) if depth else None,
        prompt=TofuPrompt(
            chat=chat, space_apart=space_apart,
            **{name: text.replace("\\n", "\n") for name, text in starts.items()},
        ),
        max_new_tokens=max_new_tokens,
        compute=compute_options(device, dtype, memory_gb, trust_remote_code),
        reporter=reporter(),
    )  # fmt: skip
    return show_or_print(result, show_tofu, Benchmarks(tofu={split: result}), json_output=json_output)


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
    _show_formats(result)
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
        ("unlearning depth", _depth(result)),
        ("leakage in other forms", _leakage(result)),
    ]


def _depth(result: TofuResult) -> str:
    found = result.depth
    if found is None:
        return "not asked for: --depth, with --gold the retrained model itself"
    where = "entities of" if found.entities else "whole answers; published ones are at entities,"
    counted = f"{where} {found.counted} of {found.of} answers"
    return f"not defined: {counted}" if found.score is None else f"{_number(found.score)} ({counted})"


def _leakage(result: TofuResult) -> str:
    if result.gold is None:
        return "not known: it needs --gold"
    return f"{result.gold.format_leakage:+.4f} over the gold standard where it is most"


def _show_formats(result: TofuResult) -> None:
    """Each form on its own, beside the gold standard's where there is one."""
    from srmu.cli.console import output, table

    gold = {} if result.gold is None else result.gold.formats
    rows = [
        [name.replace("_", " "), _number(value), *([_number(gold[name])] if gold else [])]
        for name, value in result.formats.items()
    ]
    columns = ["form", "this model", *(["gold standard"] if gold else [])]
    output.print(table("Forgotten answers in other forms: probability; of multiple choice, accuracy", columns, rows))


def _show_published(split: str) -> None:
    from srmu.cli.console import output, table
    from srmu.evaluation.benchmarks.tofu_published import published

    columns = ["method", "forget quality", "model utility", "forget truth ratio"]
    for found in published(split):
        rows = [
            [row.method, f"{row.forget_quality:.3g}", f"{row.model_utility:.2f}", f"{row.forget_truth_ratio:.3g}"]
            for row in found.rows
        ]
        output.print(table(f"Published for {found.model}, {split}", columns, rows))
        output.print(f"Source: {found.source}.")


def _number(value: float) -> str:
    return f"{value:.4f}"
