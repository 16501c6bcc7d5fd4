"""The picture of the protocol: what each method forgot and kept, by request and overlap."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from protocol_rows import CHANCE, KEPT, place, values, worst_kept

MARKERS = "osD^vPX*<>h"
COLOURS = ["C0", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "C8", "C9", "black"]


def plot(cells: Sequence[Mapping[str, Any]], file: Path) -> None:
    """One panel a request and overlap, as the table's rows; each chosen point of a method is a mark, over seeds."""
    panels = sorted({place(cell) for cell in cells})
    methods = list(dict.fromkeys(cell["method"] for cell in cells))
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(max(8, 3 * columns), 3 * lines + 1), squeeze=False, sharex=True, sharey=True
    )
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, panel in zip(axes.flat, panels, strict=False):
        for number, method in enumerate(methods):
            own = [cell for cell in cells if place(cell) == panel and cell["method"] == method]
            for point in sorted({cell["point"] for cell in own}):
                found = [cell for cell in own if cell["point"] == point]
                totals = np.array(list(values(found).values()))
                forgotten = totals[:, 0].sum() / totals[:, 1].sum()
                label = method if point == 0 else None
                axis.plot(
                    forgotten, min(1, worst_kept(found)), MARKERS[number], color=COLOURS[number], label=label, ms=8
                )
        axis.axvline(CHANCE, color="grey", lw=0.8, ls=":")
        axis.axhline(KEPT, color="grey", lw=0.8, ls=":")
        arena, kind, retain, _ = panel
        overlap = float(np.mean([cell["overlap"] for cell in cells if place(cell) == panel]))
        axis.set(title=f"{arena}, {kind}" + (f", {retain}" if retain != "both" else "") + f"\noverlap {overlap:.0%}")
        axis.set_xlabel("accuracy on what is to go")
    for row in axes:
        row[0].set_ylabel("kept, worst group")
    shown = {
        label: handle for axis in axes.flat for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(shown.values(), shown.keys(), loc="lower center", ncol=5, frameon=False)
    figure.tight_layout(rect=(0, 0.16 / lines, 1, 1))
    figure.savefig(file, dpi=110)
    plt.close(figure)
