"""The plot of a study: what remains against what is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srmu.job.tuning.outcome import KEPT


def plot_front(trials: Sequence[dict[str, Any]], front: Sequence[int], chosen: int, file: Path) -> None:
    """Draw all trials, the Pareto front as a line, and the chosen one.

    Args:
        trials: With `number`, `remaining` and `kept`.
        front: Numbers of those on the front.
        chosen: Number of the chosen one.
        file: Its ending says the format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(*_points(trials), color="#8c8c8c", s=18, label="trials")
    best = sorted((trial for trial in trials if trial["number"] in front), key=lambda trial: trial["remaining"])
    axes.plot(*_points(best), color="#2f8f6b", marker="o", markersize=4, linewidth=1, label="Pareto front")
    axes.scatter(
        *_points([t for t in trials if t["number"] == chosen]), color="#f2a541", s=90, marker="*", label="chosen"
    )
    axes.axhline(KEPT, color="black", linewidth=0.8, linestyle=":", label=f"{100 * KEPT:.0f} % kept")
    axes.set_xlabel("remaining of what is to go ↓ (base = 1)")
    axes.set_ylabel("kept of what is to stay, worst group ↑")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def _points(trials: Sequence[dict[str, Any]]) -> tuple[list[float], list[float]]:
    return [trial["remaining"] for trial in trials], [trial["kept"] for trial in trials]
