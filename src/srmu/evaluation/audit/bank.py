"""The shipped bank of general knowledge: facts in some thirty fields, with several forms of asking each."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from srmu.inputs.questions import Question, place_answer
from srmu.runtime.stable_order import stable_rank

NUM_WRONG = 3


@dataclass(frozen=True)
class BankFact:
    """One fact of the bank.

    Attributes:
        field: Field of knowledge, such as `animals`.
        relation: What is said of the subject, such as `young`.
        subject: Whom the fact is about.
        answer: What is right.
        wrong: Three answers of the same kind that are not.
        forms: Beginnings of sentences that the answer ends, each with `{subject}`.
    """

    field: str
    relation: str
    subject: str
    answer: str
    wrong: tuple[str, ...]
    forms: tuple[str, ...]

    @property
    def key(self) -> str:
        """What distinguishes it from all others."""
        return f"{self.field}:{self.relation}:{self.subject}"

    def question(self, number: int) -> Question:
        """The fact asked in one of its forms; the order of the choices is fixed by fact and form.

        Args:
            number: Of the form, from 0; -1 is the last one.
        """
        form = self.forms[number]
        choices, place = place_answer(self.answer, self.wrong, self.key, form)
        return Question(prompt=form.format(subject=self.subject), choices=choices, answer=place, fact=self.key)


@cache
def read_bank() -> tuple[BankFact, ...]:
    """Every fact, fields in the order of their names."""
    folder = files("srmu.evaluation.audit").joinpath("bank")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    facts: list[BankFact] = []
    for name in names:
        content = json.loads(folder.joinpath(name).read_text(encoding="utf-8"))
        for relation in content["relations"]:
            facts += _facts_of(content["field"], relation)
    return tuple(facts)


def choose_facts(facts: Iterable[BankFact], per_field: int) -> list[BankFact]:
    """At most so many facts of each field, always the same ones, spread over its relations."""
    by_field: dict[str, list[BankFact]] = {}
    for fact in facts:
        by_field.setdefault(fact.field, []).append(fact)
    return [fact for group in by_field.values() for fact in _spread(group)[:per_field]]


def _spread(facts: Sequence[BankFact]) -> list[BankFact]:
    """In a fixed random order in which relations take turns."""
    turns: dict[str, int] = {}
    ordered = sorted(facts, key=lambda fact: stable_rank("audit", fact.key))
    ranked = []
    for fact in ordered:
        turns[fact.relation] = turns.get(fact.relation, 0) + 1
        ranked.append((turns[fact.relation], fact))
    return [fact for _, fact in sorted(ranked, key=lambda entry: entry[0])]


def _facts_of(field: str, relation: dict[str, Any]) -> list[BankFact]:
    """The facts of one relation; wrong answers are those of other subjects, unless the file names them."""
    answers = sorted({fact[1] for fact in relation["facts"]})
    made = []
    for subject, answer, *named in relation["facts"]:
        others = [other for other in answers if other != answer]
        ranked = sorted(others, key=lambda other: stable_rank(field, relation["name"], subject, other))
        wrong = tuple(named[0] if named else ranked[:NUM_WRONG])
        made.append(BankFact(field, relation["name"], subject, answer, wrong, tuple(relation["forms"])))
    return made
