"""A comparison as a table, Markdown, CSV, JSON and a plot."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srmu.config.groups import Side
from srmu.errors import InputError
from srmu.results import schema
from srmu.results.compare import Comparison, Entry, Score, frontier
from srmu.results.groups import marked_name
from srmu.results.label_places import place_labels
from srmu.results.significance import MARK
from srmu.runtime.escaping import csv_cell, markdown
from srmu.runtime.files import write_atomic


def arrow(group: str, side: Side, *, loss: bool = False) -> str:
    """A group's name with the direction that is wanted: up or down; of a group that is only reported neither."""
    if side == "reported":
        return group
    return f"{group} {'↑' if (side == 'kept') != loss else '↓'}"


def columns(comparison: Comparison) -> list[str]:
    """Column titles of the table."""
    return ["run", "method", *measure_columns(comparison), "seconds", "peak MB"]


def measure_columns(comparison: Comparison) -> list[str]:
    """Column titles of what was measured: questions, held-out texts, and what `srmu evaluate` added."""
    base, side_of = comparison.base, comparison.side_of
    questions = [
        marked_name(arrow(group, side_of(group)), score.machine_made, score.n)
        for group, score in base.questions.items()
    ]
    texts = [f"{arrow(group, side_of(group), loss=True)}, nats" for group in base.texts]
    later = [marked_name(measure.label, score.machine_made, score.n) for measure, score in base.evaluated.items()]
    return [*questions, *texts, *later]


def rows(comparison: Comparison) -> list[list[str]]:
    """Cells of the table as text, the base first."""
    return [
        [
            entry.name,
            entry.method,
            *(_cell(entry.questions[group]) for group in comparison.base.questions),
            *(_cell(entry.texts[group]) for group in comparison.base.texts),
            *(_cell(entry.evaluated[measure]) for measure in comparison.base.evaluated),
            "" if entry.seconds is None else f"{entry.seconds:.1f}",
            "" if entry.peak_mb is None else f"{entry.peak_mb:.0f}",
        ]
        for entry in (comparison.base, *comparison.runs)
    ]


def to_markdown(comparison: Comparison) -> str:
    """The table as Markdown, with what its mark means below."""
    head = columns(comparison)

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(markdown(cell).replace(MARK, "\\" + MARK) for cell in cells) + " |"

    separator = "| --- | --- |" + " ---: |" * (len(head) - 2)
    body = [line(row) for row in rows(comparison)]
    return "\n".join([line(head), separator, *body, "", "\\" + comparison.mark]) + "\n"


@dataclass(frozen=True)
class LaterScore:
    """What `srmu evaluate` measured: the kind, the group, the metric and its score."""

    kind: str
    group: str
    metric: str
    score: Score


@dataclass(frozen=True)
class ComparedEntry:
    """The base or one run, as `srmu compare --format json` prints it.

    Attributes:
        name: Its directory's name; "base".
        method: rmu, adaptive-rmu, srmu.
        questions: Accuracy by group.
        texts: Nats per token of held-out texts by group.
        evaluate: What `srmu evaluate` added.
        seconds: Wall time of the training.
        peak_mb: Highest recorded peak memory in MB.
        forget_share: How much is still known of the forget side, as a share of the base.
        smallest_kept_share: The smallest kept utility, as a share of the base.
    """

    name: str
    method: str
    questions: Mapping[str, Score]
    texts: Mapping[str, Score]
    evaluate: tuple[LaterScore, ...]
    seconds: float | None
    peak_mb: float | None
    forget_share: float | None = None
    smallest_kept_share: float | None = None


@dataclass(frozen=True)
class ComparisonRecord:
    """A comparison as `srmu compare --format json` prints it.

    Attributes:
        title: What is compared.
        sides: The side of every group.
        base: The model that all began with.
        runs: In the order given.
        mark: What the mark of significance means.
    """

    title: str
    sides: Mapping[str, Side]
    base: ComparedEntry
    runs: tuple[ComparedEntry, ...]
    mark: str


def to_record(comparison: Comparison) -> ComparisonRecord:
    """The comparison as a record."""

    def entry_of(entry: Entry) -> ComparedEntry:
        point = None if entry is comparison.base else frontier(entry, comparison)
        later = tuple(LaterScore(*measure, score) for measure, score in entry.evaluated.items())
        shares = (None, None) if point is None else point
        return ComparedEntry(
            entry.name, entry.method, entry.questions, entry.texts, later, entry.seconds, entry.peak_mb, *shares
        )

    runs = tuple(entry_of(entry) for entry in comparison.runs)
    return ComparisonRecord(comparison.title, comparison.sides, entry_of(comparison.base), runs, comparison.mark)


def to_json(comparison: Comparison) -> str:
    """`to_record` as JSON text."""
    return json.dumps(schema.to_json(to_record(comparison)), indent=2) + "\n"


def to_csv(comparison: Comparison) -> str:
    """One line for each model and group, for spreadsheets."""
    fields = ("n", "value", "stderr", "difference", "difference_stderr", "significant")
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["run", "method", "kind", "group", "side", *fields, "seconds", "peak_mb"])
    for entry in (comparison.base, *comparison.runs):
        for kind, scores in (("accuracy", entry.questions), ("nats", entry.texts)):
            for group, score in scores.items():
                values = [getattr(score, field) for field in fields]
                side = comparison.side_of(group)
                row = [entry.name, entry.method, kind, group, side, *values, entry.seconds, entry.peak_mb]
                writer.writerow(map(csv_cell, row))
        for measure, score in entry.evaluated.items():
            kind, values = f"evaluate {measure.metric}", [getattr(score, field) for field in fields]
            row = [entry.name, entry.method, kind, measure.group, "", *values, entry.seconds, entry.peak_mb]
            writer.writerow(map(csv_cell, row))
    return buffer.getvalue()


def plot_frontier(comparison: Comparison, file: Path) -> None:
    """Draw forgetting against the smallest kept utility, one point per run; the format follows the file's ending.

    Raises:
        InputError: No run has both sides, or matplotlib does not know the ending.
    """
    from matplotlib.figure import Figure

    points = {entry.name: frontier(entry, comparison) for entry in comparison.runs}
    found = {name: point for name, point in points.items() if point is not None}
    if not found:
        raise InputError("There is no frontier to draw: the runs were not measured on both a forget and a kept group.")
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.add_subplot()
    marks = {"base": (1.0, 1.0), **found}
    for index, (name, point) in enumerate(marks.items()):
        # Equal points show as rings: the first is the largest.
        equal = sum(math.dist(point, other) < 0.005 for other in list(marks.values())[index + 1 :])
        axes.plot(*point, "o", markersize=6 + 5 * equal, color="#8c8c8c" if name == "base" else f"C{index - 1}")
    axes.set_xlabel("still known of the forget side, share of the base ←")
    axes.set_ylabel("smallest kept utility, share of the base ↑")
    axes.set_title("What forgetting cost", loc="left")
    axes.margins(0.15)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _name_points(axes, marks)
    try:
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=150, format=file.suffix.removeprefix(".") or None)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, drawn.getvalue())
    except (ValueError, OSError) as error:
        reason = str(error)[:200]
        raise InputError(f"Plot {str(file)!r} cannot be written ({reason}). Give a .png, .svg or .pdf file.") from None


def _name_points(axes: Any, marks: Mapping[str, tuple[float, float]]) -> None:
    """Write the names beside the points of a finished plot, none over another."""
    figure = axes.figure
    figure.draw_without_rendering()
    unit = figure.dpi / 72
    area = axes.get_window_extent()
    places = [axes.transData.transform(point) for point in marks.values()]
    points = [((x - area.x0) / unit, (area.y1 - y) / unit) for x, y in places]
    found = place_labels(
        points, [6.5 * len(name) for name in marks], width=area.width / unit, height=area.height / unit
    )
    for (name, xy), (across, down), place in zip(marks.items(), points, found, strict=True):
        right = place.left > across
        moved = abs(place.middle - down) > 1
        axes.annotate(
            name, xy, xytext=((place.left if right else place.right) - across, down - place.middle),
            textcoords="offset points", ha="left" if right else "right", va="center",
            arrowprops={"arrowstyle": "-", "color": "#8c8c8c", "linewidth": 0.6} if moved else None,
        )  # fmt: skip


def _cell(score: Score) -> str:
    error = "" if score.stderr is None else f" ± {score.stderr:.3f}"
    return f"{score.value:.3f}{error}{' ' + MARK if score.significant else ''}"
