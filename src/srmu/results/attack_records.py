"""What an attack found, as a record: one per attack in the section `attacks` of a run's `results.json`.

Accuracies are shares of right answers, from 0 to 1. `base` is the untouched model, `result` the unlearned one; `before`
and `after` are before and under the attack, which is made on both. A number that is not defined is none (null).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["result", "skipped", "not applicable", "error"]
Needs = Literal["nothing", "prompts", "weights", "weights and data"]
"""What an attacker needs: nothing but to ask, in own words or again and again; prompts made on purpose; the weights,
with texts that anybody has; or the weights and some of what was forgotten."""
Setting = int | float | str | None | tuple[float, ...]
"""A value of an attack's own settings."""

DOES_NOT_COUNT = "does not count: the attack leaves the base less than 80 % of its accuracy"
_HALF = 0.5
NO_STEP_COUNTS = "no step of any cell leaves the base 80 % of its accuracy; lower --learning-rates"


@dataclass(frozen=True, kw_only=True)
class KeptAccuracy:
    """Accuracy on one kept group.

    Attributes:
        base_before: Of the base; none where the attack measures something else than accuracy.
        before: Of the result; none in the same case.
        base_after: Of the base under the attack.
        after: Of the result under the attack.
    """

    base_before: float | None = None
    before: float | None = None
    base_after: float | None
    after: float | None


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """Both models after the same number of steps of fine-tuning.

    Attributes:
        step: Optimizer steps so far.
        forget: The result's accuracy on the tested half of the forgotten facts.
        base: The base's.
        counts: Whether the base keeps enough of its accuracy for a verdict.
        recovery: What came back, of what the attack leaves in the base; none where it does not count.
        utility: The result's kept group that fares worst, over the untouched base.
        base_utility: The base's.
        disturbance: How far the attack moved the result's log-probabilities of ordinary tokens, mean nats per token.
        base_disturbance: The base's.
    """

    step: int
    forget: float
    base: float
    counts: bool
    recovery: float | None
    utility: float | None
    base_utility: float | None
    disturbance: float
    base_disturbance: float


@dataclass(frozen=True, kw_only=True)
class DivergedAt:
    """Steps at which fine-tuning ended since the loss was not finite; none = it did not."""

    base: int | None = None
    result: int | None = None


@dataclass(frozen=True, kw_only=True)
class RelearnCell:
    """One way of fine-tuning, on one material, at one learning rate.

    Attributes:
        material: What is trained on: `half` of the facts, `mixed`, `kept` or `false` ones, or others of the `kind`.
        tuning: `full` or `lora`.
        learning_rate: Of full fine-tuning; LoRA takes ten times as much.
        curve: As far as both models went.
        diverged_at: Where one ended early.
    """

    material: str
    tuning: str
    learning_rate: float
    curve: tuple[CurvePoint, ...]
    diverged_at: DivergedAt = DivergedAt()


@dataclass(frozen=True, kw_only=True)
class MatchedCell:
    """Both models where the same fine-tuning has moved them equally far.

    Attributes:
        material: As in `RelearnCell`.
        tuning: As in `RelearnCell`.
        learning_rate: As in `RelearnCell`.
        disturbance: The largest that both reach, nats per token.
        forget: The result's accuracy on the tested half there.
        base: The base's.
        counts: Whether the base keeps enough of its accuracy for a verdict.
        recovery: What came back; none where it does not count.
        utility: The result's kept group that fares worst, over the untouched base.
    """

    material: str
    tuning: str
    learning_rate: float
    disturbance: float
    forget: float
    base: float
    counts: bool
    recovery: float | None
    utility: float | None


@dataclass(frozen=True, kw_only=True)
class SweepPoint:
    """Both models at one strength of an attack; fields as in `CurvePoint`.

    Attributes:
        at: The strength, in the unit that `AttackRecord.sweep_over` names.
        forget: The result's accuracy on the tested half.
        base: The base's.
        counts: Whether the base keeps enough of its accuracy for a verdict.
        recovery: What came back; none where it does not count.
        utility: The result's kept group that fares worst, over the untouched base.
        base_utility: The base's.
    """

    at: float
    forget: float
    base: float
    counts: bool
    recovery: float | None
    utility: float | None
    base_utility: float | None


@dataclass(frozen=True, kw_only=True)
class WorstPoint:
    """Where an attack with several variants brought back most; what does not apply to it is none.

    Attributes:
        material: Of relearning, as in `RelearnCell`.
        tuning: Of relearning.
        learning_rate: Of relearning.
        step: Of relearning after equal steps.
        disturbance: Of relearning at equal disturbance, nats per token.
        at: Of a sweep, as in `SweepPoint`.
    """

    material: str | None = None
    tuning: str | None = None
    learning_rate: float | None = None
    step: int | None = None
    disturbance: float | None = None
    at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Control:
    """A third model under the same attack, which shows what the attack does by itself.

    Attributes:
        model: What it is.
        forget: Its accuracy on the tested half.
        kept: Its accuracy by kept group.
    """

    model: str
    forget: float
    kept: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AttackRecord:
    """What one attack found.

    Attributes:
        status: `result` has numbers; `skipped` could be done and was not; `not applicable` cannot be done on this
            input, or counts nowhere; `error` raised, and says nothing about the model.
        notes: Why there is no result, or what to know about it; never a text of the data.
        needs: What an attacker needs.
        budget: Name of the budget, `quick` or `full`.
        seeds: Of every random choice, the halves too. Of several, accuracies are averaged before the worst case is
            chosen.
        seconds: That it took, over all seeds.
        measure: What the numbers of the forget side are.
        n: Items on which the result was judged, over all seeds.
        chance: What guessing gives.
        forget_before: The result's accuracy on the tested half of the forgotten facts.
        forget_after: Its measure under the attack, at the worst point.
        stderr: Standard error of `forget_after`, by fact; of a single seed.
        base_before: The base's accuracy on the tested half.
        base_after: Its measure under the attack.
        counts: Whether the attack leaves the base enough of its accuracy for a verdict; none where what is measured
            is no accuracy on the tested questions, or nothing was measured.
        recovery: `(forget_after - chance) / (base_after - chance)`: 0 nothing came back, 1 as much as the attacked base
            knows; none where the attack does not count.
        recovery_by_seed: Of several seeds, what each found by itself.
        utility: The result's kept group that fares worst, over the base, before the attack.
        utility_after: The same under the attack, over the untouched base.
        kept: By kept group; of a single seed.
        worst: Which variant brought back most.
        cells: Of relearning after equal steps.
        matched: Of relearning at equal disturbance.
        sweep_over: What the strength of a sweep is, such as "share of the base".
        sweep: By strength.
        control: A third model under the same attack.
        settings: The attack's own, the same for both models.
        chosen: By side, what the attacker chose for that model.
    """

    status: Status
    notes: tuple[str, ...] = ()
    needs: Needs | None = None
    budget: str = ""
    seeds: tuple[int, ...] = ()
    seconds: float = 0.0
    measure: str = "accuracy"
    n: int | None = None
    chance: float | None = None
    forget_before: float | None = None
    forget_after: float | None = None
    stderr: float | None = None
    base_before: float | None = None
    base_after: float | None = None
    counts: bool | None = None
    recovery: float | None = None
    recovery_by_seed: Mapping[str, float | None] = field(default_factory=dict)
    utility: float | None = None
    utility_after: float | None = None
    kept: Mapping[str, KeptAccuracy] = field(default_factory=dict)
    worst: WorstPoint | None = None
    cells: tuple[RelearnCell, ...] = ()
    matched: tuple[MatchedCell, ...] = ()
    sweep_over: str | None = None
    sweep: tuple[SweepPoint, ...] = ()
    control: Control | None = None
    settings: Mapping[str, Setting] = field(default_factory=dict)
    chosen: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)

    @property
    def detail(self) -> str:
        """The verdict on whether it counts, and the notes, as one text; empty where there is nothing to say."""
        verdict = []
        if self.counts is False:
            verdict = [NO_STEP_COUNTS if self.cells or self.matched else DOES_NOT_COUNT]
        return "; ".join([*verdict, *self.notes])

    @property
    def half_back_at(self) -> float | None:
        """The smallest strength of a sweep at which half of what the attacked base knows is back; none = at none."""
        return min((point.at for point in self.sweep if (point.recovery or 0.0) >= _HALF), default=None)
