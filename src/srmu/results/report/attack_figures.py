"""Pictures of what attacks brought back, from the records that `srmu attack` wrote."""

from collections.abc import Mapping
from typing import Any

from srmu.results.report import plots

_SIDES = {
    "base_before": "base",
    "forget_before": "result",
    "base_after": "base after the attack",
    "forget_after": "result after the attack",
    "utility_after": "utility after the attack",
}


def attack_figures(attacks: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All attacks in one picture; and the course of the relearning that brought back most. Empty without results."""
    measured = {
        name: entry
        for name, entry in attacks.items()
        if isinstance(entry, Mapping) and entry.get("status") == "result" and _is_number(entry.get("forget_after"))
    }
    figures = [_overview(measured)] if measured else []
    curve = _worst_curve(measured.get("relearn", {}))
    return figures + ([curve] if curve else [])


def _overview(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    series = []
    for key, title in _SIDES.items():
        points = [(place, entry[key]) for place, entry in enumerate(measured.values()) if _is_number(entry.get(key))]
        places, values = [place for place, _ in points], [value for _, value in points]
        series.append(plots.Series(title, values, places, [None] * len(points)))
    names = [name.replace("_", " ") for name in measured]
    picture = plots.dots(
        names, series, x_label="forget side; utility", title="Attacks",
        description="Forget side of base and result before and after each attack, and utility after it",
    )  # fmt: skip
    words = "Forget side, mostly accuracy, before and after each attack, and the utility that is left beside it."
    return {"figure": picture, "words": words, "legend": [one.name for one in series]}


def _worst_curve(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    """Accuracy on the tested half by step, in the worst cell."""
    worst = entry.get("worst") or {}
    keys = ("material", "tuning", "learning_rate")
    cells = [c for c in entry.get("cells") or [] if worst and all(c.get(key) == worst.get(key) for key in keys)]
    if not cells or not cells[0].get("curve"):
        return None
    curve = cells[0]["curve"]
    steps = [0, *(point["step"] for point in curve)]
    sides = {"base": ("base_before", "base"), "result": ("forget_before", "forget")}
    series = [
        plots.Series(title, steps, [entry[start], *(point[key] for point in curve)])
        for title, (start, key) in sides.items()
    ]
    picture = plots.lines(
        series, x_label="step", y_label="accuracy", title="Relearning by step",
        description="Accuracy on the half of the facts that is not told, in the worst case",
    )  # fmt: skip
    words = f"Relearning, worst case ({worst['material']}, {worst['tuning']}): the half that is not told, by step."
    return {"figure": picture, "words": words, "legend": [one.name for one in series]}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
