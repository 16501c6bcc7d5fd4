"""Scores of one model or of two as records of `results.json`: numbers, and their paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from srmu.evaluation.memorization import memorization_of_texts
from srmu.evaluation.questions import QuestionScores, clustered_stderr
from srmu.evaluation.texts import TextScores, share_of_changed_predictions
from srmu.results.groups import (
    Change,
    Known,
    QuestionChange,
    QuestionGroup,
    QuestionSummary,
    TextChange,
    TextGroup,
    TextSummary,
    defined,
)


def question_group(base: QuestionScores | None, result: QuestionScores) -> QuestionGroup:
    """One group of questions; without a base, the result alone.

    Raises:
        ValueError: If the two were not asked the same questions.
    """
    machine_made = result.num_machine_made or None
    if base is None:
        return QuestionGroup(result=summarize_questions(result), machine_made=machine_made)
    return QuestionGroup(
        base=summarize_questions(base),
        result=summarize_questions(result),
        change=compare_questions(base, result),
        known=compare_known(base, result),
        machine_made=machine_made,
    )


def text_group(base: TextScores | None, result: TextScores) -> TextGroup:
    """One group of texts; without a base, the result alone.

    Raises:
        ValueError: If the two did not read the same texts.
    """
    if base is None:
        return TextGroup(result=summarize_texts(result))
    return TextGroup(
        base=summarize_texts(base),
        result=summarize_texts(result),
        change=compare_texts(base, result),
        predictions_changed=share_of_changed_predictions(base, result),
    )


def summarize_questions(scores: QuestionScores) -> QuestionSummary:
    """The numbers of one group under one model."""
    return QuestionSummary(
        n=scores.n,
        accuracy=defined(scores.accuracy),
        stderr=defined(scores.stderr),
        accuracy_raw=defined(scores.accuracy_raw),
        nll=defined(scores.nll),
        stderr_by_fact=defined(scores.stderr_by_fact),
    )


def summarize_texts(scores: TextScores) -> TextSummary:
    """The numbers of one group under one model."""
    remembered = means(asdict(memorization_of_texts(scores)))
    return TextSummary(
        scores.num_tokens, defined(scores.nll), defined(scores.perplexity), defined(scores.top_accuracy), **remembered
    )


def compare_questions(before: QuestionScores, after: QuestionScores) -> QuestionChange:
    """The differences of two models on the same questions.

    Raises:
        ValueError: If the questions were not the same.
    """
    if before.facts != after.facts:
        raise ValueError("the two scores are of different questions")
    return QuestionChange(
        accuracy=compare_values(before.correct_norm, after.correct_norm, before.facts),
        accuracy_raw=compare_values(before.correct_raw, after.correct_raw, before.facts),
        nll=compare_values(before.answer_nll, after.answer_nll, before.facts),
    )


def compare_known(before: QuestionScores, after: QuestionScores) -> Known:
    """The same on the questions that the base answered right."""
    known = before.correct_norm
    facts = [fact for fact, is_known in zip(before.facts, known, strict=True) if is_known]
    accuracy = compare_values(before.correct_norm[known], after.correct_norm[known], facts) if known.any() else None
    return Known(n=int(known.sum()), unknown=int((~known).sum()), accuracy=accuracy)


def compare_texts(before: TextScores, after: TextScores) -> TextChange:
    """The differences of two models on the same texts; standard errors take documents as the unit.

    Raises:
        ValueError: If the texts were not the same.
    """
    if not np.array_equal(before.target_ids, after.target_ids):
        raise ValueError("the two scores are of different texts")
    documents = [str(number) for number, count in enumerate(before.document_tokens) for _ in range(count)]
    hits = [scores.top_ids == scores.target_ids for scores in (before, after)]
    remembered = [asdict(memorization_of_texts(scores)) for scores in (before, after)]
    return TextChange(
        nll=compare_values(before.token_nll, after.token_nll, documents),
        top_accuracy=compare_values(hits[0], hits[1], documents),
        **compare_each(remembered[0], remembered[1]),
    )


def means(arrays: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """The mean of each array."""
    return {name: defined(values.mean()) for name, values in arrays.items()}


def compare_each(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, Change]:
    """Two models' values under each name, items taken as independent."""
    return {name: compare_values(before[name], after[name], [""] * len(before[name])) for name in before}


def compare_values(before: np.ndarray, after: np.ndarray, clusters: Sequence[str]) -> Change:
    """Two models' values on the same items, paired; items of one cluster key count as dependent, empty keys as not."""
    before, after = before.astype(np.float64), after.astype(np.float64)
    return Change(
        before=defined(before.mean()),
        after=defined(after.mean()),
        difference=defined((after - before).mean()),
        stderr=defined(clustered_stderr(after - before, clusters)),
    )
