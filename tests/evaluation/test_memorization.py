"""Extraction strength and exact memorisation, against greedy decoding itself."""

import numpy as np
import pytest
import torch

from families import FAMILIES
from srmu.errors import InputError
from srmu.evaluation.memorization import (
    exact_memorization,
    extraction_strength,
    memorization_of_answers,
    memorization_of_texts,
)
from srmu.evaluation.texts import text_scores
from srmu.inputs.completions import Completion
from tiny_tokenizers import WORDS, make_tokenizer


@pytest.mark.parametrize(
    ("right", "steering_coefficient", "share"),
    [
        ([True] * 4, 1.0, 1.0),
        ([False, True, True, True], 0.75, 0.75),
        ([True, True, True, False], 0.0, 0.75),
        ([True, False, True, True], 0.5, 0.75),
        ([False], 0.0, 0.0),
    ],
)
def test_both_measures_as_counted_by_hand(right, steering_coefficient, share):
    assert extraction_strength(np.array(right)) == steering_coefficient
    assert exact_memorization(np.array(right)) == share


def greedy(model, ids, count):
    for _ in range(count):
        with torch.no_grad():
            ids = [*ids, int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())]
    return ids


def written(model, tokenizer, prompt, count):
    ids = tokenizer.encode(prompt)
    return tokenizer.decode(greedy(model, ids, count)[len(ids) :])


@pytest.mark.parametrize("wrong_at", [None, 3, 7])
def test_extraction_strength_of_a_text_is_what_greedy_decoding_writes(wrong_at):
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    ids = greedy(model, [1, 10], 8)
    if wrong_at is not None:
        ids[wrong_at] = (ids[wrong_at] + 1) % 90
    shortest = next(given for given in range(1, 11) if greedy(model, ids[:given], 10 - given) == ids)
    (steering_coefficient,) = memorization_of_texts(text_scores(model, tokenizer, [ids])).extraction_strength
    # The first token is given whatever the model says: 9 are predicted.
    assert steering_coefficient == pytest.approx(1 - (shortest - 1) / 9)


def test_of_an_answer_only_its_own_tokens_are_judged():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    # The model has more tokens than there are words: take a prompt that it continues with three of them.
    prompt, answer = next(
        (prompt, words)
        for prompt in WORDS
        if len(words := [word for word in written(model, tokenizer, prompt, 3).split() if word in WORDS]) == 3
    )
    last = next(word for word in WORDS if word != answer[2])
    pairs = [
        Completion(prompt=prompt, answer=" ".join(answer)),
        Completion(prompt=prompt, answer=" ".join([*answer[:2], last])),
    ]
    scores = memorization_of_answers(model, tokenizer, pairs)
    assert scores.extraction_strength.tolist() == [1.0, 0.0]
    np.testing.assert_allclose(scores.exact_memorization, [1.0, 2 / 3])


def test_chat_form_without_a_template_is_refused():
    with pytest.raises(InputError, match="no chat template"):
        memorization_of_answers(
            FAMILIES["llama"].build(), make_tokenizer(), [Completion(prompt="a", answer="red")], chat=True
        )


def test_texts_without_a_predicted_token_do_not_count():
    scores = text_scores(FAMILIES["llama"].build(), make_tokenizer(), [[1], [1, 10, 11]])
    assert len(memorization_of_texts(scores).extraction_strength) == 1
