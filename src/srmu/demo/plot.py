"""The demo's plot: accuracy of each group of questions, base and runs side by side."""

from pathlib import Path
from typing import Any

LABELS = {"forget": "forget ↓", "entangled": "entangled ↑", "neighbours": "neighbours", "other": "other ↑"}


def plot_demo(results: dict[str, Any], file: Path) -> None:
    """Draw grouped bars with standard errors and the line of chance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    entries = [results["base"], *results["runs"]]
    colours = ["#8c8c8c", "#4c78a8", "#f2a541", "#2f8f6b", "#b05ea8"]
    width = 0.8 / len(entries)
    for index, entry in enumerate(entries):
        places = [group + (index - (len(entries) - 1) / 2) * width for group in range(len(LABELS))]
        groups = [entry["groups"][name] for name in LABELS]
        axes.bar(
            places,
            [group["accuracy"] for group in groups],
            width * 0.92,
            yerr=[group["stderr"] for group in groups],
            label=entry["name"],
            color=colours[index % len(colours)],
            error_kw={"elinewidth": 0.8, "alpha": 0.7},
        )
    axes.axhline(results["chance"], color="black", linewidth=1, linestyle=":", label="chance")
    axes.set_xticks(range(len(LABELS)), list(LABELS.values()))
    axes.set_ylim(0, 1.05)
    axes.set_ylabel("four-choice accuracy")
    axes.set_title(f"Request {results['request']!r}: what was forgotten, what was kept", loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False, ncols=len(entries) + 1, loc="upper center", bbox_to_anchor=(0.5, -0.1))
    figure.savefig(file, dpi=150)
