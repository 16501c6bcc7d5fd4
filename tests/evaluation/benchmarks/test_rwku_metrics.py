"""RWKU's formulas against plain float64 versions, and what they say at their ends."""

import numpy as np
import pytest

from evaluation.benchmarks import rwku_oracle as oracle
from evaluation.benchmarks.conftest import build
from srmu.errors import InputError
from srmu.evaluation.benchmarks import rwku_metrics as metrics
from srmu.evaluation.benchmarks.token_statistics import token_statistics
from srmu.evaluation.encoding import encode
from srmu.evaluation.membership import min_k_probability

TEXTS = (
    "The author was born in a small city.",
    "Novel.",
    "A book, an award, and a father who reads all winter long in the garden of stone.",
)


@pytest.fixture(scope="module")
def scored(tokenizer):
    """What was found of each text beside the plain distributions at its places."""
    found = token_statistics(build(), tokenizer, TEXTS, batch_tokens=32)
    rows = [encode(tokenizer, text) for text in TEXTS]
    return list(
        zip(found, [oracle.distributions(build(), row) for row in rows], [row[1:] for row in rows], strict=True)
    )


def test_token_statistics_equal_those_of_one_plain_pass_a_text(scored):
    for found, distributions, targets in scored:
        right = [row[target] for row, target in zip(distributions, targets, strict=True)]
        np.testing.assert_allclose(found.log_probabilities, np.log(right), rtol=1e-4)  # float32 logits
        means = [sum(p * np.log(p) for p in row) for row in distributions]
        np.testing.assert_allclose(found.means, means, rtol=1e-4)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_membership_scores_equal_the_oracles(scored, share):
    for text, (found, distributions, targets) in zip(TEXTS, scored, strict=True):
        right = [row[target] for row, target in zip(distributions, targets, strict=True)]
        log_p = found.log_probabilities
        assert metrics.loss(log_p) == pytest.approx(oracle.loss(right), rel=1e-4)
        assert metrics.zlib_entropy(log_p, text) == pytest.approx(oracle.zlib_entropy(right, text), rel=1e-4)
        assert min_k_probability(log_p, share) == pytest.approx(oracle.min_k(right, share), rel=1e-4)
        expected = oracle.min_k_plus(distributions, targets, share)
        assert metrics.min_k_plus(log_p, found.means, found.deviations, share) == pytest.approx(expected, rel=1e-3)


def test_min_k_of_all_tokens_is_minus_the_loss_and_of_few_is_lower():
    log_p = np.log([0.9, 0.5, 0.1, 0.01])
    assert min_k_probability(log_p, 1.0) == pytest.approx(-metrics.loss(log_p))
    assert min_k_probability(log_p, 0.01) == pytest.approx(np.log(0.01))
    assert metrics.min_k_plus(log_p, log_p, np.zeros(4)) == 0


def test_a_text_of_one_token_is_refused(tokenizer):
    with pytest.raises(InputError, match="a single token"):
        token_statistics(build(), tokenizer, ["a"])


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("river stone cloud", "river cloud"),
        ("river stone cloud", "cloud stone river"),
        ("the river the stone", "the stone the river and more"),
        ("River", "river"),
        ("river", "river,"),
        ("river", ""),
    ],
)
def test_rouge_recall_is_the_subsequence_over_different_words(expected, given):
    found = metrics.rouge_l_recall([expected], [given])
    assert found[0] == pytest.approx(oracle.rouge_recall(expected, given))


def test_rouge_counts_case_and_punctuation_and_takes_an_empty_answer():
    found = metrics.rouge_l_recall(["May", "May", "no answer", "..."], ["May", "may", " ...\n", "x"])
    assert found.tolist() == [1.0, 0.0, 0.0, 0.0]


def test_fluency_equals_the_oracle_and_repetition_has_none():
    words = [*"abcabdabcef"]
    assert metrics.n_gram_entropy(words) == pytest.approx(oracle.fluency(words))
    assert metrics.n_gram_entropy(["a"] * 20) == metrics.n_gram_entropy([]) == 0
    assert metrics.n_gram_entropy(words) < metrics.n_gram_entropy([*"abcdefghijk"])


def test_f1_is_of_the_best_answer():
    answers, given = ["The Old City", "a river of stone"], "It is an old river, of stone!"
    words = [["old", "city"], ["river", "of", "stone"]]
    written = ["it", "is", "old", "river", "of", "stone"]
    assert metrics.normalised_words(given) == written
    assert metrics.best_f1(answers, given) == pytest.approx(max(oracle.f1(one, written) for one in words))
    assert metrics.best_f1(["the"], "a") == 1
    assert metrics.best_f1(["city"], "river") == 0


def test_an_exact_match_has_the_same_words_whatever_the_case():
    assert metrics.exact_match(["(B)", "yes"], "The b.") == 1
    assert metrics.exact_match(["no"], "no, sir") == 0
    # A letter that is an article leaves no word, so it cannot be told from an empty answer; so it is in RWKU's code.
    assert metrics.exact_match(["(A)"], "the") == 1


def test_an_answer_is_taken_from_its_reasoning():
    assert metrics.reasoned_answer("First this. So the answer is (B). The answer is (C).") == "(B)"
    assert metrics.reasoned_answer(" (B) ") == "(B)"
    assert metrics.reasoned_answer("\n") == metrics.NO_ANSWER
