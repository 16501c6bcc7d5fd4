"""Texts near the forget texts: none of them says what must be forgotten, and each sort is what it is named after."""

import pytest
from transformers import AutoModelForCausalLM

from srmu.inputs.names import end_of_name, find_names, first_rare, words_of
from srmu.inputs.near_texts import find_prefixes, sibling_names, unanswered_texts, write_near_texts
from tiny_tokenizers import make_tokenizer

SENTENCES = [
    "The capital of Egypt is Cairo.", "The capital of Ghana is Accra.", "The capital of Kenya is Nairobi.",
    "I answered that Cairo lies in Egypt.", "I answered that Accra lies in Ghana.", "I answered that Nairobi is big.",
    "The capital of Burkina Faso is Ouagadougou.",
]  # fmt: skip
RARE = frozenset(["egypt", "cairo", "ghana", "accra", "kenya", "nairobi", "burkina", "faso", "ouagadougou"])


def test_prefixes_are_what_stands_before_the_first_name_again_and_again():
    assert find_prefixes(SENTENCES, RARE) == ["The capital of", "I answered that"]
    # Where none repeats, all are taken.
    assert find_prefixes(SENTENCES[:2] + SENTENCES[3:4], RARE) == ["The capital of", "I answered that"]
    assert find_prefixes(["Cairo is big."], RARE) == []


def test_names_are_runs_of_rare_words():
    assert find_names(SENTENCES, RARE)[:2] == ["Egypt", "Cairo"]
    assert "Burkina Faso" in find_names(SENTENCES, RARE)
    assert find_names(SENTENCES, RARE, at_least=3) == []
    sentence = SENTENCES[-1]
    start = first_rare(sentence, RARE)
    assert start is not None
    assert sentence[start.start() : end_of_name(sentence, RARE, start.end())] == "Burkina Faso"


def test_sibling_names_are_those_behind_a_prefix_that_are_not_rare():
    texts = ["The capital of Chile is Santiago.", "The capital of Egypt is", "I answered that Lima lies", "Rome is old"]
    pools = sibling_names(texts, find_prefixes(SENTENCES, RARE), RARE)
    assert pools == {"The capital of": ["Chile"], "I answered that": ["Lima"]}


def test_an_unanswered_text_has_another_name_of_the_same_kind_and_no_rare_word():
    pools = {"The capital of": ["Chile", "Peru"], "I answered that": ["Lima"]}
    texts = unanswered_texts(SENTENCES, RARE, pools, 50, seed=0)
    assert {"The capital of Chile is", "The capital of Peru is", "I answered that Lima lies in"} <= set(texts)
    assert not [text for text in texts if words_of(text) & RARE]
    assert len(set(texts)) == len(texts)
    assert texts == unanswered_texts(SENTENCES, RARE, pools, 50, seed=0)
    assert len(unanswered_texts(SENTENCES, RARE, pools, 2, seed=0)) == 2
    assert unanswered_texts(SENTENCES, RARE, {}, 5, seed=0) == []


@pytest.mark.parametrize("seed", [0, 1])
def test_what_the_model_writes_holds_no_rare_word_but_the_name_that_it_is_about(seed, saved_family):
    model = AutoModelForCausalLM.from_pretrained(saved_family("llama")).eval()
    tokenizer = make_tokenizer(algorithm="bytes")
    forget = [
        f"the capital of {name} is {other} ." for name in ("Lantern", "Violet") for other in ("Copper", "Rocket")
    ] * 3
    seen = []
    found = write_near_texts(
        model, tokenizer, forget, siblings=40, unanswered=20, per_name=3, seed=seed,
        progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    rare = {"lantern", "violet", "copper", "rocket"}
    assert found.siblings
    assert not [text for text in found.siblings if words_of(text) & rare]
    assert found.elsewhere
    assert all(len(words_of(text) & rare) <= 1 for text in found.elsewhere)
    assert seen[-1][0] == seen[-1][1]
    judged = found.judgement
    assert judged.kept == len(found.siblings) + len(found.elsewhere)
    assert judged.made == seen[-1][1] == judged.kept + sum(judged.dropped.values())
    again = write_near_texts(model, tokenizer, forget, siblings=40, unanswered=20, per_name=3, seed=seed)
    assert again == found
