"""Forget keywords in retain questions: does the name of something forgotten break an answer that should stay?

Definition: before each kept question comes the keyword of a forgotten fact, before each tested question that of a
kept one. The keyword is what follows the colon of a question's `fact` key (`relation:subject`), or the key itself.
What counts is the kept side: `utility_after`. Source: arXiv 2501.19202, which finds that unlearned models misbehave on
retain queries that hold one forget token (abstract read; by its reviews, one token of the query is replaced). Putting
the keyword in front, so that the question stays as it was, is ours. Budget: a forward pass per question.
"""

import dataclasses
from collections.abc import Sequence

from srmu.evaluation.attacks.asking import ask_both, record_of
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.inputs.questions import Question
from srmu.results.attack_records import AttackRecord


def keywords(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Ask with a keyword of the other side before each question."""
    forgotten = keywords_of((*setting.given, *setting.tested))
    kept_words = keywords_of(setting.all_kept())
    if not forgotten or not kept_words:
        raise NotApplicable("it needs questions with a key 'fact' (relation:subject), which gives the keyword")
    kept = {name: with_keywords(group, forgotten) for name, group in setting.kept.items()}
    after = ask_both(setting, with_keywords(setting.tested, kept_words), kept)
    return record_of(setting, cells, after)


def keywords_of(questions: Sequence[Question]) -> list[str]:
    """The subjects that are asked about, each once."""
    words = (question.fact.rpartition(":")[2].strip() for question in questions)
    return list(dict.fromkeys(word for word in words if word))


def with_keywords(questions: Sequence[Question], words: Sequence[str]) -> list[Question]:
    """Each question after one of the words, in turn."""
    return [
        dataclasses.replace(question, prompt=f"{words[place % len(words)]}. {question.prompt}")
        for place, question in enumerate(questions)
    ]
