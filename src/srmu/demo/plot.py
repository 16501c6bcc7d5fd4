"""The demo's plot: accuracy of each group of questions, base and runs side by side."""

from pathlib import Path

from srmu.demo.questions import NUM_CHOICES
from srmu.results.compare import Comparison

LABELS = {"forget": "forget ↓", "entangled": "entangled ↑", "neighbours": "neighbours", "other": "other ↑"}


def plot_demo(comparison: Comparison, file: Path) -> None:
    """Draw grouped bars with standard errors and the line of chance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    entries = [comparison.base, *comparison.runs]
    colours = ["#8c8c8c", "#4c78a8", "#f2a541", "#2f8f6b", "#b05ea8"]
    width = 0.8 / len(entries)
    for index, entry in enumerate(entries):
        places = [group + (index - (len(entries) - 1) / 2) * width for group in range(len(LABELS))]
        scores = [entry.questions[name] for name in LABELS]
        axes.bar(
            places,
            [score.value for score in scores],
            width * 0.92,
            yerr=[score.stderr or 0.0 for score in scores],
            label=entry.name,
            color=colours[index % len(colours)],
            error_kw={"elinewidth": 0.8, "alpha": 0.7},
        )
    axes.axhline(1 / NUM_CHOICES, color="black", linewidth=1, linestyle=":", label="chance")
    axes.set_xticks(range(len(LABELS)), list(LABELS.values()))
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("four-choice accuracy")
    axes.set_title("What was forgotten, what was kept", loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, ncols=len(entries) + 1, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    figure.savefig(file, dpi=150)
