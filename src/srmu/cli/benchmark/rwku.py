"""`srmu benchmark rwku`: the columns of the paper's tables, what was not at hand, and published rows."""

import typer

from srmu.cli.benchmark.flags import JSON, MODEL, compute_options, reporter, show_or_print
from srmu.cli.compute_flags import DEVICE_OR_ALL, DTYPE, MEMORY_GB, TRUST_REMOTE_CODE
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.benchmarks.rwku import RwkuResult

EPILOG = "Example: srmu benchmark rwku runs/first --data rwku/1_Stephen_King --subject 'Stephen King'"
_PROBES = ("forget FB ↓", "QA ↓", "AA ↓", "all ↓", "neighbours FB ↑", "QA ↑", "all ↑")
_LEVELS = ("level1", "level2", "level3")
_ABILITIES = ("general", "reason", "truthfulness", "factuality", "fluency")
_OTHERS = ("FM ↑", "RM ↓", "Gen ↑", "Rea ↑", "Tru ↑", "Fac ↑", "Flu ↑")


def rwku_command(
    model: str = MODEL,
    data: str = typer.Option(
        ...,
        "--data",
        metavar="FOLDER|hub",
        help="forget_level1.jsonl, ..., as the hub or the authors' script names them.",
    ),
    subject: str | None = typer.Option(None, "--subject", help="The person who was forgotten; else all in the files."),
    sets: list[str] = typer.Option(
        [], "--sets", help="Sets to measure, with commas between; else those that are there: forget_level1, ..."
    ),
    limit: int | None = typer.Option(None, "--limit", help="Most items of each set, of every person some."),
    plain: bool = typer.Option(False, "--plain", help="Ask without the chat template, as of a base model."),
    device: str = DEVICE_OR_ALL,
    dtype: str = DTYPE,
    memory_gb: str = MEMORY_GB,
    trust_remote_code: bool = TRUST_REMOTE_CODE,
    json_output: bool = JSON,
) -> int:
    """RWKU: what is left of what a model knew of real people, of their neighbours, and of its abilities.

    The result of a run directory is also kept in its results.json.
    """
    from srmu.cli.settings_command import parse_list
    from srmu.job.benchmarks.rwku import benchmark_rwku

    result = benchmark_rwku(
        model, data=data, subject=subject, sets=parse_list(sets) or None, limit=limit, plain=plain,
        compute=compute_options(device, dtype, memory_gb, trust_remote_code), reporter=reporter(),
    )  # fmt: skip
    return show_or_print(result, show_rwku, Benchmarks(rwku={result.subject: result}), json_output=json_output)


def show_rwku(result: RwkuResult) -> None:
    """The paper's columns in two tables, kinds of attack, what is missing, and published rows."""
    from srmu.cli.console import facts, output, table
    from srmu.evaluation.benchmarks.rwku_data import SETS

    sampled = result.asked.limit is not None
    about = "" if result.subject == "all" else f", {result.subject}"
    part = f", {len(result.missing)} of {len(SETS)} sets not measured" if result.missing else ""
    title = f"RWKU{about}{part}" + (", a sample: not to be compared with published numbers" if sampled else "")
    rows = [["this model", *_scores(result)], ["items", *_counts(result)]]
    end = 1 + len(_PROBES)
    output.print(table(title, ["", *_PROBES], [row[:end] for row in rows]))
    output.print(table("", ["", *_OTHERS], [[row[0], *row[end:]] for row in rows]))
    output.print("ROUGE-L recall, accuracy and F1 in %; FM and RM are 100 times nats per token, Flu 100 times bits.")
    attacks = result.forget["level3"].kinds if "level3" in result.forget else {}
    if attacks:
        rows = [[kind, f"{one.n:,}", f"{100 * one.score:.1f}"] for kind, one in attacks.items()]
        output.print(table("Adversarial probes", ["kind", "probes", "ROUGE-L recall, %"], rows))
    if result.missing:
        output.print(facts("Not measured", [(SETS[name].about, why) for name, why in result.missing.items()]))
    if not sampled:
        _show_published()


def _scores(result: RwkuResult) -> list[str]:
    """One cell a column; a dash where nothing was measured."""
    forget = [result.forget[level].score if level in result.forget else None for level in _LEVELS]
    neighbor = [result.neighbor[level].score if level in result.neighbor else None for level in _LEVELS[:2]]
    members = [result.membership[side].loss if side in result.membership else None for side in ("forget", "retain")]
    utility = [result.utility[ability].score if ability in result.utility else None for ability in _ABILITIES]
    values = [*forget, result.pooled("forget"), *neighbor, result.pooled("neighbor"), *members, *utility]
    return ["\N{EN DASH}" if value is None else f"{100 * value:.1f}" for value in values]


def _counts(result: RwkuResult) -> list[str]:
    """How many items each column is of."""
    forget = [result.forget[level].n if level in result.forget else 0 for level in _LEVELS]
    neighbor = [result.neighbor[level].n if level in result.neighbor else 0 for level in _LEVELS[:2]]
    members = [result.membership[side].n if side in result.membership else 0 for side in ("forget", "retain")]
    utility = [result.utility[ability].n if ability in result.utility else 0 for ability in _ABILITIES]
    all_forget = 0 if result.pooled("forget") is None else sum(forget)
    all_neighbor = 0 if result.pooled("neighbor") is None else sum(neighbor)
    return [f"{n:,}" for n in (*forget, all_forget, *neighbor, all_neighbor, *members, *utility)]


def _show_published() -> None:
    from srmu.cli.console import output, table
    from srmu.evaluation.benchmarks.rwku_published import PUBLISHED, SOURCE

    for name, rows in PUBLISHED.items():
        cells = {method: [f"{value:.1f}" for value in row] for method, row in rows.items()}
        probes = [[method, *row[: len(_PROBES)]] for method, row in cells.items()]
        others = [[method, *row[len(_PROBES) :]] for method, row in cells.items()]
        output.print(table(f"Published for {name}", ["method", *_PROBES], probes))
        output.print(table("", ["method", *_OTHERS], others))
    output.print(f"Source: {SOURCE}.")
