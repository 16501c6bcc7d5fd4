"""What the page says of one run: every number comes from its manifest, results or metrics, and none is computed."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from srmu.results.attack_records import AttackRecord
from srmu.results.compare import evaluated_scores, side_of
from srmu.results.gate import check_requirements
from srmu.results.manifest import read_manifest
from srmu.results.records import read_results
from srmu.results.report import plots
from srmu.results.report.attack_figures import attack_figures
from srmu.results.report.numbers import number, with_error
from srmu.results.run_files import IMPORTANCE_FILE, METRICS_FILE
from srmu.results.schema import from_json

_MAP_SUFFIX = ".importance_map"
# Of the machine that made the run, or shown elsewhere on the page.
_NOT_SETTINGS = ("model", "out", "overwrite", "forget", "retain", "topics", "questions", "require")
_ATTACK_COLUMNS = ("forget_before", "forget_after", "base_after", "recovery", "utility", "utility_after")
_Z = 1.96

Row = list[Any]


def run_details(path: Path, name: str) -> dict[str, Any]:
    """Everything the template shows of one run directory.

    Raises:
        InputError: It is no run directory, or a file in it is damaged.
    """
    manifest, results = read_manifest(path), read_results(path)
    config = manifest["config"]
    return {
        "name": name,
        "created": manifest.get("created", ""),
        "base": base_name(manifest),
        "config": config,
        "steps": number(manifest.get("steps", config.get("steps")), "count"),
        "training": number(manifest.get("seconds", {}).get("training"), "seconds"),
        "forget": [(entry["source"], number(entry["documents"], "count")) for entry in _data(manifest, "forget")],
        "curves": _curves(path),
        "maps": _maps(path, manifest),
        "tensors": [_tensor_row(change) for change in manifest["changed"]],
        "data": [_data_row(entry) for entry in manifest.get("data", [])],
        "settings": _settings(config, manifest.get("assumed", {})),
        "costs": _costs(manifest),
        "hashes": _hashes(manifest),
        "environment": _environment(manifest.get("environment", {})),
        "chain": _chain(manifest, results, name),
        "verdicts": _verdicts(config, results),
        "attacks": _attacks(results.get("attacks", {})),
        "attack_figures": attack_figures(from_json(dict[str, AttackRecord], results.get("attacks", {}))),
        "answered": bool(results.get("questions") or results.get("evaluate", {}).get("questions")),
    }


def base_name(manifest: Mapping[str, Any]) -> str:
    """The base's name without the folders of the machine it lay on."""
    model = str(manifest["base"].get("model") or "")
    return Path(model).name if model.startswith((".", "/", "~")) or model.count("/") != 1 else model


def question_rows(results: Mapping[str, Any]) -> list[Row]:
    """Before, after and change of each group of questions."""
    return [
        [
            group,
            number(entry["base"]["n"], "count"),
            with_error(entry["base"]["accuracy"], entry["base"]["stderr"]),
            with_error(entry["result"]["accuracy"], entry["result"]["stderr"]),
            change_of(entry["change"]["accuracy"]),
        ]
        for group, entry in results.get("questions", {}).items()
    ]


def text_rows(results: Mapping[str, Any]) -> list[Row]:
    """Before, after and change of each group of held-out texts."""
    return [
        [
            group,
            number(entry["base"]["num_tokens"], "count"),
            number(entry["base"]["nll"]),
            number(entry["result"]["nll"]),
            change_of(entry["nll"]),
            number(entry["predictions_changed"], "percent"),
        ]
        for group, entry in results.get("texts", {}).items()
    ]


def evaluated_rows(results: Mapping[str, Any]) -> list[Row]:
    """Before, after and change of what `srmu evaluate` measured later, with where the questions or texts came from."""
    groups = results.get("evaluate", {})
    rows = []
    for measure, (base, result) in evaluated_scores(results).items():
        entry = groups[measure.kind][measure.group]
        source = entry.get("source", {}).get("name", "lm-evaluation-harness" if measure.kind == "tasks" else "")
        change = {"difference": result.difference, "stderr": result.difference_stderr}
        sides = [with_error(score.value, score.stderr) for score in (base, result)]
        rows.append([measure.group, measure.metric, source, number(base.n, "count"), *sides, change_of(change)])
    return rows


def change_of(change: Mapping[str, Any]) -> Markup:
    """A difference with its standard error, marked where it is more than chance."""
    text = with_error(change["difference"], change["stderr"], "signed")
    return text + Markup(' <span class="mark">*</span>') if is_significant(change) else text


def is_significant(change: Mapping[str, Any]) -> bool:
    """Whether a recorded difference is beyond 1.96 of its standard errors."""
    difference, stderr = change["difference"], change["stderr"]
    return difference is not None and stderr is not None and abs(difference) > _Z * stderr


def findings(results: Mapping[str, Any]) -> list[Markup]:
    """What was forgotten and what it cost, in sentences."""
    sentences = []
    later = results.get("evaluate", {}).get("questions", {})
    questions = {group: entry for group, entry in later.items() if "change" in entry} | results.get("questions", {})
    texts = results.get("texts", {})
    for group, entry in questions.items():
        if side_of(group) == "forget":
            fell = entry["change"]["accuracy"]["difference"] < 0
            sentences.append(
                _accuracy_sentence(group, entry) + _verdict_on_forgetting(entry["change"]["accuracy"], fell)
            )
    for group, entry in texts.items():
        if side_of(group) == "forget":
            rose = (entry["nll"]["difference"] or 0.0) > 0
            sentences.append(_loss_sentence(group, entry) + _verdict_on_forgetting(entry["nll"], rose))
    kept = {group: entry for group, entry in questions.items() if side_of(group) == "kept"}
    if kept:
        worst = min(kept, key=lambda group: kept[group]["change"]["accuracy"]["difference"])
        sentences.append(
            _accuracy_sentence(worst, kept[worst]) + Markup("Of what was to stay, it changed most for the worse.")
        )
        fallen = [g for g, e in kept.items() if _is_loss(e["change"]["accuracy"], -1)]
    else:
        kept = {group: entry for group, entry in texts.items() if side_of(group) == "kept"}
        sentences += [_loss_sentence(group, entry) for group, entry in kept.items()]
        fallen = [group for group, entry in kept.items() if _is_loss(entry["nll"], +1)]
    if fallen:
        names = Markup(", ").join(Markup("<em>{}</em>").format(group) for group in fallen)
        sentences.append(Markup("<strong>It cost more than chance explains on {}.</strong>").format(names))
    elif kept:
        sentences.append(Markup("No kept group got worse by more than chance explains."))
    return sentences


def _is_loss(change: Mapping[str, Any], sign: int) -> bool:
    return is_significant(change) and change["difference"] * sign > 0


def _accuracy_sentence(group: str, entry: Mapping[str, Any]) -> Markup:
    return Markup("The share of right answers to the questions <em>{}</em> was {} before and {} after ({}). ").format(
        group,
        number(entry["base"]["accuracy"]),
        number(entry["result"]["accuracy"]),
        change_of(entry["change"]["accuracy"]),
    )


def _loss_sentence(group: str, entry: Mapping[str, Any]) -> Markup:
    return Markup("On the held-out texts <em>{}</em> the loss was {} nats a token before and {} after ({}). ").format(
        group, number(entry["base"]["nll"]), number(entry["result"]["nll"]), change_of(entry["nll"])
    )


def _verdict_on_forgetting(change: Mapping[str, Any], in_direction: bool) -> Markup:
    if change["stderr"] is None:
        return Markup("Too little was asked to say whether that is chance.")
    if not in_direction:
        return Markup("<strong>That is no sign of forgetting.</strong>")
    if not is_significant(change):
        return Markup("Chance alone may explain that.")
    return Markup("That is more than chance explains.")


def _curves(path: Path) -> list[dict[str, Any]]:
    """Forget and retain loss by step, a curve for each topic."""
    file = path / METRICS_FILE
    if not file.is_file():
        return []
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    drawn = []
    for key, words in (("forget_loss", "Forget loss"), ("retain_loss", "Retain loss")):
        points: dict[str, list[tuple[float, float]]] = {}
        for record in records:
            if record.get(key) is not None:
                points.setdefault(str(record.get("topic", "")), []).append((record["step"], record[key]))
        series = [plots.Series(name, *zip(*pairs, strict=True)) for name, pairs in points.items()]
        if series:
            about = f"It starts at {series[0].y[0]:.3g} and ends at {series[0].y[-1]:.3g}"
            title = f"{words} by step"
            picture = plots.lines(series, x_label="step", y_label=words.lower(), title=title, description=about)
            drawn.append({"figure": picture, "legend": [one.name for one in series]})
    return drawn


def _maps(path: Path, manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each topic's importance map, sorted and as a histogram, with its recorded numbers."""
    file = path / IMPORTANCE_FILE
    if not file.is_file():
        return []
    from safetensors.numpy import load_file

    maps = []
    for name, tensor in sorted(load_file(file).items()):
        if not name.endswith(_MAP_SUFFIX):
            continue
        topic = name.removesuffix(_MAP_SUFFIX)
        values = sorted(map(float, tensor), reverse=True)
        summary = manifest.get("importance", {}).get(topic, {})
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
        maps.append({"topic": topic, "figures": [sorted_map, counted], **numbers})
    return maps


_SUMMARY = {"mean": "plain", "share_of_zeros": "percent", "effective_dimension": "short"}


def _tensor_row(change: Mapping[str, Any]) -> Row:
    shape = Markup(" \N{MULTIPLICATION SIGN} ").join(number(size, "count") for size in change["shape"])
    return [
        Markup("<code>{}</code>").format(change["name"]),
        Markup("{} <code>{}</code>").format(shape, change["dtype"]),
        number(change["changed_fraction"], "percent"),
        number(change["relative_change"], "percent"),
        number(change["largest_change"], "short"),
    ]


def _data(manifest: Mapping[str, Any], role: str) -> list[Mapping[str, Any]]:
    return [entry for entry in manifest.get("data", []) if entry["role"] == role]


def _data_row(entry: Mapping[str, Any]) -> Row:
    counts = [number(entry[key], "count") for key in ("documents", "rows", "tokens")]
    return [entry["role"], entry["source"], *counts, Markup("<code>{}</code>").format(entry["sha256"])]


def _settings(config: Mapping[str, Any], assumed: Mapping[str, str]) -> list[Row]:
    """Name and value, and what was assumed where anything was."""
    shown = {key: value for key, value in config.items() if key not in _NOT_SETTINGS and value not in (None, [], {})}
    return [[key, _setting(value), *([assumed.get(key, "")] if assumed else [])] for key, value in shown.items()]


def _setting(value: Any) -> Any:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return Markup('<data value="{}">{:g}</data>').format(repr(value), value)
    return Markup(", ").join(map(_setting, value)) if isinstance(value, list) else str(value)


def _costs(manifest: Mapping[str, Any]) -> list[Row]:
    stages = [[f"time: {stage}", number(value, "seconds")] for stage, value in manifest.get("seconds", {}).items()]
    peaks = manifest.get("peak_memory_mb", {}).items()
    return stages + [[f"peak memory: {place}", number(value, "megabytes")] for place, value in peaks]


def _hashes(manifest: Mapping[str, Any]) -> list[Row]:
    groups = [
        ("base", manifest["base"]["shards"]), ("result", manifest["result"]["files"]), ("run", manifest["run_files"]),
    ]  # fmt: skip
    return [
        [side, Markup("<code>{}</code>").format(file), Markup("<code>{}</code>").format(digest)]
        for side, files in groups
        for file, digest in files.items()
    ]


def _environment(environment: Mapping[str, Any]) -> list[Row]:
    flat = {**environment, **environment.get("packages", {})}
    flat.pop("packages", None)
    return [[key, _setting(value)] for key, value in flat.items() if value is not None]


def _chain(manifest: Mapping[str, Any], results: Mapping[str, Any], name: str) -> list[Row]:
    """One row a request, oldest first; none where this run stands on a base of its own."""
    earlier = manifest["base"].get("chain") or []
    if not earlier:
        return []
    own = {
        "run": name,
        "created": manifest.get("created"),
        "forget": _data(manifest, "forget"),
        "seconds": manifest.get("seconds", {}),
        "questions": _before_and_after(results.get("questions", {}), "accuracy"),
        "texts": _before_and_after(results.get("texts", {}), "nll"),
    }
    return [
        [
            entry["run"],
            entry.get("created") or "",
            Markup(", ").join(number(part["documents"], "count") for part in entry.get("forget", [])),
            number(entry.get("seconds", {}).get("training"), "seconds"),
            _steps(entry.get("questions", {})),
            _steps(entry.get("texts", {})),
        ]
        for entry in (*earlier, own)
    ]


def _before_and_after(groups: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    return {name: {side: entry[side][key] for side in ("base", "result")} for name, entry in groups.items()}


def _steps(groups: Mapping[str, Mapping[str, Any]]) -> Markup:
    parts = [
        Markup("{}: {} → {}").format(name, number(entry["base"]), number(entry["result"]))
        for name, entry in groups.items()
    ]
    return Markup("<br>").join(parts)


def _verdicts(config: Mapping[str, Any], results: Mapping[str, Any]) -> list[Row]:
    requirements: Sequence[str] = config.get("require") or []
    if not requirements:
        return []
    verdicts = check_requirements(requirements, results)
    return [[Markup("<code>{}</code>").format(v.requirement), v.status, number(v.value)] for v in verdicts]


def _attacks(attacks: Mapping[str, Any]) -> list[Row]:
    return [
        [
            name,
            str(entry.get("status", "result")),
            *(number(_number_or_none(entry.get(key))) for key in _ATTACK_COLUMNS),
        ]
        for name, entry in attacks.items()
        if isinstance(entry, dict)
    ]


def _number_or_none(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
