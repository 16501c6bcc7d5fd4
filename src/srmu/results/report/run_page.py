"""What the page shows of one run: every number comes from its manifest, results or metrics, and none is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from srmu.results.attack_records import AttackRecord
from srmu.results.audit_records import AuditPart
from srmu.results.compare import evaluated_scores
from srmu.results.fluency_records import FluencyGroup
from srmu.results.gate import check_requirements
from srmu.results.groups import Change, marked_name
from srmu.results.manifest import BeforeAfter, DataRecord, Environment, Manifest, TensorChange, costs_of, read_manifest
from srmu.results.records import Results, read_results
from srmu.results.report import plots
from srmu.results.report.attack_figures import attack_figures
from srmu.results.report.findings import NO_CHANGE, change_of
from srmu.results.report.numbers import number, with_error
from srmu.results.traces import read_losses, read_maps

# Of the machine that made the run, or shown elsewhere on the page.
_NOT_SETTINGS = ("model", "out", "overwrite", "forget", "retain", "topics", "questions", "require")
_ATTACK_COLUMNS = ("forget_before", "forget_after", "base_after", "recovery", "utility", "utility_after")

Row = list[str]
"""Cells of a table; `Markup`, which is text too, is not escaped again."""


@dataclass(frozen=True)
class MapView:
    """An importance map: its two pictures and the numbers that sum it up."""

    topic: str
    figures: tuple[Markup, Markup]
    mean: Markup
    share_of_zeros: Markup
    effective_dimension: Markup


@dataclass(frozen=True)
class RunView:
    """Everything that the template shows of one run directory."""

    name: str
    created: str
    base: str
    method: str
    steps: Markup
    training: Markup
    forget: list[tuple[str, Markup]]
    curves: list[plots.Figure]
    maps: list[MapView]
    tensors: list[Row]
    data: list[Row]
    settings: list[Row]
    costs: list[Row]
    hashes: list[Row]
    environment: list[Row]
    chain: list[Row]
    verdicts: list[Row]
    benchmarks: list[Row]
    attacks: list[Row]
    attack_figures: list[plots.Figure]
    answered: bool


def run_view(path: Path, name: str) -> RunView:
    """What the template shows of a run directory.

    Raises:
        InputError: It is no run directory, or a file in it is damaged.
    """
    manifest, results = read_manifest(path), read_results(path)
    return RunView(
        name=name,
        created=manifest.created,
        base=base_name(manifest),
        method=manifest.method,
        steps=number(manifest.steps, "count"),
        training=number(manifest.seconds.get("training"), "seconds"),
        forget=[(record.source, number(record.documents, "count")) for record in manifest.data_of("forget")],
        curves=_curves(path),
        maps=_maps(path, manifest),
        tensors=[_tensor_row(change) for change in manifest.changed],
        data=[_data_row(record) for record in manifest.data],
        settings=_settings(manifest.config, manifest.assumed),
        costs=_costs(manifest),
        hashes=_hashes(manifest),
        environment=_environment(manifest.environment),
        chain=_chain(manifest, results, name),
        verdicts=_verdicts(manifest, results),
        benchmarks=_benchmarks(results),
        attacks=_attacks(results.attacks),
        attack_figures=attack_figures(results.attacks),
        answered=bool(results.all_questions),
    )


def base_name(manifest: Manifest) -> str:
    """The base's name without the folders of the machine it lay on."""
    model = manifest.base.model
    return Path(model).name if model.startswith((".", "/", "~")) or model.count("/") != 1 else model


def question_rows(results: Results) -> list[Row]:
    """Before, after and change of each group of questions."""
    return [
        [
            group.label(name),
            number(group.result.n, "count"),
            *(with_error(side.accuracy, side.stderr) for side in (group.base, group.result) if side),
            change_of(group.change.accuracy if group.change else NO_CHANGE),
        ]
        for name, group in results.questions.items()
    ]


def text_rows(results: Results) -> list[Row]:
    """Before, after and change of each group of held-out texts."""
    return [
        [
            name,
            number(group.result.num_tokens, "count"),
            *(number(side.nll) for side in (group.base, group.result) if side),
            change_of(group.change.nll if group.change else NO_CHANGE),
            number(group.predictions_changed, "percent"),
        ]
        for name, group in results.texts.items()
    ]


def audit_rows(parts: Sequence[AuditPart]) -> list[Row]:
    """Before and after of what was audited, with the standard error of the difference."""
    return [
        [part.words, number(part.known, "count"), number(part.base), with_error(part.result, part.stderr)]
        for part in parts
    ]


def fluency_rows(group: FluencyGroup) -> list[Row]:
    """The score before and after, then what it is made of."""
    base, result = group.base, group.result
    return [
        ["fluency", number(base.score), number(result.score), change_of(group.change)],
        ["pairs of tokens said once", number(base.distinct, "percent"), number(result.distinct, "percent"), ""],
        ["letters in the prompt's script", number(base.script, "percent"), number(result.script, "percent"), ""],
        ["nats per token that the base gives the answers", number(base.base_nll), number(result.base_nll), ""],
    ]


def evaluated_rows(results: Results) -> list[Row]:
    """Before, after and change of what `srmu evaluate` measured later, with where the questions or texts came from."""
    rows: list[Row] = []
    for measure, (base, result) in evaluated_scores(results).items():
        source = "lm-evaluation-harness"
        if measure.kind != "tasks":
            found = getattr(results.evaluate, measure.kind)[measure.group].source
            source = found.name if found else ""
        change = Change(base.value, result.value, result.difference, result.difference_stderr)
        sides = [with_error(score.value, score.stderr) for score in (base, result)]
        name = marked_name(measure.group, base.machine_made, base.n)
        rows.append([name, measure.metric, source, number(base.n, "count"), *sides, change_of(change)])
    return rows


def _curves(path: Path) -> list[plots.Figure]:
    """Forget and retain loss by step, a curve for each topic."""
    steps = read_losses(path)
    drawn = []
    for key, words in (("forget_loss", "Forget loss"), ("retain_loss", "Retain loss")):
        points: dict[str, list[tuple[float, float]]] = {}
        for step in steps:
            if (loss := getattr(step, key)) is not None:
                points.setdefault(step.topic, []).append((step.step, loss))
        series = [plots.Series(name, *zip(*pairs, strict=True)) for name, pairs in points.items()]
        if series:
            about = f"It starts at {series[0].y[0]:.3g} and ends at {series[0].y[-1]:.3g}"
            title = f"{words} by step"
            picture = plots.lines(series, x_label="step", y_label=words.lower(), title=title, description=about)
            drawn.append(plots.Figure(picture, [one.name for one in series]))
    return drawn


def _maps(path: Path, manifest: Manifest) -> list[MapView]:
    """Each topic's importance map, sorted and as a histogram, with its recorded numbers."""
    maps = []
    for topic, unsorted in read_maps(path).items():
        values = sorted(unsorted, reverse=True)
        summary = manifest.importance.get(topic, {})
        sorted_map = plots.lines(
            [plots.Series(topic, range(len(values)), values)],
            x_label="features, most important first", y_label="importance",
            title="Importance of each feature, sorted",
            description="The steeper the fall, the fewer features the forget target uses",
        )  # fmt: skip
        counted = plots.histogram(
            values, x_label="importance", title="How many features have which importance",
            description="A bar at the left holds the features that the forget target leaves alone",
        )  # fmt: skip
        numbers = {key: number(summary.get(key), form) for key, form in _SUMMARY.items()}
        maps.append(MapView(topic=topic, figures=(sorted_map, counted), **numbers))
    return maps


_SUMMARY = {"mean": "plain", "share_of_zeros": "percent", "effective_dimension": "short"}


def _tensor_row(change: TensorChange) -> Row:
    shape = Markup(" \N{MULTIPLICATION SIGN} ").join(number(size, "count") for size in change.shape)
    return [
        Markup("<code>{}</code>").format(change.name),
        Markup("{} <code>{}</code>").format(shape, change.dtype),
        number(change.changed_fraction, "percent"),
        number(change.relative_change, "percent"),
        number(change.largest_change, "short"),
    ]


def _data_row(record: DataRecord) -> Row:
    counts = [number(count, "count") for count in (record.documents, record.rows, record.tokens)]
    return [record.role, record.source, *counts, Markup("<code>{}</code>").format(record.sha256)]


def _settings(config: Mapping[str, object], assumed: Mapping[str, str]) -> list[Row]:
    """Name and value, and what was assumed where anything was."""
    shown = {key: value for key, value in config.items() if key not in _NOT_SETTINGS and value not in (None, [], {})}
    return [[key, _setting(value), *([assumed.get(key, "")] if assumed else [])] for key, value in shown.items()]


def _setting(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return Markup('<data value="{}">{:g}</data>').format(repr(value), value)
    return Markup(", ").join(map(_setting, value)) if isinstance(value, list) else str(value)


def _costs(manifest: Manifest) -> list[Row]:
    stages: list[Row] = [[f"time: {stage}", number(value, "seconds")] for stage, value in manifest.seconds.items()]
    peaks = manifest.peak_memory_mb.items()
    return stages + [[f"peak memory: {place}", number(value, "megabytes")] for place, value in peaks]


def _hashes(manifest: Manifest) -> list[Row]:
    groups = [("base", manifest.base.shards), ("result", manifest.result.files), ("run", manifest.run_files)]
    return [
        [side, Markup("<code>{}</code>").format(file), Markup("<code>{}</code>").format(digest)]
        for side, files in groups
        for file, digest in files.items()
    ]


def _environment(found: Environment) -> list[Row]:
    flat = {
        "python": found.python, "platform": found.platform, "machine": found.machine, "device": found.device,
        "threads": found.threads, "processes": found.processes, "dtype": found.dtype, **found.packages,
    }  # fmt: skip
    return [[key, _setting(value)] for key, value in flat.items() if value is not None]


def _chain(manifest: Manifest, results: Results, name: str) -> list[Row]:
    """One row per request, oldest first; none where this run began with a base that no run made."""
    if not manifest.base.chain:
        return []
    rows: list[Row] = [
        [
            request.run,
            request.created or "",
            Markup(", ").join(number(source.documents, "count") for source in request.forget),
            number(request.seconds.get("training"), "seconds"),
            _steps(request.questions),
            _steps(request.texts),
        ]
        for request in manifest.base.chain
    ]
    own = [
        name,
        manifest.created,
        Markup(", ").join(number(record.documents, "count") for record in manifest.data_of("forget")),
        number(manifest.seconds.get("training"), "seconds"),
        _steps(costs_of(results)[0]),
        _steps(costs_of(results)[1]),
    ]
    return [*rows, own]


def _steps(groups: Mapping[str, BeforeAfter]) -> Markup:
    parts = [
        Markup("{}: {} → {}").format(name, number(pair.base), number(pair.result)) for name, pair in groups.items()
    ]
    return Markup("<br>").join(parts)


def _verdicts(manifest: Manifest, results: Results) -> list[Row]:
    if not manifest.requirements:
        return []
    verdicts = check_requirements(manifest.requirements, results)
    return [[Markup("<code>{}</code>").format(v.requirement), v.status, number(v.value)] for v in verdicts]


def _benchmarks(results: Results) -> list[Row]:
    """One row per number, as `srmu gate` names it; one that is not known stands as a dash."""
    return [
        [name, key, number(value, "short")]
        for name, numbers in results.benchmarks.numbers().items()
        for key, value in numbers.items()
    ]


def _attacks(attacks: Mapping[str, AttackRecord]) -> list[Row]:
    return [
        [name, record.needs or "", record.status, *(number(getattr(record, key)) for key in _ATTACK_COLUMNS)]
        for name, record in attacks.items()
    ]
