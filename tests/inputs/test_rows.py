import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srmu.errors import InputError
from srmu.inputs.corpora import Document, corpus_from_strings, make_corpus
from srmu.inputs.rows import TokenRows, bucket_length, pad_batch, split_heldout, split_rows, tokenize_rows
from tiny_tokenizers import TOKENIZERS, WORDS, make_tokenizer

CHAT = [{"role": "user", "content": "the river"}, {"role": "assistant", "content": "runs north"}]
MADE = {name: make_tokenizer(**options) for name, options in TOKENIZERS.items()}
sentences = st.lists(st.sampled_from(WORDS), min_size=1, max_size=90).map(" ".join)


def corpus_of(*texts):
    return corpus_from_strings(list(texts), "forget")


def lists(rows):
    return [row.tolist() for row in rows.token_ids]


def numbered_rows(*lengths_of_documents):
    """Rows of different content, so many for each document."""
    document_ids = [number for number, count in enumerate(lengths_of_documents) for _ in range(count)]
    token_ids = tuple(torch.tensor([7, row_id], dtype=torch.int32) for row_id in range(len(document_ids)))
    return TokenRows(token_ids, tuple(document_ids))


@given(
    texts=st.lists(sentences, min_size=1, max_size=4),
    max_length=st.integers(4, 60),
    name=st.sampled_from(sorted(TOKENIZERS)),
)
def test_splitting_loses_no_token_and_leaves_no_tiny_row(texts, max_length, name):
    tokenizer = MADE[name]
    front = [tokenizer.bos_token_id] if "no_bos" not in name else []
    texts = [f"{text} stone" for text in texts]  # two tokens at least, with or without BOS
    rows = tokenize_rows(corpus_of(*texts), tokenizer, max_length=max_length)
    assert rows.num_dropped == 0
    for position, text in enumerate(texts):
        mine = [row for row, owner in zip(lists(rows), rows.document_ids, strict=True) if owner == position]
        assert all(row[: len(front)] == front for row in mine)
        body = [token for row in mine for token in row[len(front) :]]
        assert body == tokenizer.encode(text, add_special_tokens=False)
        sizes = [len(row) for row in mine]
        assert max(sizes) <= max_length
        assert max(sizes) - min(sizes) <= 1
        assert min(sizes) >= 2


def test_rows_keep_the_order_of_their_documents_beyond_one_encoding_batch():
    texts = [f"{WORDS[number % 60]} stone {WORDS[number // 60]}" for number in range(600)]
    rows = tokenize_rows(corpus_of(*texts), MADE["words"], max_length=8)
    assert rows.document_ids == tuple(range(600))
    assert lists(rows) == [MADE["words"].encode(text) for text in texts]


def test_cut_keeps_the_first_row_of_a_document():
    text = " ".join(WORDS[:30])
    rows = tokenize_rows(corpus_of(text, "the sea"), MADE["words"], max_length=10, long_documents="cut")
    assert lists(rows)[0] == MADE["words"].encode(text)[:10]
    assert rows.document_ids == (0, 1)


def test_padding_and_truncation_settings_of_the_tokenizer_do_not_matter():
    texts = (" ".join(WORDS[:40]), "the river")
    plain = tokenize_rows(corpus_of(*texts), make_tokenizer(), max_length=16)
    awkward = make_tokenizer(has_pad=False, padding_side="left")
    awkward.truncation_side = "left"
    awkward.model_max_length = 5
    awkward.backend_tokenizer.enable_truncation(5)
    awkward.backend_tokenizer.enable_padding(length=50)
    assert lists(tokenize_rows(corpus_of(*texts), awkward, max_length=16)) == lists(plain)


def test_an_end_token_closes_the_document_only():
    from tokenizers import processors

    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    rows = lists(tokenize_rows(corpus_of(" ".join(WORDS[:20])), tokenizer, max_length=12))
    assert [row[0] for row in rows] == [1, 1]
    assert [row.count(2) for row in rows] == [0, 1]
    assert rows[-1][-1] == 2


def test_a_text_of_one_token_is_dropped_and_counted_where_nothing_stands_before_it():
    texts = corpus_of("stone", "the river")
    assert tokenize_rows(texts, MADE["no_bos"], max_length=8).num_dropped == 1
    assert tokenize_rows(texts, MADE["no_bos"], max_length=8).document_ids == (1,)
    assert tokenize_rows(texts, MADE["words"], max_length=8).num_dropped == 0


def test_texts_that_leave_no_row_are_refused():
    with pytest.raises(InputError, match="none of the 2 documents has 2 tokens"):
        tokenize_rows(corpus_of("stone", "river"), MADE["no_bos"], max_length=8)


def test_rows_too_short_to_split_into_are_refused():
    with pytest.raises(InputError, match=r"max_length=3 is too short for a row. Choose 4 or more"):
        tokenize_rows(corpus_of("the river"), MADE["words"], max_length=3)


def test_chats_go_through_the_template():
    tokenizer = MADE["chat"]
    rows = tokenize_rows(corpus_of(CHAT, "the river"), tokenizer, max_length=32)
    expected = "<s><user> the river </s><model> runs north </s>"
    assert lists(rows)[0] == tokenizer.encode(expected, add_special_tokens=False)
    assert lists(rows)[1] == tokenizer.encode("the river")


def test_with_chat_a_plain_text_is_a_user_message():
    tokenizer = MADE["chat"]
    rows = tokenize_rows(corpus_of("the river"), tokenizer, max_length=32, chat=True)
    assert lists(rows) == [tokenizer.encode("<s><user> the river </s>", add_special_tokens=False)]


def test_a_long_chat_is_split_with_one_beginning_token_a_row():
    content = " ".join(WORDS[:30])
    rows = lists(tokenize_rows(corpus_of(content), MADE["chat"], max_length=12, chat=True))
    assert [row.count(1) for row in rows] == [1] * len(rows)
    body = [token for row in rows for token in row[1:]]
    assert body == MADE["chat"].encode(f"<user> {content} </s>", add_special_tokens=False)


def test_chats_without_a_template_are_refused():
    with pytest.raises(InputError, match="document 2: chats need a chat template"):
        tokenize_rows(corpus_of("the river", CHAT), MADE["words"], max_length=32)


def test_a_chat_that_the_template_refuses_is_named():
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = "{{ raise_exception('roles must alternate') }}"
    with pytest.raises(InputError, match=r"document 1: .*roles must alternate"):
        tokenize_rows(corpus_of(CHAT), tokenizer, max_length=32)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused():
    largest = max(MADE["words"].encode("the river sings"))
    tokenize_rows(corpus_of("the river sings"), MADE["words"], max_length=8, vocab_size=largest + 1)
    with pytest.raises(InputError, match=f"does not fit the model: it gives id {largest} for 'sings'"):
        tokenize_rows(corpus_of("the river sings"), MADE["words"], max_length=8, vocab_size=largest)


@given(length=st.integers(1, 2000), spare=st.integers(0, 500))
def test_a_bucket_holds_its_row_with_little_padding(length, spare):
    padded = bucket_length(length, length + spare)
    assert length <= padded <= length + spare
    assert padded - length < max(8, length / 4)


def test_buckets_are_few():
    assert [bucket_length(length, 1000) for length in (1, 8, 9, 64, 65, 129, 257)] == [
        4,
        8,
        12,
        64,
        68,
        136,
        272,
    ]
    assert len({bucket_length(length, 512) for length in range(1, 513)}) == 64


@pytest.mark.parametrize("length", [0, 33])
def test_a_row_that_no_bucket_can_hold_is_refused(length):
    with pytest.raises(ValueError, match="out of range"):
        bucket_length(length, 32)


def test_batches_are_padded_on_the_right_and_the_mask_says_where():
    rows = TokenRows((torch.tensor([5, 6, 7], dtype=torch.int32), torch.tensor([8, 9], dtype=torch.int32)), (0, 1))
    batch = pad_batch(rows, [1, 0], length=4, pad_id=3)
    assert batch.token_ids.tolist() == [[8, 9, 3, 3], [5, 6, 7, 3]]
    assert batch.token_ids.dtype == torch.int64
    assert batch.real_mask.tolist() == [[True, True, False, False], [True, True, True, False]]
    assert batch.row_ids == (1, 0)
    assert pad_batch(rows, [1]).token_ids.tolist() == [[8, 9]]
    with pytest.raises(ValueError, match="longest row of the batch has 3 tokens"):
        pad_batch(rows, [0], length=2)


@given(count=st.integers(2, 60), share=st.floats(0.01, 0.9), seed=st.integers(0, 5), at_most=st.integers(1, 20))
def test_held_out_documents_are_apart_and_the_rest_keeps_its_order(count, share, seed, at_most):
    corpus = make_corpus([Document(f"text {number}") for number in range(count)], "somewhere", 3)
    training, heldout = split_heldout(corpus, share, seed, at_most=at_most)
    assert len(heldout.documents) == min(max(1, round(share * count)), at_most, count - 1)
    assert [document for document in corpus.documents if document not in heldout.documents] == list(training.documents)
    assert len(training.documents) + len(heldout.documents) == count
    assert training.num_dropped == 3


def test_what_is_held_out_depends_on_content_and_seed_not_on_order():
    documents = [Document(f"text {number}") for number in range(40)]
    picks = {seed: split_heldout(make_corpus(documents, ""), 0.2, seed)[1].documents for seed in (0, 1)}
    assert set(picks[0]) == set(split_heldout(make_corpus(documents[::-1], ""), 0.2, 0)[1].documents)
    assert set(picks[0]) != set(picks[1])


def test_equal_documents_stay_on_one_side():
    documents = [Document(f"text {number % 10}") for number in range(40)]
    training, heldout = split_heldout(make_corpus(documents, ""), 0.25, 0)
    assert heldout.documents
    assert not set(training.documents) & set(heldout.documents)


def test_of_one_document_none_is_held_out():
    training, heldout = split_heldout(corpus_of("one"), 0.5, 0)
    assert training.documents == (Document("one"),)
    assert heldout.documents == ()


def test_a_share_of_nothing_holds_nothing_out_and_a_share_of_all_is_refused():
    assert split_heldout(corpus_of("one", "two"), 0.0, 0)[1].documents == ()
    with pytest.raises(ValueError, match="share=1"):
        split_heldout(corpus_of("one", "two"), 1.0, 0)


def test_rows_are_held_out_by_document_where_there_are_eight():
    rows = numbered_rows(*[3] * 20)
    training, heldout = split_rows(rows, 0.2, 64, 0)
    assert len(heldout) == 12
    assert not set(training.document_ids) & set(heldout.document_ids)
    assert sorted(lists(training) + lists(heldout)) == lists(rows)


@pytest.mark.parametrize("documents", [(50,), (10, 10, 10), [100] * 10])
def test_rows_are_held_out_one_by_one_where_documents_are_few_or_too_long(documents):
    rows = numbered_rows(*documents)
    training, heldout = split_rows(rows, 0.1, 8, 0)
    assert len(heldout) == min(8, len(rows) // 10)
    assert sorted(lists(training) + lists(heldout)) == lists(rows)


def test_splitting_rows_is_deterministic_and_follows_the_seed():
    rows = numbered_rows(*[2] * 30)
    picks = [lists(split_rows(rows, 0.2, 64, seed)[1]) for seed in (0, 0, 1)]
    assert picks[0] == picks[1]
    assert picks[0] != picks[2]


def test_of_one_row_none_is_held_out():
    training, heldout = split_rows(numbered_rows(1), 0.5, 8, 0)
    assert (len(training), len(heldout)) == (1, 0)


def test_equal_rows_stay_on_one_side_and_the_dropped_count_is_kept():
    same = torch.tensor([1, 2], dtype=torch.int32)
    other = torch.tensor([1, 3], dtype=torch.int32)
    training, heldout = split_rows(TokenRows((same, same, same, other), (0, 0, 0, 0), 5), 0.5, 8, 0)
    assert {len(training), len(heldout)} == {1, 3}
    assert training.num_dropped == 5
    assert split_rows(TokenRows((same, same), (0, 0)), 0.5, 8, 0)[1].token_ids == ()
