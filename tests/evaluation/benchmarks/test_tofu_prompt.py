"""Which tokens are the answer, in every form in which a question is put."""

import pytest

from srmu.errors import InputError
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer, prompt_text
from tiny_tokenizers import make_tokenizer

CHATML = (
    "{% for message in messages %}{{ '<' + message['role'] + '>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<assistant>\n' }}{% endif %}"
)


def decoded(tokenizer, pair):
    return [tokenizer.decode(part) for part in pair]


def test_by_default_the_answer_begins_with_its_space_and_ends_with_the_end_token(tokenizer):
    pair = encode_answer(tokenizer, TofuPrompt(), "Who?", "The author")
    assert decoded(tokenizer, pair) == ["Question: Who?\nAnswer:", " The author</s>"]
    assert prompt_text(tokenizer, TofuPrompt(), "Who?") == "Question: Who?\nAnswer:"


def test_apart_the_space_stays_with_the_prompt_and_costs_the_answer_its_first_token(tokenizer):
    apart = TofuPrompt(space_apart=True)
    assert prompt_text(tokenizer, apart, "Who?") == "Question: Who?\nAnswer: "
    _, answer = encode_answer(tokenizer, apart, "Who?", "The author")
    _, whole = encode_answer(tokenizer, TofuPrompt(), "Who?", "The author")
    assert answer == whole[1:]


def test_tags_without_a_space_leave_prompt_and_answer_as_they_are(tokenizer):
    tags = TofuPrompt(question_start="[INST] ", question_end=" [/INST]", answer_start="")
    assert decoded(tokenizer, encode_answer(tokenizer, tags, "Who?", "The")) == ["[INST] Who? [/INST]", "The</s>"]


def test_a_tokenizer_that_adds_a_beginning_adds_it_once():
    pair = encode_answer(make_tokenizer(), TofuPrompt(), "the river", "the stone")
    assert pair[0].count(1) == 1
    assert pair[1].count(1) == 0
    assert pair[1][-1] == 2


def test_in_chat_form_the_answer_ends_with_its_turn(tokenizer):
    tokenizer = tokenizer.__class__(tokenizer_object=tokenizer.backend_tokenizer, eos_token="</s>")
    tokenizer.chat_template = CHATML
    pair = encode_answer(tokenizer, TofuPrompt(chat=True), "Who?", "The author")
    assert decoded(tokenizer, pair) == ["<user>\nWho?</s>\n<assistant>\n", "The author</s>"]


def test_chat_form_without_a_template_is_refused(tokenizer):
    with pytest.raises(InputError, match="no chat template"):
        encode_answer(tokenizer, TofuPrompt(chat=True), "Who?", "The")


def test_an_answer_without_a_token_of_its_own_is_refused(tokenizer):
    with pytest.raises(InputError, match="no token of its own"):
        encode_answer(tokenizer, TofuPrompt(question_start="", question_end="", answer_start=""), "", "x")
