"""One model, fine-tuned step by step, and what it knows at the stops on the way."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from srmu.evaluation.attacks.fine_tuning import fine_tune
from srmu.evaluation.attacks.measured import Measured, measure
from srmu.evaluation.attacks.outcome import counts
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.evaluation.texts import TextScores, text_scores
from srmu.inputs.general import general_paragraphs
from srmu.runtime.precision import mixed_precision

_NEUTRAL_PARAGRAPHS = 3


@dataclass(frozen=True, kw_only=True)
class Stop(Measured):
    """What a model knows after some steps.

    Attributes:
        step: Optimizer steps so far.
        disturbance: How far log-probabilities of ordinary tokens moved, mean nats per token.
    """

    step: int
    disturbance: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One model's course.

    Attributes:
        stops: In order of steps.
        diverged_at: The step after which its losses were not finite, or none.
    """

    stops: tuple[Stop, ...] = ()
    diverged_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class RelearnedPair:
    """Base and result under the same fine-tuning.

    Attributes:
        material: What is trained on.
        tuning: `full` or `lora`.
        learning_rate: Of full fine-tuning.
        base: The base's course.
        result: The result's, no further than the base's.
    """

    material: str
    tuning: str
    learning_rate: float
    base: Curve
    result: Curve

    def pairs(self) -> list[tuple[Stop, Stop]]:
        """Stops of result and base after the same steps; a curve that diverged is shorter."""
        return list(zip(self.result.stops, self.base.stops, strict=False))


def may_count_again(stops: Sequence[Measured], base_before: float, chance: float) -> bool:
    """Whether the base is worth training on: not after two stops in a row at which the attack does not count."""
    return len(stops) < 2 or any(counts(base_before, stop.forget, chance) for stop in stops[-2:])


def relearn_curve(
    setting: AttackSetting,
    side: str,
    texts: Sequence[str],
    *,
    tuning: str,
    learning_rate: float,
    steps: Sequence[int],
    go_on: Callable[[Sequence[Stop]], bool],
) -> Curve:
    """Fine-tune one model; what it knows after each stop, up to the one whose stops so far do not `go_on`.

    Args:
        setting: Of the attack.
        side: `base` or `result`.
        texts: To fine-tune on.
        tuning: `full` or `lora`.
        learning_rate: Of full fine-tuning.
        steps: After which the model is asked; empty = none.
        go_on: Looks at the stops so far.
    """
    if not steps:
        return Curve()
    for subject in setting.subjects.values():
        subject.drop()
    model = setting.subjects[side].fresh("float32")
    if model.device.type == "cpu":
        from srmu.surgery.attention import use_causal_blocks

        use_causal_blocks(model)
    neutral = list(general_paragraphs()[:_NEUTRAL_PARAGRAPHS])
    with mixed_precision(model.device):
        before = text_scores(model, setting.tokenizer, neutral)
    stops: list[Stop] = []
    with setting.reporter.task(f"Relearning, {tuning}, {side}") as progress:
        progress(0, len(steps))

        @mixed_precision(model.device)
        def look(step: int) -> bool:
            moved = disturbance(before, text_scores(model, setting.tokenizer, neutral))
            if not math.isfinite(moved):
                return False
            found = measure(setting, model)
            stops.append(Stop(forget=found.forget, stderr=found.stderr, kept=found.kept, step=step, disturbance=moved))
            progress(len(stops), len(steps))
            return go_on(stops)

        ended = fine_tune(
            model, setting.tokenizer, texts, tuning=tuning, learning_rate=learning_rate, stops=steps,
            seed=setting.seed, at_stop=look,
        )  # fmt: skip
    looked = stops[-1].step if stops else 0
    return Curve(stops=tuple(stops), diverged_at=None if ended == looked else ended)


def disturbance(before: TextScores, after: TextScores) -> float:
    """Mean absolute change of a token's log-probability, nats, on the same texts."""
    return float(abs(before.token_nll - after.token_nll).mean())
