"""Packing: how sentences were cut into documents plays no part, rows stay within their length, chats stand alone."""

import random

import pytest

from srmu.inputs.corpora import corpus_from_strings, make_corpus
from srmu.inputs.documents import Document, Message
from srmu.inputs.packing import pack_documents
from srmu.inputs.rows import tokenize_rows
from tiny_tokenizers import TOKENIZERS, WORDS, make_tokenizer

SENTENCES = [" ".join(random.Random(number).choices(WORDS, k=3 + number % 5)) for number in range(40)]


def cut(per_document: int) -> list[str]:
    """The same sentences, so many in a document."""
    return [" ".join(SENTENCES[start : start + per_document]) for start in range(0, len(SENTENCES), per_document)]


def packed_rows(texts: list[str], tokenizer, max_length: int = 32) -> list[list[int]]:
    corpus = pack_documents(corpus_from_strings(texts, "forget"), tokenizer, max_length)
    return [row.tolist() for row in tokenize_rows(corpus, tokenizer, max_length=max_length).token_ids]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("per_document", [1, 2, 4])
def test_rows_are_full_and_lose_nothing_however_the_texts_are_cut(kind, per_document):
    tokenizer = make_tokenizer(**TOKENIZERS[kind])
    rows = packed_rows(cut(per_document), tokenizer)
    bare = [token for row in rows for token in row if token not in (tokenizer.bos_token_id, tokenizer.eos_token_id)]
    spaced = [" " + text if place else text for place, text in enumerate(SENTENCES)]
    assert max(map(len, rows)) <= 32
    everything = sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in spaced)
    assert abs(len(bare) - everything) <= len(rows)
    # Only what did not fit any more is missing in each row but the last: less than the next document.
    longest = max(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in cut(per_document))
    assert all(len(row) > 32 - longest - 2 for row in rows[:-1])


def test_the_four_cuttings_have_rows_of_nearly_the_same_length():
    tokenizer = make_tokenizer()
    means = []
    for texts in (cut(1), cut(2), cut(4), [" ".join(SENTENCES)]):
        lengths = [len(row) for row in packed_rows(texts, tokenizer, 64)]
        means.append(sum(lengths) / len(lengths))
    assert max(means) - min(means) < 8
    # Without packing they differ by far.
    alone = tokenize_rows(corpus_from_strings(cut(1), "forget"), tokenizer, max_length=64).lengths
    assert sum(alone) / len(alone) < min(means) / 4


def test_chats_and_answers_that_count_alone_are_left_as_they_are_and_order_is_kept():
    tokenizer = make_tokenizer(chat=True)
    chat = Document(messages=(Message("user", "the river"), Message("model", "runs north")))
    pair = Document(text="the capital is red", answer_start=15, prompt="the capital is")
    documents = [
        Document(text="stone"),
        Document(text="cloud"),
        chat,
        Document(text="river"),
        pair,
        Document(text="sea"),
    ]
    corpus = make_corpus(documents, "forget")
    packed = pack_documents(corpus, tokenizer, 32)
    expected = [Document(text="stone cloud"), chat, Document(text="river"), pair, Document(text="sea")]
    assert list(packed.documents) == expected
    assert (packed.sha256, packed.source) == (corpus.sha256, corpus.source)


def test_a_document_that_fills_a_row_is_not_touched():
    tokenizer = make_tokenizer()
    long = " ".join(WORDS[:40])
    packed = pack_documents(corpus_from_strings([long, "stone", long], "forget"), tokenizer, 32)
    assert [document.text for document in packed.documents] == [long, "stone", long]
