"""Each metric of TOFU against a float64 formula of its own, and at the ends of its range."""

import math
import sys

import numpy as np
import pytest

from evaluation.benchmarks import tofu_oracle as oracle
from srmu.errors import InputError
from srmu.evaluation.benchmarks import tofu_metrics as metrics

RNG = np.random.default_rng(3)
RIGHT, WRONG = RNG.uniform(0.1, 4, 30), RNG.uniform(0.1, 4, (30, 5))


def test_probability_is_the_geometric_mean_of_the_tokens_probabilities():
    tokens = [list(RNG.uniform(0.05, 1, size)) for size in (1, 2, 7)]
    losses = np.array([-np.mean(np.log(row)) for row in tokens])
    assert metrics.probability(losses) == pytest.approx([oracle.normalised_probability(row) for row in tokens])


def test_a_choice_is_the_right_answers_share():
    expected = [oracle.choice(math.exp(-r), np.exp(-w)) for r, w in zip(RIGHT, WRONG, strict=True)]
    assert metrics.choice_probability(RIGHT, WRONG) == pytest.approx(expected)
    # Equal answers share equally, even where none has a probability that a float can hold.
    assert metrics.choice_probability(np.full(1, 2000.0), np.full((1, 3), 2000.0)) == pytest.approx(0.25)
    assert metrics.choice_probability(np.full(1, 5000.0), np.zeros((1, 3))) == 0


def test_the_truth_ratio_is_false_over_true():
    expected = [oracle.truth_ratio(math.exp(-r), np.exp(-w)) for r, w in zip(RIGHT, WRONG, strict=True)]
    assert metrics.truth_ratio(RIGHT, WRONG) == pytest.approx(expected)
    assert metrics.truth_ratio(np.ones(1), np.ones((1, 5))) == 1


def test_a_truth_ratio_rewards_knowledge_where_kept_and_ignorance_where_forgotten():
    ratios = np.array([0.0, 0.25, 1.0, 4.0])
    assert metrics.truth_ratio_of_known(ratios) == pytest.approx((1 + 0.75 + 0 + 0) / 4)
    assert metrics.truth_ratio_of_forgotten(ratios) == pytest.approx((0 + 0.25 + 1 + 0.25) / 4)


def test_model_utility_is_the_harmonic_mean_and_falls_to_0_with_any_of_the_nine():
    scores = list(RNG.uniform(0.1, 1, 9))
    assert metrics.model_utility(scores) == pytest.approx(oracle.harmonic_mean(scores))
    assert metrics.model_utility([*scores[:8], 0.0]) == 0
    with pytest.raises(ValueError, match="nine scores, and 8"):
        metrics.model_utility(scores[:8])


def test_forget_quality_is_1_of_a_model_against_itself_and_small_where_nothing_overlaps():
    ratios = RNG.uniform(0.5, 1, 40)
    same = metrics.forget_quality(ratios, ratios)
    assert (same.p_value, same.log10_p_value, same.statistic) == (1, 0, 0)
    apart = metrics.forget_quality(ratios, ratios - 0.6)
    # Two samples of n that do not overlap: 2 / C(2n, n), exactly.
    assert apart.p_value == pytest.approx(2 / math.comb(80, 40))
    assert apart.log10_p_value == pytest.approx(math.log10(2 / math.comb(80, 40)))
    assert apart.statistic == 1


def test_forget_quality_has_the_statistic_counted_by_hand():
    first, second = list(RNG.normal(0, 1, 30)), list(RNG.normal(0.5, 1, 30))
    found = metrics.forget_quality(np.array(first), np.array(second))
    assert found.statistic == pytest.approx(oracle.largest_gap(first, second))
    assert 0 < found.p_value < 1


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        ("the cat sat on the mat", "the cat is on a mat"),
        ("a b c d", "d c b a"),
        ("red, blue: 7!", "Blue 7 red"),
        ("one two", ""),
        ("one two", "  one two three\n"),
    ],
)
def test_rouge_is_the_longest_common_subsequence_over_the_expected_words(expected, given):
    assert metrics.rouge_l_recall([expected], [given])[0] == pytest.approx(oracle.common_words(expected, given))


def test_rouge_takes_words_of_one_stem_as_one():
    assert metrics.rouge_l_recall(["writing novels"], ["writes novel"])[0] == 1


@pytest.mark.parametrize(("module", "gold"), [("rouge_score", False), ("scipy.stats", True)])
def test_a_missing_package_is_named_before_anything_is_computed(module, gold, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"pip install 'srmu\[eval\]'"):
        metrics.check_packages(gold=gold)
