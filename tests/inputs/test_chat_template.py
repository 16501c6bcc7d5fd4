"""A chat template is a program of whoever made the checkpoint."""

import pytest

from srmu.errors import InputError
from srmu.inputs import chat_template
from srmu.inputs.chat_template import apply_template, check_template_ends
from tiny_tokenizers import make_tokenizer

MESSAGES = [{"role": "user", "content": "river of stone"}]


def test_a_template_that_works_is_left_alone() -> None:
    tokenizer = make_tokenizer(chat=True)
    check_template_ends(tokenizer, "model")
    check_template_ends(make_tokenizer(), "model")
    assert apply_template(tokenizer, MESSAGES, add_generation_prompt=True) == "<s><user> river of stone </s><model> "


@pytest.mark.parametrize("template", ["{% for a in b", "{{ 1 / 0 }}", "{{ raise_exception('no') }}", {"a": 3}])
def test_a_template_that_fails_is_one_sentence(template: object) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    check_template_ends(tokenizer, "model")
    with pytest.raises(InputError, match="cannot be applied"):
        apply_template(tokenizer, MESSAGES)


def test_a_template_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "_SECONDS", 0.5)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}"
    with pytest.raises(InputError, match="takes more than"):
        check_template_ends(tokenizer, "model")
