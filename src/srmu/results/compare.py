"""Runs side by side: what each forgot, what it kept, what it cost, and whether a difference is more than chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from srmu.errors import InputError
from srmu.results.manifest_file import MANIFEST_FILE, RESULTS_FILE, read_manifest, read_results

MARK = "*"
MARK_PAIRED = (
    f"{MARK} differs from the base by more than about two standard errors of the difference, taken question by "
    "question (for texts, document by document): by chance alone such a mark appears about once in twenty."
)
MARK_UNPAIRED = (
    f"{MARK} differs from the base by more than about two standard errors, the two scores taken as independent since "
    "their single answers are not at hand; asked alike they are not, so this finds fewer differences than there are."
)
NO_MARK = "No mark also where the standard error is not known (a single question or document)."
_Z = 1.96
# Of the many metrics of evaluated questions and texts, the one shown.
_MAIN_METRIC = {"questions": "accuracy", "texts": "nll"}
# Base scores of one set of questions may differ by this between machines, in accuracy or nats.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Score:
    """One group of questions or texts under one model.

    Attributes:
        n: Questions, or tokens.
        value: Accuracy, or nats a token; nan where the model gave no number.
        stderr: Of `value`; none = not known.
        difference: From the base, in `value`'s unit; none for the base, or where it is not recorded.
        difference_stderr: Of `difference`, paired.
        significant: Whether the difference is more than chance, in the words of `Comparison.mark`.
        top_accuracy: Of texts: share of tokens that the model ranks first.
    """

    n: int
    value: float
    stderr: float | None = None
    difference: float | None = None
    difference_stderr: float | None = None
    significant: bool = False
    top_accuracy: float | None = None


class Measure(NamedTuple):
    """What `srmu evaluate` measured later: questions, texts, completions or tasks; the group; the metric."""

    kind: str
    group: str
    metric: str

    @property
    def label(self) -> str:
        """In words, with its source."""
        return f"{self.group}, {self.metric} (evaluate)"


@dataclass(frozen=True)
class Entry:
    """The base or one run.

    Attributes:
        name: Its directory's name; "base".
        path: Run directory; none for the base.
        method: rmu, adaptive-rmu, srmu.
        questions: Accuracy by group.
        texts: Nats a token of held-out texts by group.
        seconds: Wall time of the training (in a demo, of loading and the frozen pass too).
        peak_mb: Highest recorded peak memory in MB.
        evaluated: What `srmu evaluate` merged into the run's results.
    """

    name: str
    path: Path | None
    method: str
    questions: dict[str, Score]
    texts: dict[str, Score]
    seconds: float | None = None
    peak_mb: float | None = None
    evaluated: dict[Measure, Score] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Runs on one base, asked the same.

    Attributes:
        base: The model that all began with.
        runs: In the order given.
        mark: What the mark of significance means, in words.
        title: What is compared.
    """

    base: Entry
    runs: tuple[Entry, ...]
    mark: str
    title: str


def side_of(group: str) -> str:
    """Which side a group is on: "forget" if its name or its last part begins so, "reported" for neighbours, "kept"."""
    last = group.rpartition(".")[2]
    if last.startswith("forget") or group.startswith("forget"):
        return "forget"
    return "reported" if last.startswith("neighbour") else "kept"


def is_demo(path: str | Path) -> bool:
    """Whether a directory is a demo's: results of several runs, and no manifest of its own."""
    return not (Path(path) / MANIFEST_FILE).is_file() and "runs" in read_results(path)


def compare_runs(paths: Sequence[str | Path]) -> Comparison:
    """Read run directories, or one demo directory, and put them side by side.

    Raises:
        InputError: A directory that is no run or was not measured, or runs that do not belong together: other base
            weights, other groups of questions, or other questions under the same names.
    """
    if not paths:
        raise InputError("There is nothing to compare: no run directory was given. Give one or more.")
    demos = [path for path in paths if is_demo(path)]
    if demos:
        if len(paths) > 1:
            raise InputError(
                f"{str(demos[0])!r} is a demo and holds several runs. Compare it alone, or run directories."
            )
        return _read_demo(Path(demos[0]))
    pairs = [_read_run(Path(path)) for path in paths]
    (base, _), first = pairs[0], paths[0]
    shards = [read_manifest(path)["base"]["shards"] for path in paths]
    for (other, _), path, hashes in zip(pairs, paths, shards, strict=True):
        if hashes != shards[0]:
            raise InputError(
                f"Runs {str(first)!r} and {str(path)!r} do not belong together: their base weights differ. "
                "Compare runs on one base."
            )
        if problem := _different_questions(base.questions, other.questions):
            raise InputError(
                f"Runs {str(first)!r} and {str(path)!r} do not belong together: {problem}. "
                "Compare runs that were asked the same questions."
            )
    shared = [name for name in base.texts if all(_same(base.texts[name], other.texts.get(name)) for other, _ in pairs)]
    later = [m for m in base.evaluated if all(_same(base.evaluated[m], other.evaluated.get(m)) for other, _ in pairs)]
    if not base.questions and not shared and not later:
        raise InputError("These runs have no group of questions or texts in common. Compare runs on the same texts.")

    def trim(entry: Entry, name: str) -> Entry:
        texts = {group: entry.texts[group] for group in shared}
        evaluated = {measure: entry.evaluated[measure] for measure in later}
        return Entry(name, entry.path, entry.method, entry.questions, texts, entry.seconds, entry.peak_mb, evaluated)

    names = _distinct_names([run.path for _, run in pairs if run.path is not None])
    runs = tuple(trim(run, name) for (_, run), name in zip(pairs, names, strict=True))
    return Comparison(trim(base, "base"), runs, f"{MARK_PAIRED} {NO_MARK}", "Runs on one base")


def frontier(entry: Entry, base: Entry) -> tuple[float, float] | None:
    """How much is still known of what was to be forgotten, and the smallest kept utility.

    Both are shares of the base's accuracy: of questions, or of the next tokens of held-out texts where there are no
    questions on that side. Forgetting is the mean over the forget groups; utility the smallest over the kept ones.

    Returns:
        None where a side was not measured.
    """
    sides = {}
    for side in ("forget", "kept"):
        questions = [g for g, score in base.questions.items() if side_of(g) == side and score.value > 0]
        ratios = [entry.questions[group].value / base.questions[group].value for group in questions]
        if not ratios:
            ratios = [
                entry.texts[group].top_accuracy / score.top_accuracy  # type: ignore[operator]
                for group, score in base.texts.items()
                if side_of(group) == side and score.top_accuracy
            ]
        sides[side] = ratios
    if not sides["forget"] or not sides["kept"]:
        return None
    return sum(sides["forget"]) / len(sides["forget"]), min(sides["kept"])


def _read_run(path: Path) -> tuple[Entry, Entry]:
    """The base and the result of one run directory."""
    manifest, results = read_manifest(path), read_results(path)
    if not any(results.get(key) for key in ("questions", "texts", "evaluate")):
        raise InputError(
            f"Run {str(path)!r} was not measured: {RESULTS_FILE} holds no results. Run it with --eval, or measure it "
            "now with srmu evaluate."
        )
    sides: dict[str, dict[str, dict[str, Score]]] = {key: {"questions": {}, "texts": {}} for key in ("base", "result")}
    try:
        for group, entry in results.get("questions", {}).items():
            for key in sides:
                change = entry["change"]["accuracy"] if key == "result" else {}
                sides[key]["questions"][group] = _score(entry[key], "n", "accuracy", change)
        for group, entry in results.get("texts", {}).items():
            for key in sides:
                change = entry["nll"] if key == "result" else {}
                sides[key]["texts"][group] = _score(entry[key], "num_tokens", "nll", change)
        evaluated = evaluated_scores(results)
    except (KeyError, TypeError) as error:
        raise InputError(f"{str(path / RESULTS_FILE)!r} is damaged: {error} is missing. Restore it.") from None
    peak = max(manifest.get("peak_memory_mb", {}).values(), default=None)
    method = str(manifest["config"].get("method", ""))
    seconds = manifest.get("seconds", {}).get("training")
    base, result = sides["base"], sides["result"]
    before, after = ({measure: pair[side] for measure, pair in evaluated.items()} for side in (0, 1))
    run = Entry(path.absolute().name, path, method, result["questions"], result["texts"], seconds, peak, after)
    return Entry("base", None, "", base["questions"], base["texts"], evaluated=before), run


def evaluated_scores(results: Mapping[str, Any]) -> dict[Measure, tuple[Score, Score]]:
    """Base and result of all that `srmu evaluate` merged into `results.json` beside a base."""
    found = {}
    for kind, groups in results.get("evaluate", {}).items():
        for group, entry in groups.items():
            for metric, change in entry.get("change", {}).items():
                if kind not in _MAIN_METRIC or metric == _MAIN_METRIC[kind]:
                    base = _evaluated_score(entry["base"], metric, change["before"], {})
                    found[Measure(kind, group, metric)] = (
                        base,
                        _evaluated_score(entry["result"], metric, change["after"], change),
                    )
    return found


def _evaluated_score(side: Mapping[str, Any], metric: str, value: float | None, change: Mapping[str, Any]) -> Score:
    # The harness gives a standard error a metric; questions have one, of the accuracy.
    stderr = side.get("stderr")
    stderr = stderr.get(metric) if isinstance(stderr, Mapping) else stderr
    count = "n" if "n" in side else "num_tokens"
    return _score({count: side[count], metric: value, "stderr": stderr}, count, metric, change)


def _score(entry: Mapping[str, Any], count: str, value: str, change: Mapping[str, Any]) -> Score:
    difference, stderr = change.get("difference"), change.get("stderr")
    return Score(
        n=entry[count],
        value=math.nan if entry[value] is None else entry[value],
        stderr=entry.get("stderr"),
        difference=difference,
        difference_stderr=stderr,
        significant=_is_significant(difference, stderr),
        top_accuracy=entry.get("top_accuracy"),
    )


def _read_demo(path: Path) -> Comparison:
    """The base and the runs of a demo, whose results are in its own file."""
    results = read_results(path)
    try:
        base_groups = results["base"]["groups"]
        entries = [_demo_entry(entry, base_groups, path) for entry in (results["base"], *results["runs"])]
        title = f"Demo request {results['request']!r}"
    except (KeyError, TypeError) as error:
        raise InputError(f"{str(path / RESULTS_FILE)!r} is damaged: {error} is missing. Run the demo again.") from None
    return Comparison(entries[0], tuple(entries[1:]), f"{MARK_UNPAIRED} {NO_MARK}", title)


def _demo_entry(entry: Mapping[str, Any], base_groups: Mapping[str, Any], path: Path) -> Entry:
    questions = {}
    for group, record in entry["groups"].items():
        if "accuracy" not in record:
            continue
        base = base_groups[group]
        difference = None if record is base else record["accuracy"] - base["accuracy"]
        errors = (record["stderr"], base["stderr"])
        spread = None if None in errors else math.hypot(*errors)
        significant = _is_significant(difference, spread)
        questions[group] = Score(record["n"], record["accuracy"], record["stderr"], significant=significant)
    texts = {
        group: Score(record["n"], record["nll"])
        for group, record in entry["groups"].items()
        if "accuracy" not in record
    }
    is_base = entry["groups"] is base_groups
    return Entry(
        entry["name"],
        None if is_base else path / entry["name"],
        "" if is_base else entry["method"],
        questions,
        texts,
        None if is_base else entry["seconds"],
        entry["peak_mb"],
    )


def _is_significant(difference: float | None, stderr: float | None) -> bool:
    return difference is not None and stderr is not None and abs(difference) > _Z * stderr


def _different_questions(ours: Mapping[str, Score], theirs: Mapping[str, Score]) -> str | None:
    if ours.keys() != theirs.keys():
        return f"one was asked {', '.join(ours) or 'nothing'}, the other {', '.join(theirs) or 'nothing'}"
    other = [group for group in ours if not _same(ours[group], theirs[group])]
    return f"the base scores differ on {other[0]!r}, so its questions were others" if other else None


def _same(ours: Score, theirs: Score | None) -> bool:
    return theirs is not None and ours.n == theirs.n and abs(ours.value - theirs.value) <= _TOLERANCE


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Directory names, with their parents' where two are the same."""
    names = [path.absolute().name for path in paths]
    return [
        f"{path.absolute().parent.name}/{name}" if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]
