"""Differences are paired, and a model against itself differs in nothing."""

import json

import numpy as np
import pytest

from families import FAMILIES
from srmu.evaluation.questions import QuestionScores
from srmu.evaluation.results import (
    compare_questions,
    compare_texts,
    summarize_questions,
    summarize_texts,
)  # fmt: skip
from srmu.evaluation.texts import text_scores
from srmu.results.schema import to_json
from tiny_tokenizers import make_tokenizer


def make_scores(right: list[bool], facts: tuple[str, ...]) -> QuestionScores:
    values = np.array(right)
    return QuestionScores(
        log_likelihoods=(), correct_norm=values, correct_raw=~values, answer_nll=values * 2.0, facts=facts
    )


def test_difference_and_paired_stderr_are_those_by_hand():
    facts = ("a", "b", "c", "d")
    before = make_scores([True, True, True, False], facts)
    after = make_scores([False, True, False, False], facts)
    accuracy = compare_questions(before, after).accuracy
    assert (accuracy.before, accuracy.after, accuracy.difference) == (0.75, 0.25, -0.5)
    assert accuracy.stderr == pytest.approx(np.array([-1, 0, -1, 0]).std(ddof=1) / 2)


def test_a_model_against_itself_differs_in_nothing():
    scores = make_scores([True, False, True], ("a", "b", "c"))
    assert all(c.difference == 0 and c.stderr == 0 for c in vars(compare_questions(scores, scores)).values())
    texts = text_scores(FAMILIES["llama"].build(), make_tokenizer(), ["the river runs", "red garden"])
    assert compare_texts(texts, texts).nll.difference == 0


def test_different_questions_cannot_be_compared():
    with pytest.raises(ValueError, match="different questions"):
        compare_questions(make_scores([True], ("a",)), make_scores([True], ("b",)))


def test_records_are_strict_json_with_the_promised_keys():
    record = to_json(summarize_questions(make_scores([True], ("a",))))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert {"n", "accuracy", "stderr", "accuracy_raw", "nll"} <= set(record)
    assert record["stderr"] is None
    texts = text_scores(FAMILIES["llama"].build(), make_tokenizer(), ["the river runs"])
    assert to_json(summarize_texts(texts))["num_tokens"] == 3
