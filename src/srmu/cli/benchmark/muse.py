"""`srmu benchmark muse`: the row of a model as in the paper's table, beside published rows of the corpus."""

import typer

from srmu.cli.benchmark.flags import JSON, MODEL, compute_options, reporter, show_or_print
from srmu.cli.compute_flags import DEVICE_OR_ALL, DTYPE, MEMORY_GB, TRUST_REMOTE_CODE
from srmu.results.benchmarks.muse import MuseResult
from srmu.results.benchmarks.records import Benchmarks

EPILOG = "Example: srmu benchmark muse runs/first --corpus news --gold ./retrained"
_COLUMNS = ["verbatim memorisation", "knowledge memorisation", "privacy leakage", "utility"]


def muse_command(
    model: str = MODEL,
    corpus: str = typer.Option(..., "--corpus", help="news or books."),
    data: str | None = typer.Option(
        None, "--data", metavar="FOLDER|hub:NAME", help="MUSE's parts; without it, the authors' data set of the hub."
    ),
    gold: str | None = typer.Option(
        None,
        "--gold",
        metavar="MODEL|JSON",
        help="Model retrained without the forget texts, or its own --json result: adds privacy leakage.",
    ),
    scaling: list[str] = typer.Option(
        [], "--scaling", metavar="MODEL", help="A model that forgot scal/forget_1; again for 2, 3, 4."
    ),
    sustainability: list[str] = typer.Option(
        [], "--sustainability", metavar="MODEL", help="The model after sust/forget_1; again for 2, 3, 4."
    ),
    limit: int | None = typer.Option(None, "--limit", help="Most items of each part."),
    device: str = DEVICE_OR_ALL,
    dtype: str = DTYPE,
    memory_gb: str = MEMORY_GB,
    trust_remote_code: bool = TRUST_REMOTE_CODE,
    json_output: bool = JSON,
) -> int:
    """MUSE: what is left of forget texts, by heart, as knowledge and as membership, and the utility on others.

    The result of a run directory is also kept in its results.json.
    """  # fmt: skip
    from srmu.job.benchmarks.muse import benchmark_muse

    result = benchmark_muse(
        model, corpus=corpus, data=data, gold=gold, scaling=scaling, sustainability=sustainability, limit=limit,
        compute=compute_options(device, dtype, memory_gb, trust_remote_code), reporter=reporter(),
    )  # fmt: skip
    return show_or_print(result, show_muse, Benchmarks(muse={corpus: result}), json_output=json_output)


def show_muse(result: MuseResult) -> None:
    """The model's row above those that were published, in per cent; without the retrained model it says what lacks."""
    from srmu.cli.console import facts, output, table
    from srmu.evaluation.benchmarks.muse_data import FULL_SIZE
    from srmu.evaluation.benchmarks.muse_published import MODELS, SOURCE, published

    sampled = any(count != FULL_SIZE for count in result.asked.items.values())
    leakage = None if result.gold is None else result.gold.privacy_leakage
    row = [result.verbatim_memorization, result.knowledge_memorization, leakage, result.utility]
    title = f"MUSE {result.corpus}, per cent" + (
        ", a sample: not to be compared with published numbers" if sampled else ""
    )
    output.print(table(title, ["", *_COLUMNS], [["this model", *map(_number, row)]]))
    output.print(facts("", [*_notes(result), *_series(result)]))
    if sampled:
        return
    rows = [
        [each.method, *map(_number, (each.verbatim_memorization, each.knowledge_memorization, each.privacy_leakage,
                                     each.utility))]
        for each in published(result.corpus)
    ]  # fmt: skip
    output.print(table(f"Published for {MODELS[result.corpus]}, {result.corpus}", ["method", *_COLUMNS], rows))
    output.print(f"Source: {SOURCE}.")


def _notes(result: MuseResult) -> list[tuple[str, str]]:
    auc = f"{result.auc:.4f}"
    if result.gold is None:
        leakage = "not known: it needs the model retrained without the forget texts, --gold"
    elif result.gold.privacy_leakage is None:
        leakage = f"not defined: the AUC of {result.gold.model} is 0"
    else:
        leakage = f"against {result.gold.model}, whose AUC is {result.gold.auc:.4f}"
    items = ", ".join(f"{name} {count}" for name, count in result.asked.items.items())
    return [("items", items), ("AUC of Min-40 % Prob", auc), ("privacy leakage", leakage)]


def _series(result: MuseResult) -> list[tuple[str, str]]:
    named = (("utility as forget sets grow", result.scaling), ("utility, request by request", result.sustainability))
    return [(name, ", ".join(f"{value:.2f}" for value in values)) for name, values in named if values]


def _number(value: float | None) -> str:
    return "\N{EN DASH}" if value is None else f"{value:.2f}"
