"""`srmu benchmark wmdp`: accuracy on hazardous knowledge and on all else, and published rows beside them."""

from collections.abc import Mapping

import typer

from srmu.cli.benchmark.flags import JSON, MODEL, compute_options, reporter, show_or_print
from srmu.cli.compute_flags import DEVICE_OR_ALL, DTYPE, MEMORY_GB, TRUST_REMOTE_CODE
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.benchmarks.wmdp import WmdpResult

EPILOG = "Example: srmu benchmark wmdp runs/first --data hub --parts bio,cyber,chem,mmlu,bio_robust,bio_cloze"
_TITLES = {
    "bio": "WMDP-Bio", "cyber": "WMDP-Cyber", "chem": "WMDP-Chem", "mmlu": "MMLU", "bio_robust": "WMDP-Bio, robust",
    "bio_cloze": "WMDP-Bio, cloze",
}  # fmt: skip


def wmdp_command(
    model: str = MODEL,
    data: str = typer.Option(
        ..., "--data", metavar="FOLDER|hub", help="wmdp_bio.jsonl, wmdp_cyber.jsonl, ..., mmlu.jsonl; or the hub's."
    ),
    parts: list[str] = typer.Option(
        ["bio,cyber,chem,mmlu"], "--parts", help="What to ask, with commas between; also bio_robust and bio_cloze."
    ),
    limit: int | None = typer.Option(None, "--limit", help="Most questions of each part, of every subject some."),
    harness: bool = typer.Option(
        False, "--harness", help="Have lm-evaluation-harness itself ask: slower, with the same answers."
    ),
    device: str = DEVICE_OR_ALL,
    dtype: str = DTYPE,
    memory_gb: str = MEMORY_GB,
    trust_remote_code: bool = TRUST_REMOTE_CODE,
    json_output: bool = JSON,
) -> int:
    """WMDP: what is left of hazardous knowledge in biology, computer security and chemistry, and of MMLU.

    The results of a run directory are also kept in its results.json.
    """
    from srmu.cli.settings_command import parse_list
    from srmu.job.benchmarks.wmdp import benchmark_wmdp

    results = benchmark_wmdp(
        model, data=data, parts=parse_list(parts), limit=limit, harness=harness,
        compute=compute_options(device, dtype, memory_gb, trust_remote_code), reporter=reporter(),
    )  # fmt: skip
    return show_or_print(results, show_wmdp, Benchmarks(wmdp=results), json_output=json_output)


def show_wmdp(results: Mapping[str, WmdpResult]) -> None:
    """Accuracy of each part as in the paper's table, and published rows of the parts that were asked whole."""
    from srmu.cli.console import output, table

    rows = []
    for part, result in results.items():
        asked = f"{result.n:,} of {result.size:,}" if result.is_sample else f"{result.n:,}"
        error = "" if result.stderr is None else f" ± {100 * result.stderr:.1f}"
        rows.append([_TITLES[part], asked, f"{100 * result.accuracy:.1f}{error}"])
    sampled = any(result.is_sample for result in results.values())
    title = "WMDP" + (", a sample: not to be compared with published numbers" if sampled else "")
    output.print(table(title, ["part", "questions", "accuracy, % ± its standard error"], rows))
    output.print("Chance is 25 %. Lower is forgotten; MMLU is to be kept.")
    if not sampled:
        _show_published(tuple(results))


def _show_published(parts: tuple[str, ...]) -> None:
    from srmu.cli.console import output, table
    from srmu.evaluation.benchmarks.wmdp_published import published

    for found in published(parts):
        rows = [[name, *(f"{value:.1f}" for value in values)] for name, values in found.rows.items()]
        output.print(table("Published, %", ["model", *map(_TITLES.__getitem__, found.parts)], rows))
        output.print(f"Source: {found.source}.")
