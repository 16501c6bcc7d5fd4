"""The plot of a study: what remains against what is kept."""

from collections.abc import Sequence
from pathlib import Path

from srmu.job.tuning.outcome import KEPT
from srmu.results.study import StudyRecord, StudyTrial


def plot_front(record: StudyRecord, chosen: int, file: Path) -> None:
    """Draw all trials, the Pareto front as a line, and the chosen one.

    Args:
        record: The study.
        chosen: Number of the chosen one.
        file: Its ending says the format.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(*_points(record.complete), color="#8c8c8c", s=18, label="trials")
    best = sorted(
        trial for trial in zip(*_points([t for t in record.complete if t.number in record.front]), strict=True)
    )
    axes.plot(
        [remaining for remaining, _ in best],
        [kept for _, kept in best],
        color="#2f8f6b",
        marker="o",
        markersize=4,
        linewidth=1,
        label="Pareto front",
    )
    axes.scatter(
        *_points([trial for trial in record.complete if trial.number == chosen]),
        color="#f2a541",
        s=90,
        marker="*",
        label="chosen",
    )
    axes.axhline(KEPT, color="black", linewidth=0.8, linestyle=":", label=f"{100 * KEPT:.0f} % kept")
    axes.set_xlabel("remaining of what is to be forgotten ↓ (base = 1)")
    axes.set_ylabel("kept of what is to stay, worst group ↑")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)


def _points(trials: Sequence[StudyTrial]) -> tuple[list[float], list[float]]:
    outcomes = [trial.outcome for trial in trials if trial.outcome is not None]
    return [outcome.remaining for outcome in outcomes], [outcome.kept for outcome in outcomes]
