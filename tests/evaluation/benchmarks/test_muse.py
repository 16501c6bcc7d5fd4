"""MUSE's metrics against float64 formulas, its scores against plain passes, and models that must do well or badly."""

import math

import numpy as np
import pytest

from evaluation.benchmarks import muse_oracle as oracle
from srmu.errors import InputError
from srmu.evaluation.benchmarks import muse, muse_metrics
from srmu.evaluation.benchmarks.muse_data import read_muse
from srmu.evaluation.loading import load_causal_lm
from srmu.evaluation.membership import min_k_probability
from srmu.job.benchmarks.muse import benchmark_muse
from srmu.runtime.progress import Reporter

RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def results(muse_checkpoints, muse_folder):
    gold = str(muse_checkpoints["retrained"])
    return {
        name: benchmark_muse(str(muse_checkpoints[name]), corpus="news", data=muse_folder, gold=gold)
        for name in ("target", "retrained", "destroyed")
    }


def test_rouge_is_the_mean_f1_in_per_cent_without_a_stemmer():
    expected, given = ["the old river runs north", "a b c d"], ["the river ran north again", "d c b a"]
    mean = (oracle.f1(expected[0], given[0]) + oracle.f1(expected[1], given[1])) / 2
    assert muse_metrics.rouge_l_f1(expected, given) == pytest.approx(100 * mean)
    # A stemmer would take them for the same word.
    assert muse_metrics.rouge_l_f1(["running"], ["runs"]) == 0


def test_min_k_takes_the_least_likely_tokens_rounded_down_but_one():
    for size in (1, 2, 9, 40):
        row = -RNG.exponential(2, size)
        assert min_k_probability(row, 0.4) == pytest.approx(oracle.min_k(row.tolist(), 0.4))
    assert min_k_probability(np.array([-1.0, -3.0, -0.5, -2.0]), 0.4) == -3


def test_the_auc_is_of_unseen_texts_over_forget_texts():
    forget, holdout = ([-RNG.exponential(scale, 20) for _ in range(6)] for scale in (1.0, 1.3))
    scores = [[oracle.min_k(row.tolist(), 0.4) for row in texts] for texts in (holdout, forget)]
    assert muse_metrics.membership_auc(forget, holdout) == pytest.approx(oracle.auc(*scores))
    assert muse_metrics.membership_auc([np.array([-0.1])], [np.array([-5.0])]) == 0
    assert muse_metrics.membership_auc([np.array([-5.0])], [np.array([-5.0])]) == 0.5


def test_privacy_leakage_is_relative_to_the_retrained_model_and_signed():
    assert muse_metrics.privacy_leakage(0.001, 0.4772) == pytest.approx(oracle.leakage(0.001, 0.4772))
    assert muse_metrics.privacy_leakage(0.4772, 0.4772) == 0
    assert muse_metrics.privacy_leakage(0.0, 0.5) == -100
    assert muse_metrics.privacy_leakage(0.9, 0.5) == pytest.approx(80)
    assert muse_metrics.privacy_leakage(0.9, 0.0) is None


def test_an_answer_ends_where_the_model_asks_on():
    assert muse_metrics.answer_part(" Ito.\nQuestion: Who?\nAnswer: no") == " Ito."
    assert muse_metrics.answer_part("Ito\n\nmore") == "Ito"
    assert muse_metrics.answer_part("Ito Question: x") == "Ito "


def test_questions_stand_behind_all_examples_and_end_with_a_space(muse_folder):
    data = read_muse(muse_folder, "news")
    prompt = muse.question_prompts(data.forget, data.forget_examples)[1]
    first, second = zip(data.forget_examples.asked, data.forget_examples.expected, strict=True)
    assert prompt == (
        f"Question: {first[0]}\nAnswer: {first[1]}\n\nQuestion: {second[0]}\nAnswer: {second[1]}\n\n"
        f"Question: {data.forget.asked[1]}\nAnswer: "
    )


def test_scores_equal_those_of_plain_passes(muse_checkpoints, muse_folder, tokenizer):
    """Each text by itself, in float64 for likelihoods, without a cache for what is written."""
    data, model = read_muse(muse_folder, "news", limit=2), load_causal_lm(muse_checkpoints["target"])
    scores = muse.score_muse(model, tokenizer, data, batch_rows=2, reporter=Reporter())
    end = tokenizer.eos_token_id

    def written(prompts, most):
        return [tokenizer.decode(oracle.greedy(model, tokenizer.encode(prompt), most, end)) for prompt in prompts]

    answers = written(muse.question_prompts(data.forget, data.forget_examples), 32)
    expected = [muse_metrics.answer_part(text) for text in answers]
    assert scores.knowledge_memorization == pytest.approx(muse_metrics.rouge_l_f1(data.forget.expected, expected))
    continued = written(data.verbatim.asked, 128)
    assert scores.verbatim_memorization == pytest.approx(muse_metrics.rouge_l_f1(data.verbatim.expected, continued))
    rows = [
        [oracle.min_k(oracle.token_log_probabilities(model, tokenizer.encode(text)), 0.4) for text in texts]
        for texts in (data.holdout, data.members)
    ]
    assert scores.auc == oracle.auc(*rows)


def test_a_continuation_is_compared_with_as_many_tokens_of_the_text(tokenizer):
    text = "word " * 400
    assert len(tokenizer.encode(muse.first_tokens(tokenizer, [text])[0])) == muse.VERBATIM_TOKENS


def test_the_model_that_knows_all_remembers_and_leaks(results):
    target = results["target"]
    assert min(target.verbatim_memorization, target.knowledge_memorization, target.utility) > 90
    assert target.gold.privacy_leakage == -100


def test_privacy_leakage_of_the_gold_standard_is_0(results):
    gold = results["retrained"]
    assert gold.gold.privacy_leakage == 0
    assert gold.utility > 90
    assert gold.knowledge_memorization < 60
    assert 0 < gold.gold.auc < 1


def test_a_destroyed_model_has_utility_0(results):
    destroyed = results["destroyed"]
    assert (destroyed.utility, destroyed.verbatim_memorization) == (0, 0)


def test_models_of_folds_are_measured_by_their_utility(muse_checkpoints, muse_folder, results):
    names = [str(muse_checkpoints[name]) for name in ("retrained", "destroyed")]
    found = benchmark_muse(names[0], corpus="news", data=muse_folder, scaling=names, sustainability=names[1:])
    assert found.scaling == (results["retrained"].utility, 0)
    assert found.sustainability == (0,)
    assert found.numbers["scaling.2"] == 0
    assert found.numbers["privacy_leakage"] is None
    with pytest.raises(InputError, match="only MUSE-News has forget sets for it"):
        benchmark_muse(names[0], corpus="books", data=muse_folder, scaling=names)
    with pytest.raises(InputError, match="sustainability was given 5 models"):
        benchmark_muse(names[0], corpus="news", data=muse_folder, sustainability=names[:1] * 5)


def test_a_model_without_finite_likelihoods_is_refused(muse_checkpoints, muse_folder, tokenizer):
    model = load_causal_lm(muse_checkpoints["random"])
    model.model.norm.weight.data[0] = math.nan
    with pytest.raises(InputError, match="no finite probability"):
        muse.score_membership(model, tokenizer, read_muse(muse_folder, "news"), reporter=Reporter())


def test_an_estimate_is_positive(muse_checkpoints, muse_folder, tokenizer):
    model = load_causal_lm(muse_checkpoints["random"])
    assert all(seconds > 0 for seconds in muse.estimate_seconds(model, tokenizer, read_muse(muse_folder, "news")))
