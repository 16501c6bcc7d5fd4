"""The model's own retain texts: same seed same texts, rare forget words kept out, always as many as asked."""

import pytest

from families import FAMILIES
from srmu.inputs.self_written import find_rare_words, find_start_token, write_self_texts
from tiny_tokenizers import TOKENIZERS, make_tokenizer


@pytest.mark.parametrize("kind", ["words", "no_bos_no_pad_left", "chat"])
def test_same_seed_gives_the_same_texts_and_another_others(kind):
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer(**TOKENIZERS[kind])
    arguments = {"rows": 10, "tokens": 12, "batch": 4}
    texts = write_self_texts(model, tokenizer, seed=0, **arguments)
    assert len(texts) == 10
    assert all(texts)
    assert write_self_texts(model, tokenizer, seed=0, **arguments) == texts
    assert write_self_texts(model, tokenizer, seed=1, **arguments) != texts


def test_chat_texts_stand_inside_the_template():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer(chat=True)
    texts = write_self_texts(model, tokenizer, rows=12, tokens=12, batch=6, seed=0)
    inside = [text for text in texts if text.startswith("<user>") and "<model>" in text]
    assert 2 <= len(inside) <= 6
    # The tokenizer adds the BOS itself, so the text must not hold a second one.
    assert all(tokenizer.encode(text).count(tokenizer.bos_token_id) == 1 for text in inside)


def test_rare_words_are_names_and_long_tailed_words_only():
    tokenizer = make_tokenizer()
    forget = [
        "The capital of Copper is Violet, near north.",
        "We saw Violet. And violet runs.",
        "a in of 123456",
    ]
    rare = find_rare_words(forget, ["and we saw the north"] * 3, tokenizer)
    assert {"copper", "violet"} <= rare
    assert not rare & {"the", "capital", "of", "north", "runs", "we", "saw", "and"}


def test_what_stands_in_ordinary_texts_is_not_rare():
    tokenizer, forget = make_tokenizer(), ["the city of Copper in Violet"]
    assert find_rare_words(forget, ["copper runs", "old copper", "new copper"], tokenizer) == {"violet"}


def test_texts_with_rare_words_are_dropped_while_others_can_be_written(monkeypatch):
    """The tiny model writes every word; names among its rarer ones must be gone from the result."""
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    monkeypatch.setattr("srmu.inputs.names._ORDINARY_SHARE", 1.0)
    arguments = {"rows": 20, "tokens": 10, "batch": 10, "seed": 0}
    forget = ["we see Lantern and Harbour"]
    plain = write_self_texts(model, tokenizer, **arguments)
    assert any({"lantern", "harbour"} & set(text.split()) for text in plain)
    clean = write_self_texts(model, tokenizer, forget_texts=forget, **arguments)
    assert len(clean) == 20
    assert not any({"lantern", "harbour"} & set(text.split()) for text in clean)


def test_rows_are_reached_even_if_every_text_has_a_rare_word(monkeypatch):
    model, tokenizer, calls = FAMILIES["llama"].build(), make_tokenizer(), []
    monkeypatch.setattr("srmu.inputs.names._ORDINARY_SHARE", 2.0)
    vocabulary = " ".join(word.capitalize() for word in tokenizer.get_vocab())
    texts = write_self_texts(
        model, tokenizer, rows=6, tokens=10, batch=6, seed=0, forget_texts=["we see " + vocabulary],
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert len(texts) == 6
    assert len(calls) == 4


def test_the_start_is_what_the_tokenizer_adds_or_else_a_separator():
    assert find_start_token(make_tokenizer()) == 1
    assert find_start_token(make_tokenizer(adds_bos=False)) == 1
    tokenizer = make_tokenizer(adds_bos=False)
    tokenizer.add_tokens(["<|endoftext|>"])
    assert find_start_token(tokenizer) == tokenizer.convert_tokens_to_ids("<|endoftext|>")
