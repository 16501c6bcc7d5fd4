"""What attacks that only ask otherwise have in common: the same changed questions put to both models."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.outcome import Outcome, counts, recovery, worst_utility
from srmu.evaluation.attacks.relearn import before_attack, kept_record
from srmu.evaluation.attacks.setting import SIDES, AttackSetting
from srmu.inputs.questions import Question

Groups = Mapping[str, Sequence[Question]]
DOES_NOT_COUNT = "does not count: the attack leaves the base less than 80 % of its accuracy"


def ask_both(
    setting: AttackSetting, forget: Sequence[Question], kept: Groups, models: Callable[[str], Any] | None = None
) -> dict[str, Any]:
    """Accuracy of base and result on changed questions.

    Args:
        setting: Of the attack.
        forget: The tested half, changed.
        kept: The kept groups, changed.
        models: Makes the model of a side; none = the untouched ones.

    Returns:
        By side `forget`, `stderr` and `kept`, as `relearn.before_attack` gives them.
    """
    asked = {}
    for side in SIDES:
        model = setting.subjects[side].model() if models is None else models(side)
        scores = setting.ask(model, forget)
        accuracies = {name: setting.ask(model, group).accuracy for name, group in kept.items()}
        asked[side] = {"forget": scores.accuracy, "stderr": scores.stderr_by_fact, "kept": accuracies}
    return asked


def outcome_of(
    setting: AttackSetting, cells: Cells, after: Mapping[str, Any], *, detail: str = "", **more: Any
) -> Outcome:
    """The record of an attack from both models' numbers under it; `more` is the attack's own."""
    before, chance = before_attack(setting, cells), setting.chance
    base, result = after["base"], after["result"]
    valid = counts(before["base"]["forget"], base["forget"], chance)
    if not valid:
        detail = f"{detail}; {DOES_NOT_COUNT}" if detail else DOES_NOT_COUNT
    numbers = {
        "chance": chance,
        "forget_before": before["result"]["forget"],
        "forget_after": result["forget"],
        "stderr": result["stderr"],
        "base_before": before["base"]["forget"],
        "base_after": base["forget"],
        "counts": valid,
        "recovery": recovery(result["forget"], base["forget"], chance) if valid else None,
        "utility": worst_utility(before["result"]["kept"], before["base"]["kept"]),
        "utility_after": worst_utility(result["kept"], before["base"]["kept"]),
        "kept": kept_record(before, result["kept"], base["kept"]),
        "n": len(setting.tested),
        **more,
    }
    return Outcome(status="result", detail=detail, numbers=numbers)


def reported_otherwise(
    setting: AttackSetting, cells: Cells, measure: str, found: Mapping[str, float], **more: Any
) -> Outcome:
    """The record of an attack that measures something else than the accuracy on the tested questions.

    Args:
        setting: Of the attack.
        cells: Hold the untouched models' numbers.
        measure: What the numbers are.
        found: `chance`, and `base`, `result`, `kept_base`, `kept` under the attack.
        more: The attack's own.
    """
    before = before_attack(setting, cells)
    base, chance = found["base"], found["chance"]
    numbers = {
        "measure": measure,
        "chance": chance,
        "forget_before": before["result"]["forget"],
        "forget_after": found["result"],
        "base_before": before["base"]["forget"],
        "base_after": base,
        "recovery": recovery(found["result"], base, chance),
        "utility": worst_utility(before["result"]["kept"], before["base"]["kept"]),
        "utility_after": found["kept"] / found["kept_base"] if found["kept_base"] else None,
        "kept": {"all": {"base_after": found["kept_base"], "after": found["kept"]}},
        **more,
    }
    return Outcome(status="result", numbers=numbers)
