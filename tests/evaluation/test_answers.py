"""Completion files, exact match and ROUGE-L."""

import sys

import numpy as np
import pytest

from srmu.errors import InputError
from srmu.evaluation.answers import score_answers


def test_exact_match_ignores_case_punctuation_and_what_follows_the_line():
    scores = score_answers(
        ["Accra", "Accra", "Accra", "red\nblue"], [" accra.\nThe capital of", "Accra is", "", "Red,\nBlue\nGreen"]
    )
    assert scores.exact_match.tolist() == [1, 0, 0, 1]


def test_rouge_l_is_as_counted_by_hand():
    # Longest common subsequence of 3 words, of 4 expected and 6 given.
    scores = score_answers(["the river runs south"], ["a river that runs very south"])
    assert scores.rouge_l_recall[0] == 3 / 4
    assert scores.rouge_l_f1[0] == pytest.approx(2 * (3 / 4) * (3 / 6) / (3 / 4 + 3 / 6))


def test_rouge_equals_the_package_on_english_and_does_not_drop_other_scripts():
    from rouge_score import rouge_scorer

    target, given = "The cat's hat, 2 dogs.", "the hat of cats and 2 dogs"
    own = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False).score(target, given)["rougeL"]
    assert score_answers([target], [given]).rouge_l_f1[0] == own.fmeasure
    assert score_answers(["Москва река"], ["река Москва"]).rouge_l_recall[0] == 0.5


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(InputError, match=r"rouge-score.*srmu\[eval\]"):
        score_answers(["a"], ["a"])


def test_scores_have_one_entry_per_answer():
    scores = score_answers(["a b", "c"], ["a b", "d"])
    np.testing.assert_array_equal(scores.rouge_l_f1, [1, 0])
