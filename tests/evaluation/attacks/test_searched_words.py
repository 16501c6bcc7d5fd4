"""Words found by gradient: what is searched, what a search finds, and what it does not."""

import dataclasses

import pytest
import torch

from evaluation.attacks.conftest import SUBJECTS
from srmu.evaluation.attacks.cells import Cells, CellsFile
from srmu.evaluation.attacks.gcg import (
    NUM_WORDS,
    Vocabulary,
    best_place,
    candidate_losses,
    draw_candidates,
    gcg,
    replacement_scores,
    rows_of,
    with_words,
)
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.attacks.setting import fact_of, right_answer
from srmu.evaluation.encoding import encode_pairs


def cells():
    return Cells(CellsFile(None), "x")


def rights(setting):
    return {fact_of(question): right_answer(question) for question in setting.given}


def test_only_words_that_are_one_token_are_searched_and_the_seed_draws_the_first(make_setting, knowing):
    tokenizer = make_setting(knowing, knowing).tokenizer
    vocabulary = Vocabulary.of(tokenizer)
    assert {"capital", SUBJECTS["kept"][0]} <= set(vocabulary.words)
    assert not set(vocabulary.token_ids.tolist()) & set(tokenizer.all_special_ids)
    other = Vocabulary.of(tokenizer, [f"The {SUBJECTS['kept'][0].upper()} of"])
    assert set(vocabulary.words) - set(other.words) == {"the", SUBJECTS["kept"][0]}
    assert vocabulary.draw(0) == vocabulary.draw(0) != vocabulary.draw(1)
    text = vocabulary.text(vocabulary.draw(0))
    assert tokenizer.encode(f"a {text}")[-NUM_WORDS:] == vocabulary.token_ids[vocabulary.draw(0)].tolist()


def test_a_tokenizer_without_words_of_one_token_does_not_allow_the_search(make_setting, knowing):
    class Bytes:
        all_special_ids = ()

        def __len__(self):
            return 3

        def decode(self, token_ids):
            return "xyz"

        def encode(self, text):
            return [0]

        def __call__(self, texts):
            return {"input_ids": [[0, 1, 2] for _ in texts]}

    with pytest.raises(NotApplicable, match="single token"):
        Vocabulary.of(Bytes())


@pytest.mark.parametrize("place", ["behind", "before"])
def test_rows_are_the_token_ids_of_what_is_asked(make_setting, knowing, place):
    setting = make_setting(knowing, knowing)
    vocabulary = Vocabulary.of(setting.tokenizer)
    first, second = vocabulary.draw(0), vocabulary.draw(1)
    rows = rows_of(setting.tokenizer, setting.given, vocabulary.text(first), place, rights(setting))
    asked = with_words(setting.given, vocabulary.text(second), place)
    for row, question in zip(rows, asked, strict=True):
        (expected,) = encode_pairs(setting.tokenizer, question.prompt, [" " + right_answer(question)])
        assert row.pair(vocabulary.token_ids[second].tolist()) == expected


def test_the_gradient_ranks_replacements_as_small_steps_towards_them_do(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    model = setting.subjects["base"].fresh("float32").requires_grad_(False)
    vocabulary = Vocabulary.of(setting.tokenizer)
    words = vocabulary.draw(0)
    rows = rows_of(setting.tokenizer, setting.given[:4], vocabulary.text(words), "before", rights(setting))
    scores = replacement_scores(model, rows, vocabulary, words)
    assert scores.shape == (NUM_WORDS, len(vocabulary.words))

    from srmu.evaluation.attacks.soft_prompt import answer_loss, soft_prompted

    choices, share = model.get_input_embeddings()(vocabulary.token_ids).detach(), 1e-3

    def loss(vectors):
        with torch.no_grad(), soft_prompted(model, vectors) as first_id:
            return float(answer_loss(model, [row.pair(range(first_id, first_id + NUM_WORDS)) for row in rows]))

    plain = choices[words]
    for place, word in ((0, 3), (NUM_WORDS - 1, 5)):
        moved = plain.clone()
        moved[place] += share * (choices[word] - plain[place])
        slope = (loss(moved) - loss(plain)) / share
        assert slope == pytest.approx(float(scores[place, words[place]] - scores[place, word]), rel=0.05, abs=2e-3)


def test_candidates_change_one_word_to_one_of_the_best(make_setting, knowing):
    words, scores = list(range(NUM_WORDS)), torch.arange(NUM_WORDS * 200.0).reshape(NUM_WORDS, 200)
    generator = torch.Generator().manual_seed(0)
    for candidate in draw_candidates(words, scores, 50, generator):
        changed = [new for old, new in zip(words, candidate, strict=True) if old != new]
        assert len(changed) == 1
        assert changed[0] >= 200 - 64


def test_losses_of_candidates_are_those_of_asking_with_their_words(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    model, vocabulary = setting.subjects["base"].model(), Vocabulary.of(setting.tokenizer)
    tried = [vocabulary.draw(seed) for seed in (0, 1)]
    rows = rows_of(setting.tokenizer, setting.given[:3], vocabulary.text(tried[0]), "before", rights(setting))
    losses = candidate_losses(model, rows, vocabulary, tried)
    for words, loss in zip(tried, losses, strict=True):
        asked = with_words(setting.given[:3], vocabulary.text(words), "before")
        found = setting.ask(model, asked).log_likelihoods
        expected = -sum(values[question.answer] for values, question in zip(found, asked, strict=True))
        assert loss == pytest.approx(expected, rel=1e-4)


def test_the_place_is_the_one_that_leaves_the_base_more(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    # A sentence that is broken off before its answer says nothing any more; behind other words it does.
    assert best_place(setting, Vocabulary.of(setting.tokenizer).text([0] * NUM_WORDS)) == "before"


@pytest.mark.slow
def test_a_search_finds_words_that_open_what_is_locked_and_nothing_where_nothing_is(
    make_setting, knowing, locked, twin
):
    setting = make_setting(knowing, locked)
    budget = dataclasses.replace(setting.budget, search_steps=(8, 16), search_candidates=32)
    record = gcg(dataclasses.replace(setting, budget=budget), cells())
    assert [point.at for point in record.sweep] == [8, 16]
    assert record.settings["place"] == "before"
    assert record.base_after > 0.85
    assert record.forget_after > record.forget_before + 0.2
    never = gcg(dataclasses.replace(make_setting(knowing, twin), budget=budget), cells())
    assert never.base_after > 0.85
    assert max(*(point.forget for point in never.sweep), never.control.forget) <= 0.5
