"""Relearning, with the disturbance matched between base and result.

A method that broke the model makes it learn slowly, and would be credited for that if both were compared after equal
steps. Here each model is taken where the attack has moved it equally far: disturbance is the mean absolute change of
a token's log-probability on ordinary paragraphs that the attack does not tell, against the same model before the
attack. Between two stops of a curve, accuracy is interpolated. The level is the largest that both models reach, cell
by cell. Source: ours. It was suggested by arXiv 2606.17168, which matches something else: every method unlearns up to
one KL divergence from the base on WikiText, and then all are attacked alike (its code; the paper read in the abstract).
That is matching utility before the attack. Budget: none of its own, the cells of `relearn` are read.
"""

from itertools import pairwise
from typing import Any

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.outcome import NotApplicable, Outcome, counts, recovery, worst_utility
from srmu.evaluation.attacks.relearn import MATERIALS, Cell, before_attack, run_cells
from srmu.evaluation.attacks.setting import SIDES, AttackSetting


def relearn_matched(setting: AttackSetting, cells: Cells) -> Outcome:
    """The worst cell at equal disturbance."""
    done, notes = run_cells(setting, cells, MATERIALS)
    before, chance = before_attack(setting, cells), setting.chance
    matched = [found for cell in done if (found := match(cell, before)) is not None]
    valid = [m for m in matched if counts(before["base"]["forget"], m["base"], chance)]
    if not valid:
        raise NotApplicable("; ".join(notes) or "no cell leaves the base 80 % of its accuracy at equal disturbance")
    for found in valid:
        found["recovery"] = recovery(found["result"], found["base"], chance)
    worst = max(valid, key=lambda found: found["recovery"])
    numbers = {
        "chance": chance,
        "forget_before": before["result"]["forget"],
        "forget_after": worst["result"],
        "base_before": before["base"]["forget"],
        "base_after": worst["base"],
        "recovery": worst["recovery"],
        "utility": worst_utility(before["result"]["kept"], before["base"]["kept"]),
        "utility_after": worst["utility_after"],
        "n": len(setting.tested),
        "worst": {key: worst[key] for key in ("material", "tuning", "learning_rate", "disturbance")},
        "cells": matched,
    }
    return Outcome(status="result", detail="; ".join(notes), numbers=numbers)


def match(cell: Cell, before: dict[str, Any]) -> dict[str, Any] | None:
    """Both models' accuracy at the largest disturbance that both reach; none where one has no curve."""
    curves = {side: cell[side]["curve"] for side in SIDES}
    if not all(curves.values()):
        return None
    level = min(max(point["disturbance"] for point in curve) for curve in curves.values())
    found = {side: accuracy_at(curve, level, before[side]["forget"]) for side, curve in curves.items()}
    nearest = min(curves["result"], key=lambda point: abs(point["disturbance"] - level))
    about = {key: cell[key] for key in ("material", "tuning", "learning_rate")}
    utility = worst_utility(nearest["kept"], before["base"]["kept"])
    return {**about, "disturbance": level, **found, "utility_after": utility}


def accuracy_at(curve: list[dict[str, Any]], level: float, start: float) -> float:
    """Largest accuracy at which the curve, from the untouched model on, crosses this disturbance."""
    points = [(0.0, start), *((point["disturbance"], point["forget"]) for point in curve)]
    crossings = []
    for (left, low), (right, high) in pairwise(points):
        if min(left, right) <= level <= max(left, right):
            share = 0.0 if right == left else (level - left) / (right - left)
            crossings.append(low + share * (high - low))
    return max(crossings)
