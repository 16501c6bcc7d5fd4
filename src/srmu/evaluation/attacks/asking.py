"""What attacks that give one number per model have in common: changed questions or models, and the record of them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.measured import Both, Measured, before_attack, kept_accuracies, measure, started
from srmu.evaluation.attacks.outcome import defined, recovery, worst_utility
from srmu.evaluation.attacks.setting import SIDES, AttackSetting
from srmu.evaluation.attacks.worst import verdict
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord, Control, KeptAccuracy, Setting

Groups = Mapping[str, Sequence[Question]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OtherMeasure:
    """What an attack found that measures something else than the accuracy on the tested questions.

    Attributes:
        name: What the numbers are.
        n: Items on the forget side.
        chance: What guessing gives.
        base: The base's number on the forget side under the attack.
        result: The result's.
        kept_base: The base's on the kept side.
        kept: The result's.
    """

    name: str
    n: int
    chance: float
    base: float
    result: float
    kept_base: float
    kept: float


def ask_both(
    setting: AttackSetting, forget: Sequence[Question], kept: Groups, models: Callable[[str], Any] | None = None
) -> dict[str, Measured]:
    """Accuracy of base and result on changed questions.

    Args:
        setting: Of the attack.
        forget: The tested half, changed.
        kept: The kept groups, changed.
        models: Makes the model of a side; none = the untouched ones.
    """
    return {
        side: measure(setting, setting.subjects[side].model() if models is None else models(side), forget, kept)
        for side in SIDES
    }


def record_of(
    setting: AttackSetting,
    cells: Cells,
    after: Both,
    *,
    control: Control | None = None,
    settings: Mapping[str, Setting] | None = None,
    chosen: Mapping[str, Mapping[str, Setting]] | None = None,
) -> AttackRecord:
    """The record of an attack from both models' accuracies under it.

    Args:
        setting: Of the attack.
        cells: Hold the untouched models' numbers.
        after: Both models under the attack.
        control: A third one.
        settings: The attack's own.
        chosen: By side, what the attacker chose for that model.
    """
    before = before_attack(setting, cells)
    record = started(setting, before)
    valid, back = verdict(after["result"].forget, after["base"].forget, record)
    return dataclasses.replace(
        record,
        forget_after=after["result"].forget,
        stderr=after["result"].stderr,
        base_after=after["base"].forget,
        counts=valid,
        recovery=back,
        utility_after=worst_utility(after["result"].kept, before["base"].kept),
        kept=kept_accuracies(before, after),
        control=control,
        settings=settings or {},
        chosen=chosen or {},
    )


def record_of_measure(
    setting: AttackSetting,
    cells: Cells,
    found: OtherMeasure,
    *,
    settings: Mapping[str, Setting] | None = None,
    chosen: Mapping[str, Mapping[str, Setting]] | None = None,
) -> AttackRecord:
    """The record of an attack that measures something else; the rest as in `record_of`."""
    return dataclasses.replace(
        started(setting, before_attack(setting, cells)),
        measure=found.name,
        n=found.n,
        chance=found.chance,
        forget_after=found.result,
        base_after=found.base,
        recovery=defined(recovery(found.result, found.base, found.chance)),
        utility_after=found.kept / found.kept_base if found.kept_base else None,
        kept={"all": KeptAccuracy(base_after=found.kept_base, after=found.kept)},
        settings=settings or {},
        chosen=chosen or {},
    )
