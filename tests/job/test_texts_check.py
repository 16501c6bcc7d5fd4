"""Whether texts will do: each fault is found and named with its remedy, and texts without it pass."""

import pytest

from main_job import FORGET, RETAIN, inline, sentences
from srmu.config.settings import make_config
from srmu.evaluation.made_questions import MadeItem, MadeQuestions
from srmu.inputs.near_duplicates import most_alike
from srmu.inputs.questions import Question
from srmu.job import texts_check
from srmu.job.texts_check import check_texts
from srmu.runtime.progress import Reporter
from tiny_tokenizers import WORDS


def made_of(total, known):
    question = Question(prompt="p", choices=("a", "b"), answer=0)
    return MadeQuestions(
        tuple(MadeItem(("cloze", "what"), (question, question), number < known) for number in range(total)), total, 0
    )


@pytest.fixture
def verdicts(saved_family, monkeypatch):
    """`verdicts(forget, retain, total, known)`: each verdict by its name."""

    def find(forget=FORGET, retain=RETAIN, total=20, known=18):
        monkeypatch.setattr(texts_check, "make_questions", lambda *_, **__: made_of(total, known))
        config = make_config({"model": str(saved_family("llama")), "forget": inline(forget), "retain": inline(retain)})
        return {verdict.name: verdict for verdict in check_texts(config, reporter=Reporter())}

    return find


def test_texts_that_will_do_are_ok_in_every_line(verdicts):
    # Words of both sides, in sentences of their own.
    found = verdicts(sentences(WORDS, 20, seed=1), sentences(WORDS, 20, seed=2))
    assert {name: verdict.state for name, verdict in found.items()} == dict.fromkeys(
        ["read", "number of texts", "length", "variety", "texts to retain", "in both", "nearness", "questions",
         "known to the model"], "ok",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "state", "options", "words"),
    [
        ("number of texts", "warn", {"forget": FORGET[:6]}, "Say the same in other sentences"),
        ("number of texts", "bad", {"forget": FORGET[:2]}, "2 to forget"),
        ("length", "bad", {"forget": ["stone"] * 16}, "whole sentences"),
        ("variety", "warn", {"forget": [FORGET[0]] * 9 + FORGET[:7]}, "in other words"),
        ("texts to retain", "warn", {"retain": ()}, "--retain near"),
        ("texts to retain", "warn", {"retain": RETAIN[:3]}, "Give as many"),
        ("in both", "warn", {"retain": [*RETAIN, FORGET[0]]}, "Take each out"),
        ("in both", "bad", {"retain": [*RETAIN, *FORGET]}, "16 of 16 are retain texts too"),
        ("nearness", "warn", {}, "hardly protect"),
        ("nearness", "warn", {"retain": ()}, "same sentence forms"),
        ("questions", "warn", {"total": 3, "known": 3}, "yourself"),
        ("known to the model", "bad", {"known": 6}, "there is nothing to forget"),
        ("known to the model", "bad", {"known": 0}, "there is nothing to forget"),
        ("known to the model", "warn", {"total": 40, "known": 23}, "cannot be seen"),
        ("known to the model", "warn", {"total": 0, "known": 0}, "questions of your own"),
        ("known to the model", "warn", {"total": 3, "known": 3}, "too few to tell"),
    ],
)
def test_each_fault_is_named_with_its_remedy(name, state, options, words, verdicts):
    found = verdicts(**options)[name]
    assert found.state == state
    assert words in f"{found.found}. {found.remedy}"
    assert found.remedy


def test_what_is_alike_is_found_both_ways():
    texts = ["one two three four five", "one two three four five", "six seven eight nine ten", ""]
    assert most_alike(texts) == [1.0, 1.0, 0.0, 0.0]
