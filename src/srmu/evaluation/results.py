"""Records of measurements as they stand in `results.json`, and the difference of two."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from srmu.evaluation.questions import QuestionScores, clustered_stderr
from srmu.evaluation.texts import TextScores


@dataclass(frozen=True)
class GroupResult:
    """One group of questions."""

    n: int
    accuracy: float
    """Length-normalised."""
    stderr: float
    """Of `accuracy`, questions taken as independent."""
    accuracy_raw: float
    nll: float
    """Nats a token of the right answer."""
    stderr_by_fact: float
    """Of `accuracy`, clustered by fact."""


@dataclass(frozen=True)
class TextResult:
    """One group of texts."""

    num_tokens: int
    nll: float
    """Nats a token."""
    perplexity: float
    top_accuracy: float


@dataclass(frozen=True)
class Comparison:
    """A mean before and after."""

    before: float
    after: float
    difference: float
    """After minus before."""
    stderr: float
    """Of `difference`, paired item by item and clustered by fact; nan where there is but one cluster."""


def summarize_questions(scores: QuestionScores) -> GroupResult:
    """The numbers of one group."""
    return GroupResult(
        n=scores.n,
        accuracy=scores.accuracy,
        stderr=scores.stderr,
        accuracy_raw=scores.accuracy_raw,
        nll=scores.nll,
        stderr_by_fact=scores.stderr_by_fact,
    )


def summarize_texts(scores: TextScores) -> TextResult:
    """The numbers of one group."""
    return TextResult(scores.num_tokens, scores.nll, scores.perplexity, scores.top_accuracy)


def compare_questions(before: QuestionScores, after: QuestionScores) -> dict[str, Comparison]:
    """`accuracy`, `accuracy_raw` and `nll` of two models on the same questions.

    Raises:
        ValueError: If the questions were not the same.
    """
    if before.facts != after.facts:
        raise ValueError("the two scores are of different questions")
    arrays = {"accuracy": "correct_norm", "accuracy_raw": "correct_raw", "nll": "answer_nll"}
    return {
        key: compare_values(getattr(before, name), getattr(after, name), before.facts) for key, name in arrays.items()
    }


def compare_texts(before: TextScores, after: TextScores) -> Comparison:
    """Nats a token of two models on the same texts; the standard error takes documents as the unit.

    Raises:
        ValueError: If the texts were not the same.
    """
    if not np.array_equal(before.target_ids, after.target_ids):
        raise ValueError("the two scores are of different texts")
    documents = [str(number) for number, count in enumerate(before.document_tokens) for _ in range(count)]
    return compare_values(before.token_nll, after.token_nll, tuple(documents))


def to_record(result: Any) -> dict[str, Any]:
    """A result as JSON values; a number that is not defined (nan) becomes null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in asdict(result).items()
    }


def compare_values(before: np.ndarray, after: np.ndarray, clusters: Sequence[str]) -> Comparison:
    """Two models' values on the same items, paired; items of one cluster key count as dependent, empty keys as not."""
    before, after = before.astype(np.float64), after.astype(np.float64)
    return Comparison(
        before=float(before.mean()),
        after=float(after.mean()),
        difference=float((after - before).mean()),
        stderr=clustered_stderr(after - before, clusters),
    )
