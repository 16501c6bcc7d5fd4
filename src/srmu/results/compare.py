"""Runs side by side: what each forgot, what it kept, what it cost, and whether a difference is more than chance."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from srmu.config.groups import Side
from srmu.errors import InputError
from srmu.results.groups import (
    AnswerSummary,
    Change,
    Group,
    QuestionGroup,
    QuestionSummary,
    TaskSummary,
    TextGroup,
    TextSummary,
    measures_of,
)
from srmu.results.manifest import Manifest, read_manifest
from srmu.results.records import Results, read_results
from srmu.results.run_files import MANIFEST_FILE, RESULTS_FILE
from srmu.results.sides import side_of
from srmu.results.significance import MARK_MEANING, is_significant

# Base scores of one set of questions may differ by this between machines, in accuracy or nats.
_TOLERANCE = 0.02


@dataclass(frozen=True)
class Score:
    """One group of questions or texts under one model.

    Attributes:
        n: Questions, or tokens.
        value: Accuracy, or nats per token; nan where the model gave no number.
        stderr: Of `value`; none = not known.
        difference: From the base, in `value`'s unit; none for the base, or where it is not recorded.
        difference_stderr: Of `difference`, paired.
        significant: Whether the difference is more than chance; `results.significance` has the rule.
        top_accuracy: Of texts: share of tokens that the model ranks first.
        machine_made: Questions that srmu made from texts; none = there are none.
    """

    n: int
    value: float
    stderr: float | None = None
    difference: float | None = None
    difference_stderr: float | None = None
    significant: bool = False
    top_accuracy: float | None = None
    machine_made: int | None = None


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
        texts: Nats per token of held-out texts by group.
        seconds: Wall time of the training.
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
        sides: The side of every group, as all runs took it.
        title: What is compared.
        mark: What the mark of significance means, in words.
    """

    base: Entry
    runs: tuple[Entry, ...]
    sides: Mapping[str, Side] = field(default_factory=dict)
    title: str = "Runs on one base"
    mark: str = MARK_MEANING

    def side_of(self, group: str) -> Side:
        """The side of a group, as all runs took it."""
        return side_of(group, self.sides)


def is_folder_of_runs(path: str | Path) -> bool:
    """Whether a directory is no run itself and holds finished runs, as that of a demo does."""
    return not (Path(path) / MANIFEST_FILE).is_file() and bool(_runs_in(Path(path)))


def compare_runs(paths: Sequence[str | Path]) -> Comparison:
    """Read run directories, or folders of them, and put the runs side by side.

    Args:
        paths: Run directories; a folder of runs counts as all its runs, in the order in which they ended.

    Raises:
        InputError: A directory that is no run or was not measured, or runs that do not belong together: other base
            weights, other groups of questions or other sides, or other questions under the same names.
    """
    if not paths:
        raise InputError("There is nothing to compare: no run directory was given. Give one or more.")
    directories = [run for path in paths for run in (_runs_in(Path(path)) or [Path(path)])]
    read = [(path, read_manifest(path), read_results(path)) for path in directories]
    pairs = [_entries(*one) for one in read]
    (base, _), (first, manifest, results) = pairs[0], read[0]
    for (other, _), (path, other_manifest, other_results) in zip(pairs, read, strict=True):
        problem = (
            "their base weights differ. Compare runs on one base"
            if other_manifest.base.shards != manifest.base.shards
            else _different_questions(base.questions, other.questions) or _different_sides(results, other_results)
        )
        if problem:
            raise InputError(f"Runs {str(first)!r} and {str(path)!r} do not belong together: {problem}.")
    shared = [name for name in base.texts if all(_same(base.texts[name], other.texts.get(name)) for other, _ in pairs)]
    later = [m for m in base.evaluated if all(_same(base.evaluated[m], other.evaluated.get(m)) for other, _ in pairs)]
    if not base.questions and not shared and not later:
        raise InputError("These runs have no group of questions or texts in common. Compare runs on the same texts.")

    def trim(entry: Entry, name: str) -> Entry:
        texts = {group: entry.texts[group] for group in shared}
        evaluated = {measure: entry.evaluated[measure] for measure in later}
        return replace(entry, name=name, texts=texts, evaluated=evaluated)

    names = _distinct_names(directories)
    runs = tuple(trim(run, name) for (_, run), name in zip(pairs, names, strict=True))
    sides = {group: side for _, _, found in reversed(read) for group, side in found.sides.items()}
    return Comparison(trim(base, "base"), runs, sides)


def frontier(entry: Entry, comparison: Comparison) -> tuple[float, float] | None:
    """How much is still known of what was to be forgotten, and the smallest kept utility.

    Both are shares of the base's accuracy: of questions, or of the next tokens of held-out texts where there are no
    questions on that side. Forgetting is the mean over the forget groups; utility the smallest over the kept ones.

    Returns:
        None where a side was not measured.
    """
    base, sides = comparison.base, {}
    for side in ("forget", "kept"):
        questions = [g for g, score in base.questions.items() if comparison.side_of(g) == side and score.value > 0]
        ratios = [entry.questions[group].value / base.questions[group].value for group in questions]
        if not ratios:
            ratios = [
                entry.texts[group].top_accuracy / score.top_accuracy  # type: ignore[operator]
                for group, score in base.texts.items()
                if comparison.side_of(group) == side and score.top_accuracy
            ]
        sides[side] = ratios
    if not sides["forget"] or not sides["kept"]:
        return None
    return sum(sides["forget"]) / len(sides["forget"]), min(sides["kept"])


def _runs_in(path: Path) -> list[Path]:
    """The runs in a folder that is none itself, those that ended first in front."""
    if not path.is_dir() or (path / MANIFEST_FILE).is_file():
        return []
    runs = sorted(file.parent for file in path.glob(f"*/{MANIFEST_FILE}"))
    return sorted(runs, key=lambda run: read_manifest(run).created)


def _entries(path: Path, manifest: Manifest, results: Results) -> tuple[Entry, Entry]:
    """The base and the result of one run directory."""
    if not results.measured and not any(results.evaluate.kinds().values()):
        raise InputError(
            f"Run {str(path)!r} was not measured: {RESULTS_FILE} holds no results. Run it with --eval, or measure it "
            "now with srmu evaluate."
        )
    questions = {group: _both(found) for group, found in results.questions.items()}
    texts = {group: _both(found) for group, found in results.texts.items()}
    evaluated = evaluated_scores(results)
    base, run = (
        Entry(
            name="base" if side == 0 else path.absolute().name,
            path=None if side == 0 else path,
            method="" if side == 0 else manifest.method,
            questions={group: pair[side] for group, pair in questions.items()},
            texts={group: pair[side] for group, pair in texts.items()},
            evaluated={measure: pair[side] for measure, pair in evaluated.items()},
        )
        for side in (0, 1)
    )
    peak = max(manifest.peak_memory_mb.values(), default=None)
    return base, replace(run, seconds=manifest.seconds.get("training"), peak_mb=peak)


def evaluated_scores(results: Results) -> dict[Measure, tuple[Score, Score]]:
    """Base and result of all that `srmu evaluate` added beside a base."""
    return {
        Measure(kind, name, metric): _pair(group, metric, change)
        for kind, groups in results.evaluate.kinds().items()
        for name, group in groups.items()
        for metric, change in group.changes().items()
    }


def _both(group: QuestionGroup | TextGroup) -> tuple[Score, Score]:
    """Scores of a group that the run itself measured, which always has a base."""
    ((metric, change),) = group.changes().items()
    return _pair(group, metric, change)


def _pair(group: Group, metric: str, change: Change) -> tuple[Score, Score]:
    assert group.base is not None
    made = group.machine_made if isinstance(group, QuestionGroup) else None
    before, after = (replace(_score(side, metric), machine_made=made) for side in (group.base, group.result))
    return before, replace(
        after, difference=change.difference, difference_stderr=change.stderr, significant=is_significant(change)
    )


def _score(summary: QuestionSummary | TextSummary | AnswerSummary | TaskSummary, metric: str) -> Score:
    numbers = summary.metrics if isinstance(summary, TaskSummary) else measures_of(summary)
    value = numbers[metric]
    return Score(
        n=summary.num_tokens if isinstance(summary, TextSummary) else summary.n,
        value=math.nan if value is None else value,
        stderr=_stderr(summary, metric),
        top_accuracy=summary.top_accuracy if isinstance(summary, TextSummary) else None,
    )


def _stderr(summary: QuestionSummary | TextSummary | AnswerSummary | TaskSummary, metric: str) -> float | None:
    """Of questions that of the accuracy; the harness gives one per metric."""
    if isinstance(summary, QuestionSummary):
        return summary.stderr
    return summary.stderr.get(metric) if isinstance(summary, TaskSummary) else None


def _different_sides(ours: Results, theirs: Results) -> str | None:
    shared = ours.sides.keys() & theirs.sides.keys()
    other = sorted(group for group in shared if ours.sides[group] != theirs.sides[group])
    if not other:
        return None
    return (
        f"{other[0]!r} is {ours.sides[other[0]]!r} in one and {theirs.sides[other[0]]!r} in the other. Run both with "
        f"the same --sides"
    )


def _different_questions(ours: Mapping[str, Score], theirs: Mapping[str, Score]) -> str | None:
    if ours.keys() != theirs.keys():
        return (
            f"one was asked {', '.join(ours) or 'nothing'}, the other {', '.join(theirs) or 'nothing'}. Compare runs "
            "that were asked the same questions"
        )
    other = [group for group in ours if not _same(ours[group], theirs[group])]
    if not other:
        return None
    return (
        f"the base scores differ on {other[0]!r}, so its questions were others. Compare runs that were asked the same "
        "questions"
    )


def _same(ours: Score, theirs: Score | None) -> bool:
    return theirs is not None and ours.n == theirs.n and abs(ours.value - theirs.value) <= _TOLERANCE


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Directory names, with their parents' where two are the same."""
    names = [path.absolute().name for path in paths]
    return [
        f"{path.absolute().parent.name}/{name}" if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]
