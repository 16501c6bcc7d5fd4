"""Relearning: fine-tune on half of the forgotten facts, on kept ones, or on both; ask the other half.

Source: arXiv 2410.08827: some of the facts are retrained and others, which cannot be guessed from them, are tested
(abstract read; by its reviews more are told than tested, halves are ours); benign text alone: arXiv 2409.18025 (ten
unrelated examples), 2411.12103 and 2406.13356 (abstracts read). `half` tells half of the facts, each in every form in
which it is asked; `mixed` adds as many kept ones; `kept` tells kept ones alone. By full fine-tuning and by LoRA (peft,
rank 16, all linear layers).

The worst case is reported: the largest recovery over materials, ways, learning rates and steps at which the base,
under the very same attack, keeps 80 % of its accuracy on the tested half. Taking the largest of several noisy numbers
is biased upwards, for the attacker.

Budget: quick: one learning rate, 16 steps of 8 rows no longer than a fact. Full: four rates over a factor of 30, 100
steps. Both models end where the base has lost more than it may at two stops in a row; after one it may come back.
"""

import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.fine_tuning import fine_tune
from srmu.evaluation.attacks.outcome import NotApplicable, Outcome, Skipped, counts, recovery, worst_utility
from srmu.evaluation.attacks.setting import SIDES, AttackSetting, fact_of, right_answer
from srmu.evaluation.texts import TextScores, text_scores
from srmu.inputs.general import general_paragraphs
from srmu.inputs.questions import Question
from srmu.runtime.precision import mixed_precision

MATERIALS = ("half", "mixed", "kept")
_NEUTRAL_PARAGRAPHS = 3
NO_STEP_COUNTS = "no step of any cell leaves the base 80 % of its accuracy; lower --learning-rates"

Record = dict[str, Any]
Cell = Record


def relearn(setting: AttackSetting, cells: Cells) -> Outcome:
    """The worst of all materials, ways, rates and steps."""
    return relearn_outcome(setting, cells, MATERIALS)


def relearn_outcome(setting: AttackSetting, cells: Cells, materials: Sequence[str]) -> Outcome:
    """The worst over these materials.

    Raises:
        NotApplicable: If nothing could be told.
    """
    done, notes = run_cells(setting, cells, materials)
    return _outcome(setting, cells, done, notes)


def run_cells(setting: AttackSetting, cells: Cells, materials: Sequence[str]) -> tuple[list[Cell], list[str]]:
    """Every cell of these materials in the budget, for both models, and why some were left out."""
    done: list[Cell] = []
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
                    done.append(_cell(setting, cells, texts, material=material, tuning=tuning, learning_rate=rate))
                except Skipped as reason:
                    notes.append(f"{tuning}: {reason}")
                    break
    return done, list(dict.fromkeys(notes))


def _cell(
    setting: AttackSetting, cells: Cells, texts: Sequence[str], *, material: str, tuning: str, learning_rate: float
) -> Cell:
    """Curves of both models: the base's to where it has lost too much to count at two stops, the result's as far."""
    before = before_attack(setting, cells)["base"]["forget"]

    def curve(side: str, stops: Sequence[int], go_on: Callable[[Sequence[Record]], bool]) -> Record:
        return cells.get(
            f"relearn/{material}/{tuning}/{learning_rate:g}/{setting.subjects[side].digest or side}",
            partial(
                relearn_curve, setting, side, texts,
                tuning=tuning, learning_rate=learning_rate, stops=stops, go_on=go_on,
            ),
        )  # fmt: skip

    base = curve("base", setting.budget.steps, lambda points: may_count_again(points, before, setting.chance))
    result = curve("result", [point["step"] for point in base["curve"]], lambda points: True)
    return {"material": material, "tuning": tuning, "learning_rate": learning_rate, "base": base, "result": result}


def may_count_again(points: Sequence[Record], base_before: float, chance: float) -> bool:
    """Whether the base is worth training on: not after two stops in a row at which the attack does not count."""
    return len(points) < 2 or any(counts(base_before, point["forget"], chance) for point in points[-2:])


def material_texts(setting: AttackSetting, material: str) -> list[str]:
    """What is told in the attack; none of it tells a tested fact.

    Raises:
        NotApplicable: If there is nothing to tell.
    """
    half = list(setting.texts.get("relearn", ())) or [tell(question) for question in setting.told]
    if material == "half":
        return half
    if material == "false":
        return false_statements(setting.told, avoid={right_answer(question) for question in setting.tested})
    kept = list(setting.texts.get("kept", ())) or [tell(question) for question in setting.told_kept()]
    if material == "kept":
        return kept
    return half + kept[: len(half)]


def tell(question: Question, answer: str | None = None) -> str:
    """The question with its answer, as a statement."""
    return f"{question.prompt} {right_answer(question) if answer is None else answer}"


def false_statements(questions: Sequence[Question], *, avoid: Collection[str] = ()) -> list[str]:
    """Each fact with a wrong answer, the same in every form: the first wrong choice, none of `avoid` where possible."""
    wrong: dict[str, str] = {}
    for question in questions:
        choices = [choice for place, choice in enumerate(question.choices) if place != question.answer]
        wrong.setdefault(fact_of(question), min(choices, key=lambda choice: choice in avoid))
    return [tell(question, wrong[fact_of(question)]) for question in questions]


def relearn_curve(
    setting: AttackSetting,
    side: str,
    texts: Sequence[str],
    *,
    tuning: str,
    learning_rate: float,
    stops: Sequence[int],
    go_on: Callable[[Sequence[Record]], bool],
) -> Record:
    """Fine-tune one model; what it knows after each stop, up to the one whose points so far do not `go_on`.

    Returns:
        `curve`: a point a stop, with `step`, accuracy on the tested half (`forget`) and its standard error by fact,
        accuracy by kept group, and `disturbance`: how far log-probabilities of ordinary tokens moved, nats a token;
        and `diverged_at`, the step after which its losses were not finite, or none.
    """
    if not stops:
        return {"curve": [], "diverged_at": None}
    for subject in setting.subjects.values():
        subject.drop()
    model = setting.subjects[side].fresh("float32")
    if model.device.type == "cpu":
        from srmu.surgery.attention import use_causal_blocks

        use_causal_blocks(model)
    neutral = list(general_paragraphs()[:_NEUTRAL_PARAGRAPHS])
    with mixed_precision(model.device):
        before = text_scores(model, setting.tokenizer, neutral)
    points: list[Record] = []
    title = f"Relearning, {tuning}, {side}"
    with setting.reporter.task(title) as progress:
        progress(0, len(stops))

        @mixed_precision(model.device)
        def look(step: int) -> bool:
            moved = disturbance(before, text_scores(model, setting.tokenizer, neutral))
            if not math.isfinite(moved):
                return False
            scores = setting.ask(model, setting.tested)
            points.append(
                {
                    "step": step,
                    "forget": scores.accuracy,
                    "stderr": scores.stderr_by_fact,
                    "kept": setting.ask_kept(model),
                    "disturbance": moved,
                }
            )
            progress(len(points), len(stops))
            return go_on(points)

        ended = fine_tune(
            model, setting.tokenizer, texts, tuning=tuning, learning_rate=learning_rate, stops=stops,
            seed=setting.seed, at_stop=look,
        )  # fmt: skip
    looked = points[-1]["step"] if points else 0
    return {"curve": points, "diverged_at": None if ended == looked else ended}


def disturbance(before: TextScores, after: TextScores) -> float:
    """Mean absolute change of a token's log-probability, nats, on the same texts."""
    return float(abs(before.token_nll - after.token_nll).mean())


def pairs_of_points(cell: Cell) -> list[tuple[Record, Record]]:
    """Points of result and base after the same steps; a curve that diverged is shorter."""
    return list(zip(cell["result"]["curve"], cell["base"]["curve"], strict=False))


def before_attack(setting: AttackSetting, cells: Cells) -> Record:
    """Accuracy of both models on the tested half and the kept groups, untouched."""

    def measure(side: str) -> Record:
        model = setting.subjects[side].model()
        scores = setting.ask(model, setting.tested)
        return {"forget": scores.accuracy, "stderr": scores.stderr_by_fact, "kept": setting.ask_kept(model)}

    return {
        side: cells.get(f"before/{subject.digest or side}", partial(measure, side))
        for side, subject in setting.subjects.items()
    }


def _outcome(setting: AttackSetting, cells: Cells, done: Sequence[Cell], notes: Sequence[str]) -> Outcome:
    if not done:
        raise NotApplicable("; ".join(notes) or "there is nothing to relearn")
    before, chance = before_attack(setting, cells), setting.chance
    candidates = [
        (recovery(result["forget"], base["forget"], chance), cell, result, base)
        for cell in done
        for result, base in pairs_of_points(cell)
        if counts(before["base"]["forget"], base["forget"], chance)
    ]
    numbers = {
        "chance": chance,
        "forget_before": before["result"]["forget"],
        "base_before": before["base"]["forget"],
        "utility": worst_utility(before["result"]["kept"], before["base"]["kept"]),
        "n": len(setting.tested),
        "cells": [_summary(cell, before, chance) for cell in done],
    }
    if not candidates:
        notes = [NO_STEP_COUNTS, *notes]
        return Outcome(status="not applicable", detail="; ".join(notes), numbers=numbers)
    worst, cell, result, base = max(candidates, key=lambda candidate: candidate[0])
    numbers |= {
        "forget_after": result["forget"],
        "stderr": result["stderr"],
        "base_after": base["forget"],
        "recovery": worst,
        "utility_after": worst_utility(result["kept"], before["base"]["kept"]),
        "kept": kept_record(before, result["kept"], base["kept"]),
        "worst": {key: cell[key] for key in ("material", "tuning", "learning_rate")} | {"step": result["step"]},
    }
    return Outcome(status="result", detail="; ".join(notes), numbers=numbers)


def kept_record(before: Any, after: dict[str, float], base_after: dict[str, float]) -> dict[str, dict[str, float]]:
    """By kept group: accuracy of base and result, before and after."""
    return {
        name: {
            "base_before": before["base"]["kept"][name], "before": before["result"]["kept"][name],
            "base_after": base_after[name], "after": after[name],
        }
        for name in after
    }  # fmt: skip


def _summary(cell: Cell, before: Record, chance: float) -> Record:
    """A cell without its two raw curves: result and base side by side, and where the attack counts."""
    curve = []
    for result, base in pairs_of_points(cell):
        valid = counts(before["base"]["forget"], base["forget"], chance)
        curve.append(
            {
                "step": result["step"],
                "forget": result["forget"],
                "base": base["forget"],
                "counts": valid,
                "recovery": recovery(result["forget"], base["forget"], chance) if valid else None,
                "utility": worst_utility(result["kept"], before["base"]["kept"]),
                "base_utility": worst_utility(base["kept"], before["base"]["kept"]),
                "disturbance": result["disturbance"],
                "base_disturbance": base["disturbance"],
            }
        )
    diverged = {side: cell[side]["diverged_at"] for side in SIDES if cell[side]["diverged_at"] is not None}
    about = {key: cell[key] for key in ("material", "tuning", "learning_rate")}
    return {**about, "curve": curve, "diverged_at": diverged or None}
