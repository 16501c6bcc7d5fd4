"""What a model knows, untouched or under an attack: the tested half of the forgotten facts and the kept groups."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.outcome import defined, worst_utility
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.evaluation.questions import QuestionScores
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord, KeptAccuracy


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One model's accuracies.

    Attributes:
        forget: On the tested half.
        stderr: Standard error of `forget`, questions on one fact taken together; none where it is not defined.
        kept: By kept group.
    """

    forget: float
    stderr: float | None
    kept: Mapping[str, float]


Ask = Callable[[Any, Sequence[Question]], QuestionScores]
Both = Mapping[str, Measured]
"""By side, `base` and `result`."""


def measure(
    setting: AttackSetting,
    model: Any,
    forget: Sequence[Question] | None = None,
    kept: Mapping[str, Sequence[Question]] | None = None,
    *,
    ask: Ask | None = None,
) -> Measured:
    """Ask a model the tested half and the kept groups, or these questions in their place.

    Args:
        setting: Of the attack.
        model: To be asked.
        forget: Instead of the tested half.
        kept: Instead of the kept groups.
        ask: Gives a model's scores; none = as the setting asks.
    """
    ask = ask or setting.ask
    scores = ask(model, setting.tested if forget is None else forget)
    groups = setting.kept if kept is None else kept
    accuracies = {name: ask(model, group).accuracy for name, group in groups.items()}
    return Measured(forget=scores.accuracy, stderr=defined(scores.stderr_by_fact), kept=accuracies)


def before_attack(setting: AttackSetting, cells: Cells) -> Both:
    """Both models, untouched."""

    def untouched(side: str) -> Measured:
        return measure(setting, setting.subjects[side].model())

    return {
        side: cells.get(f"before/{subject.digest or side}", Measured, partial(untouched, side))
        for side, subject in setting.subjects.items()
    }


def started(setting: AttackSetting, before: Both) -> AttackRecord:
    """A record with the numbers before the attack."""
    return AttackRecord(
        status="result",
        n=len(setting.tested),
        chance=setting.chance,
        forget_before=before["result"].forget,
        base_before=before["base"].forget,
        utility=worst_utility(before["result"].kept, before["base"].kept),
    )


def kept_accuracies(before: Both, after: Both) -> dict[str, KeptAccuracy]:
    """By kept group: accuracy of base and result, before and after."""
    return {
        name: KeptAccuracy(
            base_before=before["base"].kept[name],
            before=before["result"].kept[name],
            base_after=after["base"].kept[name],
            after=accuracy,
        )
        for name, accuracy in after["result"].kept.items()
    }
