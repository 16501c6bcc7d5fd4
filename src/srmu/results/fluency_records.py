"""Fluency of answers to forget prompts, as written in `results.json`."""

from dataclasses import dataclass

from srmu.results.groups import Change


@dataclass(frozen=True)
class Fluency:
    """How much of language is left in a model's answers to forget prompts; means over prompts.

    Attributes:
        n: Prompts.
        score: From 0 to 1, see `evaluation.fluency.fluency`.
        distinct: Share of neighbouring pairs of tokens that occur in the answer once.
        script: Share of letters in a script of the prompt.
        base_nll: Nats per token that the base gives the answers; none where all are empty.
    """

    n: int
    score: float
    distinct: float
    script: float
    base_nll: float | None


@dataclass(frozen=True)
class FluencyGroup:
    """Fluency before and after.

    Attributes:
        base: Of the base's own answers.
        result: Of the result's answers to the same prompts.
        change: Of the score, prompt by prompt.
    """

    base: Fluency
    result: Fluency
    change: Change
