"""Relearning, with the disturbance matched between base and result.

A method that broke the model makes it learn slowly, and would be credited for that if both were compared after equal
steps. Here each model is taken where the attack has moved it equally far: disturbance is the mean absolute change of a
token's log-probability on ordinary paragraphs that are not trained on, against the same model before the attack.
Between two stops of a curve, accuracy is interpolated. The level is the largest that both models reach, cell by cell.
Source: ours. It was suggested by arXiv 2606.17168, which matches something else: every method unlearns up to one KL
divergence from the base on WikiText, and then all are attacked in the same way (its code; the paper read in the
abstract). That is matching utility before the attack. Budget: none of its own, the cells of `relearn` are read.
"""

import dataclasses
from collections.abc import Sequence
from itertools import pairwise

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.curves import RelearnedPair, Stop
from srmu.evaluation.attacks.measured import Both, before_attack, started
from srmu.evaluation.attacks.outcome import NotApplicable, worst_utility
from srmu.evaluation.attacks.relearn import MATERIALS, run_cells
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.evaluation.attacks.worst import at_worst, points_of_matched, verdict
from srmu.results.attack_records import AttackRecord, MatchedCell


def relearn_matched(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The worst cell at equal disturbance."""
    done, notes = run_cells(setting, cells, MATERIALS)
    before = before_attack(setting, cells)
    record = dataclasses.replace(started(setting, before), notes=tuple(notes))
    matched = tuple(cell for pair in done if (cell := match(pair, before, record)) is not None)
    if not any(cell.counts for cell in matched):
        raise NotApplicable("; ".join(notes) or "no cell leaves the base 80 % of its accuracy at equal disturbance")
    return at_worst(dataclasses.replace(record, matched=matched), points_of_matched(matched))


def match(pair: RelearnedPair, before: Both, record: AttackRecord) -> MatchedCell | None:
    """Both models' accuracy at the largest disturbance that both reach; none where one has no curve."""
    if not pair.base.stops or not pair.result.stops:
        return None
    level = min(max(stop.disturbance for stop in curve.stops) for curve in (pair.base, pair.result))
    forget = accuracy_at(pair.result.stops, level, before["result"].forget)
    base = accuracy_at(pair.base.stops, level, before["base"].forget)
    nearest = min(pair.result.stops, key=lambda stop: abs(stop.disturbance - level))
    valid, back = verdict(forget, base, record)
    return MatchedCell(
        material=pair.material,
        tuning=pair.tuning,
        learning_rate=pair.learning_rate,
        disturbance=level,
        forget=forget,
        base=base,
        counts=valid,
        recovery=back,
        utility=worst_utility(nearest.kept, before["base"].kept),
    )


def accuracy_at(stops: Sequence[Stop], level: float, start: float) -> float:
    """Largest accuracy at which the curve, from the untouched model on, crosses this disturbance."""
    points = [(0.0, start), *((stop.disturbance, stop.forget) for stop in stops)]
    crossings = []
    for (left, low), (right, high) in pairwise(points):
        if min(left, right) <= level <= max(left, right):
            share = 0.0 if right == left else (level - left) / (right - left)
            crossings.append(low + share * (high - low))
    return max(crossings)
