"""From the cells of the TOFU protocol to the rows of `tofu.json`: the mean over seeds, intervals by bootstrap."""

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from srmu.evaluation.benchmarks.tofu_metrics import forget_quality

Cell = dict[str, Any]
MODEL, KEPT, DRAWS = "SmolLM2-135M", 0.98, 1000


def best_trial(cells: Sequence[Cell], method: str) -> Cell | None:
    """The trial that is nearest to the gold standard and loses least, of those that keep enough utility.

    What is smallest is the distance of truth ratios (Kolmogorov-Smirnov) plus the share of the probability of retained
    answers, told and told nowhere alike, that was lost: utility hardly falls where authors that nobody told of go.
    Where no trial keeps enough utility, the one that keeps most.
    """
    base = next((cell for cell in cells if cell["method"] == "full"), None)
    own = [cell for cell in cells if cell["method"] == method and "error" not in cell]
    if base is None or not own:
        return None

    def merit(cell: Cell) -> tuple[bool, float]:
        kept = cell["utility"] / base["utility"]
        lost = 1 - _mean([min(1.0, cell[side] / base[side]) for side in ("told", "untold")])
        return (True, -cell["distance"] - lost) if kept >= KEPT else (False, kept)

    return max(own, key=merit)


def make_rows(cells: Sequence[Cell], *, trials: int) -> list[dict[str, Any]]:
    """One row for each method of the report; none before the references are there."""
    by_method: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell["phase"] == "report" and "error" not in cell:
            by_method[cell["method"]].append(cell)
    if not {"full", "gold"} <= by_method.keys():
        return []
    base, gold = by_method["full"][0], by_method["gold"][0]
    gold_recovery = _mean(recoveries(by_method["gold"], by_method))
    rows = []
    for method, found in by_method.items():
        compared = [cell["log10_forget_quality"] for cell in found]
        tuned = any(cell["phase"] == "tune" and cell["method"] == method for cell in cells)
        row = {
            "model": MODEL,
            "split": "forget10",
            "authors": 41,
            "method": method,
            "seeds": len(found),
            "questions": len(found[0]["truth_ratios"]),
            "forget_quality": float(f"{_mean([10**value for value in compared]):.4g}"),
            "log10_forget_quality": round(_mean(compared), 2),
            "forget_quality_ci": interval(found, gold),
            "distance": round(_mean([cell["distance"] for cell in found]), 4),
            "model_utility": round(_mean([cell["utility"] for cell in found]), 4),
            "utility_of_base": round(_mean([cell["utility"] for cell in found]) / base["utility"], 4),
            "forget_probability": round(_mean([cell["sets"]["forget"]["probability"] for cell in found]), 4),
            "told_probability": round(_mean([cell["told"] for cell in found]), 4),
            "untold_probability": round(_mean([cell["untold"] for cell in found]), 4),
            "recovery": _rounded(_mean(recoveries(found, by_method))),
            "gold_recovery": _rounded(gold_recovery),
            "trials": trials if tuned and method not in ("full", "gold") else 0,
            "seconds": round(_mean([cell["seconds"] for cell in found]), 1),
        }
        if method == "default":
            row["default"] = True
        rows.append(row)
    return rows


def recoveries(found: Sequence[Cell], by_method: dict[str, list[Cell]]) -> list[float]:
    """By seed, what relearning one half of the authors brings back of the other half.

    `(after - ignorance) / (base after - ignorance)` of the probability of answers, where ignorance is the gold
    standard's before the attack: 0 nothing, 1 as much as the attacked base knows.
    """
    values = []
    for cell in found:
        base, gold = (_of_seed(by_method[name], cell["seed"]) for name in ("full", "gold"))
        if base is None or gold is None:
            continue
        ignorance = gold["relearned"]["before"]
        values.append((cell["relearned"]["after"] - ignorance) / (base["relearned"]["after"] - ignorance))
    return values


def interval(found: Sequence[Cell], gold: Cell) -> list[float]:
    """95 % of forget quality over draws of questions, of one seed each."""
    generator = np.random.default_rng(0)
    other = np.array(gold["truth_ratios"])
    drawn = []
    for _ in range(DRAWS):
        own = np.array(found[generator.integers(len(found))]["truth_ratios"])
        places = generator.integers(len(own), size=len(own))
        drawn.append(forget_quality(own[places], other[places]).p_value)
    return [float(f"{value:.3g}") for value in np.percentile(drawn, [2.5, 97.5])]


def _of_seed(cells: Sequence[Cell], seed: int) -> Cell | None:
    return next((cell for cell in cells if cell["seed"] == seed), None)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _rounded(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
