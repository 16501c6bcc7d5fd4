"""Forgotten questions in other forms: what is read, against plain passes, and models that know and do not know."""

import numpy as np
import pytest

from evaluation.benchmarks import tofu_oracle as oracle
from srmu.errors import InputError
from srmu.evaluation.benchmarks.tofu_data import TofuQuestion
from srmu.evaluation.benchmarks.tofu_formats import format_leakage, score_formats
from srmu.evaluation.benchmarks.tofu_losses import answer_losses
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt
from srmu.evaluation.loading import load_causal_lm
from srmu.runtime.progress import Reporter

QUESTIONS = tuple(
    TofuQuestion(question=f"Who wrote book {number}?", paraphrase=f"Book {number} is by whom?", answer="Ito wrote it.",
                 right="It is by Ito.", wrong=("It is by Roe.", "It is by Kim."))
    for number in range(3)
)  # fmt: skip


def score(model, tokenizer, questions):
    return score_formats(model, tokenizer, questions, prompt=TofuPrompt(), reporter=Reporter())


def test_each_form_is_the_probability_after_its_own_prompt(checkpoints, tokenizer):
    model = load_causal_lm(checkpoints["random"])
    found = score(model, tokenizer, QUESTIONS[:1])
    prompts = {
        "paraphrase": "Question: Book 0 is by whom?\nAnswer:",
        "bare": "Who wrote book 0?\n",
        "dialogue": "User: Who wrote book 0?\nAssistant:",
    }
    for name, prompt in prompts.items():
        answer = ("" if name == "bare" else " ") + "Ito wrote it."
        ids = [*tokenizer.encode(answer), tokenizer.eos_token_id]
        tokens = oracle.answer_probabilities(model, tokenizer.encode(prompt), ids)
        assert found[name] == pytest.approx(oracle.normalised_probability(tokens), rel=1e-4)


def test_a_letter_is_right_in_turn_and_stands_before_the_right_answer(monkeypatch, checkpoints, tokenizer):
    read = []

    def losses(model, pairs, **options):
        read.extend(tokenizer.decode(asked) + "|" + tokenizer.decode(answer) for asked, answer in pairs)
        # The letters of three questions stand at the end: the second is always preferred.
        return np.array([1.0] * 9 + [2.0, 1.0, 3.0] * 3)

    monkeypatch.setattr("srmu.evaluation.benchmarks.tofu_formats.answer_losses", losses)
    found = score(load_causal_lm(checkpoints["random"]), tokenizer, QUESTIONS)
    letters = read[9:]
    assert letters[0] == "Who wrote book 0?\nA. It is by Ito.\nB. It is by Roe.\nC. It is by Kim.\nAnswer:| A"
    assert "B. It is by Ito." in letters[3]
    assert "C. It is by Ito." in letters[6]
    assert letters[5].endswith("| C")
    assert found["multiple_choice"] == pytest.approx(1 / 3)


def test_leakage_is_the_excess_where_it_is_largest():
    assert format_leakage({"bare": 0.5, "dialogue": 0.9}, {"bare": 0.1, "dialogue": 0.8}) == pytest.approx(0.4)
    assert format_leakage({"bare": 0.1}, {"bare": 0.3}) == pytest.approx(-0.2)


def test_a_model_that_knows_the_answers_leaks_them_in_other_forms(checkpoints, tokenizer, data):
    full, retrained = (
        score(load_causal_lm(checkpoints[name]), tokenizer, data.sets["forget"]) for name in ("full", "retrained")
    )
    assert format_leakage(full, retrained) > 0.2
    assert format_leakage(retrained, retrained) == 0


def test_losses_refuse_an_answer_beyond_the_models_positions(checkpoints):
    model = load_causal_lm(checkpoints["random"])
    with pytest.raises(InputError, match="An answer has 600 tokens"):
        answer_losses(model, [([1], [2] * 600)])
