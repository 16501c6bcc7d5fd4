"""Relearning: fine-tune on half of the forgotten facts, on kept ones, or on both; ask the other half.

Source: arXiv 2410.08827: some of the facts are retrained and others, which cannot be guessed from them, are tested
(abstract read; by its reviews more are retrained than tested, halves are ours); benign text alone: arXiv 2409.18025
(ten unrelated examples), 2411.12103 and 2406.13356 (abstracts read). `half` trains on half of the facts, each in every
form in which it is asked; `mixed` adds as many kept ones; `kept` is kept ones alone. By full fine-tuning and by LoRA
(peft, rank 16, all linear layers).

The worst case is reported: the largest recovery over materials, ways, learning rates and steps at which the base, under
the very same attack, keeps 80 % of its accuracy on the tested half. Taking the largest of several noisy numbers is
biased upwards, for the attacker.

Budget: quick: one learning rate, 16 steps of 8 rows no longer than a fact. Full: four rates over a factor of 30, 100
steps. Both models end where the base has lost more than it may at two stops in a row; after one it may come back.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial

from srmu.evaluation.attacks import curves
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.curves import Curve, RelearnedPair, Stop, may_count_again
from srmu.evaluation.attacks.measured import Both, before_attack, kept_accuracies, started
from srmu.evaluation.attacks.outcome import NotApplicable, Skipped, worst_utility
from srmu.evaluation.attacks.setting import AttackSetting, holds, relation_of, right_answer
from srmu.evaluation.attacks.statements import false_statements, statement
from srmu.evaluation.attacks.worst import at_worst, points_of_cells, verdict
from srmu.results.attack_records import AttackRecord, CurvePoint, DivergedAt, RelearnCell

MATERIALS = ("half", "mixed", "kept")


def relearn(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """The worst of all materials, ways, rates and steps."""
    return relearned(setting, cells, MATERIALS)


def relearned(setting: AttackSetting, cells: Cells, materials: Sequence[str]) -> AttackRecord:
    """The worst over these materials.

    Raises:
        NotApplicable: There is nothing to train on.
    """
    done, notes = run_cells(setting, cells, materials)
    if not done:
        raise NotApplicable("; ".join(notes) or "there is nothing to relearn")
    before = before_attack(setting, cells)
    record = started(setting, before)
    summaries = tuple(_summary(pair, before, record) for pair in done)
    found = at_worst(dataclasses.replace(record, notes=tuple(notes), cells=summaries), points_of_cells(summaries))
    if found.worst is None:
        return found
    worst = found.worst
    key = (worst.material, worst.tuning, worst.learning_rate)
    pair = next(pair for pair in done if (pair.material, pair.tuning, pair.learning_rate) == key)
    result, base = next(stops for stops in pair.pairs() if stops[0].step == worst.step)
    kept = kept_accuracies(before, {"base": base, "result": result})
    return dataclasses.replace(found, stderr=result.stderr, kept=kept)


def run_cells(setting: AttackSetting, cells: Cells, materials: Sequence[str]) -> tuple[list[RelearnedPair], list[str]]:
    """Every cell of these materials in the budget, for both models, and why some were left out."""
    done: list[RelearnedPair] = []
    notes: list[str] = []
    for material in materials:
        try:
            texts = material_texts(setting, material)
        except NotApplicable as reason:
            notes.append(f"{material}: {reason}")
            continue
        for tuning in setting.budget.tunings[material]:
            for rate in setting.budget.rates:
                try:
                    done.append(_pair(setting, cells, texts, material=material, tuning=tuning, learning_rate=rate))
                except Skipped as reason:
                    notes.append(f"{tuning}: {reason}")
                    break
    return done, list(dict.fromkeys(notes))


def _pair(
    setting: AttackSetting, cells: Cells, texts: Sequence[str], *, material: str, tuning: str, learning_rate: float
) -> RelearnedPair:
    """Curves of both models: the base's to where it has lost too much to count at two stops, the result's as far."""
    before = before_attack(setting, cells)["base"].forget

    def curve(side: str, steps: Sequence[int], go_on: Callable[[Sequence[Stop]], bool]) -> Curve:
        return cells.get(
            f"relearn/{material}/{tuning}/{learning_rate:g}/{setting.subjects[side].digest or side}",
            Curve,
            partial(
                curves.relearn_curve, setting, side, texts,
                tuning=tuning, learning_rate=learning_rate, steps=steps, go_on=go_on,
            ),
        )  # fmt: skip

    base = curve("base", setting.budget.steps, lambda stops: may_count_again(stops, before, setting.chance))
    result = curve("result", [stop.step for stop in base.stops], lambda stops: True)
    return RelearnedPair(material=material, tuning=tuning, learning_rate=learning_rate, base=base, result=result)


def material_texts(setting: AttackSetting, material: str) -> list[str]:
    """What the attack trains on; none of it holds a tested fact.

    Raises:
        NotApplicable: There is nothing to train on.
    """
    half = list(setting.texts.get("relearn", ())) or [statement(question) for question in setting.given]
    if material == "half":
        return half
    if material == "false":
        return false_statements(setting.given, avoid={right_answer(question) for question in setting.tested})
    if material == "kind":
        return texts_of_the_kind(setting)
    kept = list(setting.texts.get("kept", ())) or [statement(question) for question in setting.needed_kept_given()]
    if material == "kept":
        return kept
    return half + kept[: len(half)]


def texts_of_the_kind(setting: AttackSetting) -> list[str]:
    """Texts like the forgotten ones that hold no forgotten answer and name no forgotten subject.

    Raises:
        NotApplicable: There are none.
    """
    forgotten = (*setting.given, *setting.tested)
    subjects = {question.fact.rpartition(":")[2].strip() for question in forgotten} - {""}
    secret = subjects | {right_answer(question) for question in forgotten}
    relations = {relation_of(question) for question in forgotten} - {""}
    kind = list(setting.texts.get("kind", ())) or [
        statement(question) for question in setting.kept_given if relation_of(question) in relations
    ]
    kind = [text for text in kind if not any(holds(text, word) for word in secret)]
    if not kind:
        raise NotApplicable(
            "it needs texts of the kind without a forgotten answer or subject: --texts kind=, or kept questions whose "
            "key 'fact' (relation:subject) has a relation of the forgotten ones"
        )
    return kind


def _summary(pair: RelearnedPair, before: Both, record: AttackRecord) -> RelearnCell:
    """A cell without its two raw curves: result and base side by side, and where the attack counts."""
    curve = []
    for result, base in pair.pairs():
        valid, back = verdict(result.forget, base.forget, record)
        curve.append(
            CurvePoint(
                step=result.step,
                forget=result.forget,
                base=base.forget,
                counts=valid,
                recovery=back,
                utility=worst_utility(result.kept, before["base"].kept),
                base_utility=worst_utility(base.kept, before["base"].kept),
                disturbance=result.disturbance,
                base_disturbance=base.disturbance,
            )
        )
    return RelearnCell(
        material=pair.material,
        tuning=pair.tuning,
        learning_rate=pair.learning_rate,
        curve=tuple(curve),
        diverged_at=DivergedAt(base=pair.base.diverged_at, result=pair.result.diverged_at),
    )
