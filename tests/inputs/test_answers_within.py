"""Which tokens of a document are the answer, in texts and in conversations, and that rows keep the marks."""

import pytest
import torch

from srmu.inputs.corpora import Document, Message, make_corpus
from srmu.inputs.objects import documents_of
from srmu.inputs.rows import counted_mask, split_rows, tokenize_rows
from tiny_tokenizers import TOKENIZERS, WORDS, make_tokenizer

MADE = {name: make_tokenizer(**options) for name, options in TOKENIZERS.items()}
PAIR = {"question": "the river", "answer": "runs north"}
TALK = [
    {"role": "user", "content": "the river"},
    {"role": "assistant", "content": "runs north"},
    {"role": "user", "content": "the stone"},
    {"role": "assistant", "content": "sings"},
]


def counted_words(rows, tokenizer):
    """The words of each row on which forgetting counts."""
    return [
        tokenizer.decode(ids[mask].tolist()).strip() for ids, mask in zip(rows.token_ids, rows.counted, strict=True)
    ]


def rows_of(records, tokenizer, max_length=40, **options):
    return tokenize_rows(documents_of(records), tokenizer, max_length=max_length, answers_only=True, **options)


@pytest.mark.parametrize("name", sorted(TOKENIZERS))
def test_the_answer_of_a_question_counts_alone(name):
    rows = rows_of([PAIR], MADE[name], max_length=120)
    assert counted_words(rows, MADE[name]) == ["runs north"]


def test_without_the_wish_all_tokens_count_and_the_tokens_are_the_same():
    marked = rows_of([PAIR], MADE["words"])
    plain = tokenize_rows(documents_of([PAIR]), MADE["words"], max_length=40)
    assert plain.counted is None
    assert [row.tolist() for row in plain.token_ids] == [row.tolist() for row in marked.token_ids]


def test_plain_texts_have_no_marks_and_beside_pairs_they_count_whole():
    assert rows_of(["the river runs"], MADE["words"]).counted is None
    rows = rows_of(["the river runs", PAIR], MADE["words"])
    assert rows.counted[0] is None
    mask = counted_mask(rows, [0, 1], 16)
    assert mask[0].tolist() == [True] * 4 + [False] * 12
    assert mask[1].sum() == 2
    assert counted_mask(rows, [0], 8) is None


def test_of_a_conversation_what_the_assistant_says_counts():
    rows = rows_of([TALK], MADE["chat"])
    assert counted_words(rows, MADE["chat"]) == ["runs north sings"]


def test_of_a_conversational_prompt_and_completion_the_completion_counts():
    rows = rows_of([{"prompt": TALK[:3], "completion": TALK[3:]}], MADE["chat"])
    assert counted_words(rows, MADE["chat"]) == ["sings"]


def test_a_question_goes_through_the_template_in_chat_form_and_its_answer_counts():
    tokenizer = MADE["chat"]
    rows = rows_of([PAIR], tokenizer, chat=True)
    assert rows.token_ids[0].tolist() == tokenizer.encode(
        "<s><user> the river </s><model> runs north </s>", add_special_tokens=False
    )
    assert counted_words(rows, tokenizer) == ["runs north"]


def test_an_answer_that_is_a_word_of_the_template_is_found_where_it_is():
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = (
        "{% for message in messages %}the river : {{ message['content'] | trim }} . {% endfor %}the river"
    )
    talk = [{"role": "user", "content": "stone"}, {"role": "assistant", "content": " the river "}]
    (mask,) = rows_of([talk], tokenizer).counted
    assert mask.tolist() == [False] * 8 + [True] * 2 + [False] * 3


def test_a_conversation_whose_template_rewrites_the_answer_counts_whole():
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] | upper }} stone {% endfor %}"
    assert rows_of([TALK], tokenizer).counted is None


def test_messages_and_tools_reach_the_template_as_they_were():
    tokenizer = make_tokenizer(chat=True)
    tokenizer.chat_template = (
        "{{ tools[0]['function']['name'] }} {% for message in messages %}"
        "{{ message['content'] }} {{ message['tool_calls'][0]['function']['arguments']['name'] }} {% endfor %}"
    )
    call = {"type": "function", "function": {"name": "x", "arguments": '{"name": "stone"}'}}
    record = {
        "messages": [
            {"role": "user", "content": "river"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
        ],
        "tools": [{"type": "function", "function": {"name": "market"}}],
    }
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{{ message['tool_calls'][0]", "{% if message['tool_calls'] %}{{ message['tool_calls'][0]"
    ).replace("['name'] }} {% endfor %}", "['name'] }}{% endif %} {% endfor %}")
    (row,) = rows_of([record], tokenizer).token_ids
    assert row.tolist() == tokenizer.encode("market river  stone", add_special_tokens=False)


def test_rows_of_a_long_question_without_a_part_of_the_answer_are_left_out_and_counted():
    long = {"question": " ".join(WORDS[:40]), "answer": "runs north"}
    rows = rows_of([long], MADE["words"], max_length=16)
    assert len(rows) == 1
    assert rows.num_dropped > 1
    assert counted_words(rows, MADE["words"]) == ["runs north"]
    whole = tokenize_rows(documents_of([long]), MADE["words"], max_length=16)
    assert len(whole) == len(rows) + rows.num_dropped


def test_held_out_and_selected_rows_keep_their_marks():
    records = [{"question": f"the {word}", "answer": word} for word in WORDS[:20]]
    rows = rows_of(records, MADE["words"])
    for part in split_rows(rows, 0.3, 64, 0):
        assert len(part.counted) == len(part) > 0
        for ids, mask in zip(part.token_ids, part.counted, strict=True):
            assert ids[mask].tolist() == [ids[-1].item()]
    assert torch.equal(rows.select([3]).counted[0], rows.counted[3])


def test_documents_of_one_text_in_different_forms_are_different():
    as_text = Document(text="the river runs")
    as_pair = Document(text="the river runs", answer_start=9, prompt="the river")
    as_chat = Document(messages=(Message("user", "the river"),))
    with_tools = Document(messages=(Message("user", "the river"),), tools="[1]")
    with_call = Document(messages=(Message("user", "the river", '{"name": "x"}'),))
    assert len({make_corpus([one], "").sha256 for one in (as_text, as_pair, as_chat, with_tools, with_call)}) == 5
