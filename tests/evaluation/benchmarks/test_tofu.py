"""TOFU's scores of a model against one plain forward pass a question, and of models that must do well or badly."""

import numpy as np
import pytest
import torch

from evaluation.benchmarks import tofu_oracle as oracle
from evaluation.benchmarks.conftest import SLICE, build
from srmu.errors import InputError
from srmu.evaluation.benchmarks.tofu import SetScores, estimate_seconds, score_gold, score_tofu, set_result
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer
from srmu.evaluation.loading import load_causal_lm
from srmu.job.benchmarks.tofu import benchmark_tofu
from srmu.runtime.progress import Reporter

PROMPT = TofuPrompt()


def score(model, tokenizer, data, **changes):
    options = {"prompt": PROMPT, "max_new_tokens": 80, "reporter": Reporter(), **changes}
    return score_tofu(model, tokenizer, data, **options)


def run(checkpoints, name, gold=None, **changes):
    options = {"split": "forget01", "data": SLICE, "max_new_tokens": 80, **changes}
    return benchmark_tofu(str(checkpoints[name]), gold=None if gold is None else str(checkpoints[gold]), **options)


@pytest.fixture(scope="module")
def random_scores(tokenizer, data, checkpoints):
    return score(load_causal_lm(checkpoints["random"]), tokenizer, data, max_new_tokens=4)


@pytest.fixture(scope="module")
def results(checkpoints):
    """Of the model that knows all, beside the one that was retrained without the forget set."""
    return {name: run(checkpoints, name, gold="retrained") for name in ("full", "retrained")}


@pytest.mark.parametrize("name", ["forget", "real_authors"])
def test_losses_equal_those_of_one_plain_pass_an_answer(name, random_scores, tokenizer, data, checkpoints):
    model, scores = load_causal_lm(checkpoints["random"]), random_scores.sets[name]
    for number, entry in enumerate(data.sets[name][:3]):
        expected = []
        for answer in (entry.answer, entry.right, *entry.wrong):
            pair = encode_answer(tokenizer, PROMPT, entry.question, answer)
            expected.append(oracle.normalised_probability(oracle.answer_probabilities(model, *pair)))
        found = np.exp(-np.array([scores.answer[number], scores.right[number], *scores.wrong[number]]))
        assert found == pytest.approx(expected, rel=1e-4)  # float32 logits


def test_memorisation_is_of_the_answers_tokens_without_the_end(random_scores, tokenizer, data, checkpoints):
    model, right = load_causal_lm(checkpoints["random"]), []
    for entry in data.sets["forget"]:
        asked, answer = encode_answer(tokenizer, PROMPT, entry.question, entry.answer)
        with torch.no_grad():
            first = model(input_ids=torch.tensor([asked + answer])).logits[0].argmax(-1).tolist()
        right.append(np.mean([first[len(asked) - 1 + place] == token for place, token in enumerate(answer[:-1])]))
    assert random_scores.exact_memorization == pytest.approx(np.mean(right))


def test_a_set_of_choices_has_the_share_and_the_others_the_probability():
    scores = SetScores(
        answer=np.log([2.0, 4.0]),
        right=np.log([2.0, 4.0]),
        wrong=np.log([[4.0, 4.0], [2.0, 8.0]]),
        rouge_l_recall=np.array([0.0, 1.0]),
    )
    kept, offered, forgotten = (set_result(name, scores) for name in ("retain", "world_facts", "forget"))
    assert kept.probability == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert offered.probability == pytest.approx((0.5 + 0.25 / 0.875) / 2)
    # Truth ratios are 1/2 and 1.
    assert kept.truth_ratio == offered.truth_ratio == pytest.approx(0.25)
    assert forgotten.truth_ratio == pytest.approx(0.75)
    assert (kept.n, kept.rouge_l_recall) == (2, 0.5)


def test_a_model_trained_on_the_slice_remembers_it(results):
    full = results["full"]
    assert min(full.forget.probability, full.retain.probability) > 0.9
    assert min(full.forget.rouge_l_recall, full.retain.rouge_l_recall) > 0.9
    assert min(full.exact_memorization, full.extraction_strength) > 0.9
    assert full.forget.truth_ratio < 0.6
    assert full.model_utility > 0.5


def test_a_model_retrained_without_the_forget_set_keeps_the_rest_alone(results):
    retrained = results["retrained"]
    assert retrained.retain.probability > 0.9
    assert retrained.forget.probability < 0.5
    assert retrained.extraction_strength < 0.3
    assert retrained.model_utility > 0.5


def test_the_gold_standard_against_itself_has_forget_quality_1_and_the_full_model_has_not(results):
    assert results["retrained"].gold.forget_quality == 1
    assert results["retrained"].gold.log10_forget_quality == 0
    assert results["full"].gold.forget_quality < 0.01


def test_a_destroyed_model_has_no_utility(tokenizer, data, checkpoints, tmp_path, results):
    model = load_causal_lm(checkpoints["full"])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    model.save_pretrained(tmp_path / "destroyed")
    tokenizer.save_pretrained(tmp_path / "destroyed")
    destroyed = run({"destroyed": tmp_path / "destroyed"}, "destroyed")
    assert destroyed.model_utility < 0.01 < results["full"].model_utility


def test_a_model_without_finite_losses_gives_no_number(tokenizer, data):
    model = build()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="no finite probability"):
        score(model, tokenizer, data)


def test_a_gold_standard_that_knows_the_forgotten_is_told_from_one_that_does_not(tokenizer, data, checkpoints):
    known = {
        name: score_gold(load_causal_lm(checkpoints[name]), tokenizer, data, prompt=PROMPT, reporter=Reporter())
        for name in ("full", "retrained")
    }
    assert known["full"].knows_forgotten
    assert not known["retrained"].knows_forgotten


def test_an_answer_that_the_model_cannot_hold_is_refused(tokenizer, data, checkpoints):
    model = load_causal_lm(checkpoints["random"])
    model.config.max_position_embeddings = 16
    with pytest.raises(InputError, match="the model has 16 positions"):
        score(model, tokenizer, data)


def test_the_estimate_grows_with_the_work(tokenizer, data, checkpoints):
    model = load_causal_lm(checkpoints["random"])
    few, many = (estimate_seconds(model, tokenizer, data, prompt=PROMPT, max_new_tokens=tokens) for tokens in (10, 400))
    assert min(many.scoring, many.depth) > 0
    assert many.writing > 5 * few.writing
