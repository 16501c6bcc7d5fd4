"""A comparison as a table, Markdown, CSV, JSON and a plot."""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.results.compare import MARK, Comparison, Entry, Score, frontier, side_of
from srmu.results.label_places import place_labels
from srmu.runtime.escaping import csv_cell, markdown


def arrow(group: str, *, loss: bool = False) -> str:
    """A group's name with the direction that is wanted: up or down."""
    side = side_of(group)
    if side == "reported":
        return group
    return f"{group} {'↑' if (side == 'kept') != loss else '↓'}"


def columns(comparison: Comparison) -> list[str]:
    """Column titles of the table."""
    base = comparison.base
    texts = [f"{arrow(group, loss=True)}, nats" for group in base.texts]
    later = [measure.label for measure in base.evaluated]
    return ["run", "method", *(arrow(group) for group in base.questions), *texts, *later, "seconds", "peak MB"]


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


def to_records(comparison: Comparison) -> dict[str, Any]:
    """The comparison as JSON values."""

    def record(entry: Entry) -> dict[str, Any]:
        point = None if entry is comparison.base else frontier(entry, comparison.base)
        return {
            "name": entry.name,
            "method": entry.method,
            "questions": {group: _values(score) for group, score in entry.questions.items()},
            "texts": {group: _values(score) for group, score in entry.texts.items()},
            "evaluate": [{**measure._asdict(), **_values(score)} for measure, score in entry.evaluated.items()],
            "seconds": entry.seconds,
            "peak_mb": entry.peak_mb,
            "forget_share": point[0] if point else None,
            "smallest_kept_share": point[1] if point else None,
        }

    return {
        "base": record(comparison.base),
        "runs": [record(entry) for entry in comparison.runs],
        "mark": comparison.mark,
    }


def to_json(comparison: Comparison) -> str:
    """`to_records` as text."""
    return json.dumps(to_records(comparison), indent=2) + "\n"


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
                row = [entry.name, entry.method, kind, group, side_of(group), *values, entry.seconds, entry.peak_mb]
                writer.writerow(map(csv_cell, row))
        for measure, score in entry.evaluated.items():
            kind, values = f"evaluate {measure.metric}", [getattr(score, field) for field in fields]
            row = [entry.name, entry.method, kind, measure.group, "", *values, entry.seconds, entry.peak_mb]
            writer.writerow(map(csv_cell, row))
    return buffer.getvalue()


def plot_frontier(comparison: Comparison, file: Path) -> None:
    """Draw forgetting against the smallest kept utility, one point a run; the format follows the file's ending.

    Raises:
        InputError: No run has both sides, or matplotlib does not know the ending.
    """
    from matplotlib.figure import Figure

    points = {entry.name: frontier(entry, comparison.base) for entry in comparison.runs}
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
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150)
    except (ValueError, OSError) as error:
        raise InputError(f"Plot {str(file)!r} cannot be written ({error}). Give a .png, .svg or .pdf file.") from None


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


def _values(score: Score) -> dict[str, Any]:
    """A score as JSON values; what is no number becomes null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(score).items()
    }


def _cell(score: Score) -> str:
    error = "" if score.stderr is None else f" ± {score.stderr:.3f}"
    return f"{score.value:.3f}{error}{' ' + MARK if score.significant else ''}"
