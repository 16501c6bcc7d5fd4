"""Fluency of answers: repetition, foreign script and what the base finds unlikely cost; its own answer does not."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from srmu.evaluation.fluency import Answers, base_nll, compare_fluency, fluency, language_nll, script_share
from tiny_tokenizers import TOKENIZERS, make_tokenizer


def test_letters_of_another_script_than_the_prompts_are_foreign():
    assert script_share("The capital of Egypt is", "Cairo 42.") == 1.0
    assert script_share("The capital of Egypt is", "d \u5f70 c") == pytest.approx(2 / 3)
    assert script_share("\u0421\u0442\u043e\u043b\u0438\u0446\u0430", "\u041a\u0430\u0438\u0440") == 1.0
    assert script_share("The capital is", "42.") == 1.0


def test_the_bases_own_answer_costs_nothing_and_an_unlikely_one_does():
    tokenizer = make_tokenizer()
    prompts = ["the capital of", "the river"]
    own = fluency(tokenizer, prompts, ["red country", "runs north"], [1.0, 2.0], [1.0, 2.0])
    assert own.score == 1.0
    worse = fluency(tokenizer, prompts, ["red country", "runs north"], [1.0 + math.log(2), 2.0], [1.0, 2.0])
    assert worse.score == pytest.approx((0.5 + 1) / 2)
    likelier = fluency(tokenizer, prompts, ["red country", "runs north"], [0.5, 2.0], [1.0, 2.0])
    assert likelier.score == 1.0


def test_an_empty_answer_scores_nothing_unless_the_bases_is_empty_too():
    tokenizer = make_tokenizer()
    assert fluency(tokenizer, ["the"], [""], [math.nan], [1.0]).score == 0.0
    assert fluency(tokenizer, ["the"], [""], [math.nan], [math.nan]).score == 1.0


def test_the_bases_nats_equal_its_log_softmax(saved_family):
    tokenizer = make_tokenizer()
    model = AutoModelForCausalLM.from_pretrained(saved_family("llama")).eval()
    found = base_nll(model, tokenizer, ["the capital of", "the river"], [" red country", " "])
    context = tokenizer.encode("the capital of")
    answer = tokenizer.encode("red country", add_special_tokens=False)
    with torch.inference_mode():
        log_probabilities = model(torch.tensor([context + answer])).logits[0].log_softmax(-1)
    expected = -sum(
        float(log_probabilities[len(context) + place - 1, token]) for place, token in enumerate(answer)
    ) / len(answer)
    assert found[0] == pytest.approx(expected, rel=1e-5)
    assert math.isnan(found[1])


def test_language_is_what_the_bases_answers_to_other_prompts_cost_it(saved_family):
    tokenizer = make_tokenizer()
    model = AutoModelForCausalLM.from_pretrained(saved_family("llama")).eval()
    prompts, answers = ["the capital of", "the river", "a red country"], ["red country", "runs north", " "]
    found = language_nll(model, tokenizer, prompts, answers, [0.0, 99.0, math.nan])
    # The others of the first prompt are the second answer and the empty third.
    assert found[0] == pytest.approx(base_nll(model, tokenizer, prompts[:1], answers[1:2])[0])
    assert found[1] == 99.0  # its own answer costs more than another's
    assert math.isnan(found[2])
    assert language_nll(model, tokenizer, prompts[:1], answers[:1], [2.0]) == [2.0]  # there is no other


def test_three_other_answers_are_averaged(saved_family):
    tokenizer = make_tokenizer()
    model = AutoModelForCausalLM.from_pretrained(saved_family("llama")).eval()
    prompts = ["the capital of", "the river", "a red country", "the old river", "the red country"]
    answers = ["red country", "runs north", "the old river", "of the country", "north"]
    [first, *_] = language_nll(model, tokenizer, prompts, answers, [0.0] * 5)
    others = base_nll(model, tokenizer, prompts[:1] * 3, answers[1:4])
    assert first == pytest.approx(sum(others) / 3)


def test_base_and_result_are_compared_prompt_by_prompt():
    tokenizer = make_tokenizer()
    prompts = ["the capital of", "the river"]
    base = Answers(prompts, ["red country", "runs north"], [1.0, 2.0])
    result = Answers(prompts, ["red country", "old old old old old"], [1.0, 2.0])
    found = compare_fluency(tokenizer, base, result, base.nll)
    assert found.base.score == found.change.before == 1.0
    assert found.result.score == found.change.after == pytest.approx((1 + 1 / 4) / 2)
    assert found.change.stderr == pytest.approx(3 / 8)  # differences of 0 and -3/4
    assert compare_fluency(tokenizer, base, base, base.nll).change.difference == 0.0


def test_a_chat_is_judged_after_its_template(saved_family):
    tokenizer = make_tokenizer(**TOKENIZERS["chat"])
    model = AutoModelForCausalLM.from_pretrained(saved_family("llama")).eval()
    plain, chat = (base_nll(model, tokenizer, ["the river"], ["runs north"], chat=chat) for chat in (False, True))
    assert plain != chat
