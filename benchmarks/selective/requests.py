"""The requests of the protocol: what to forget, what a user might give to retain, and what everybody else knows.

Three kinds. `domain`: all facts of a relation, of which the forget texts tell half. `entities`: a relation of some
subjects; the same relation of the others must stay. `facts`: the same, and the user also tells what else must stay
about these subjects. Half of whatever must stay is never told, so that what nobody named is seen.

Settings are chosen on `TUNE` and reported on `REPORT`; they share no relation of the same subjects. Everything is drawn
by SHA-256 of names and a seed, so that a request is the same on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from selective.relations import RELATIONS, facts_of, fill, statements_of
from srmu.demo.facts import Fact
from srmu.evaluation.questions import score_questions
from srmu.inputs.general import general_paragraphs
from srmu.inputs.questions import Question
from srmu.runtime.stable_order import stable_rank

Kind = Literal["domain", "entities", "facts"]
Retain = Literal["given", "ordinary", "none"]
Documents = Literal["short", "long"]
GROUPS = ("forget", "entangled", "neighbours", "other")
COUNTRY_RELATIONS = ("capital", "demonym", "currency", "language")
CHOICES = 4
PER_TEXT = {"short": 1, "long": 4}
MOST = {"forget": 100, "entangled": 100, "neighbours": 100, "other": 100}
"""Questions of a group."""


@dataclass(frozen=True)
class Target:
    """What a request is about.

    Attributes:
        kind: Of the request.
        relation: What is forgotten.
        groups: Continents whose countries are meant, or `half`: every second subject; of a domain, empty for all.
    """

    kind: Kind
    relation: str
    groups: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As in the results."""
        return f"{self.kind}: {self.relation}" + (f" of {' and '.join(self.groups)}" if self.groups else "")


AMERICA = ("North America", "South America")
TUNE = (
    Target("domain", "symbol"),
    Target("entities", "capital", ("Asia",)),
    Target("facts", "capital", ("Asia",)),
)
REPORT = (
    Target("domain", "author"),
    Target("domain", "origin"),
    Target("domain", "currency"),
    Target("domain", "capital"),
    Target("entities", "capital", ("Africa",)),
    Target("entities", "capital", ("Europe",)),
    Target("entities", "author", ("half",)),
    Target("entities", "symbol", ("half",)),
    Target("facts", "capital", ("Africa",)),
    Target("facts", "currency", ("Europe", "Asia")),
    Target("facts", "language", ("Africa", *AMERICA)),
    Target("facts", "capital", AMERICA),
)


@dataclass(frozen=True)
class SelectiveRequest:
    """One request as a user would make it, and the questions of everybody else.

    Attributes:
        target: What it is about.
        forget: Texts.
        retain: Texts of the same sentence forms that tell what must stay.
        ordinary: Encyclopaedia-like paragraphs.
        questions: By group.
    """

    target: Target
    forget: tuple[str, ...]
    retain: tuple[str, ...]
    ordinary: tuple[str, ...]
    questions: dict[str, tuple[Question, ...]]

    def retained(self, retain: Retain) -> list[tuple[str, ...]]:
        """Retain texts of one condition, source by source; empty for none."""
        return {"given": [self.retain, self.ordinary], "ordinary": [self.ordinary], "none": []}[retain]


def make_request(
    target: Target,
    known: frozenset[str],
    *,
    seed: int = 0,
    documents: Documents = "long",
    validation: bool = False,
) -> SelectiveRequest:
    """Texts and questions of a request.

    Args:
        target: What it is about.
        known: Keys of the facts that the model knows, see `known_facts`; only these are asked.
        seed: Draws what is told, the order of texts and the wrong choices.
        documents: One statement per document, or four.
        validation: Ask in the forms to choose by.
    """
    everything = {name: facts_of(name) for name in RELATIONS}
    subjects = _subjects(target)
    related = COUNTRY_RELATIONS if target.relation in COUNTRY_RELATIONS else (target.relation,)
    forget = [fact for fact in everything[target.relation] if fact.subject in subjects]
    entangled = [fact for fact in everything[target.relation] if fact.subject not in subjects]
    others = [name for name in related if name != target.relation]
    neighbours = [fact for name in others for fact in everything[name] if fact.subject in subjects]
    other = [
        fact
        for name, facts in everything.items()
        if name != target.relation
        for fact in facts
        if name not in related or fact.subject not in subjects
    ]
    told = _half(forget, seed) if target.kind == "domain" else forget
    # Of a domain nothing else is of the kind: what a user would tell is other facts of the same subjects.
    must_stay = neighbours if target.kind == "domain" else entangled
    retained = _half(must_stay or other, seed) + (_half(neighbours, seed) if target.kind == "facts" else [])
    pools = {"forget": forget, "entangled": entangled, "neighbours": neighbours, "other": other}
    return SelectiveRequest(
        target=target,
        forget=_texts(told, PER_TEXT[documents], seed),
        retain=_texts(retained, PER_TEXT[documents], seed),
        ordinary=tuple(text for text in general_paragraphs() if not any(_tells(text, fact) for fact in forget)),
        questions={
            group: asked
            for group, facts in pools.items()
            if (asked := _ask([fact for fact in facts if fact.key in known], MOST[group], seed, validation))
        },
    )


def known_facts(model: Any, tokenizer: Any) -> frozenset[str]:
    """Keys of the facts that a model answers right in every form to choose by, out of four choices."""
    facts = [fact for name in RELATIONS for fact in facts_of(name)]
    right = dict.fromkeys((fact.key for fact in facts), True)
    for place in range(2):
        questions = [_question(fact, RELATIONS[fact.relation].validation[place], seed=0) for fact in facts]
        scores = score_questions(model, tokenizer, questions)
        for fact, correct in zip(facts, scores.correct_norm, strict=True):
            right[fact.key] &= bool(correct)
    return frozenset(key for key, every in right.items() if every)


def _subjects(target: Target) -> frozenset[str]:
    facts = facts_of(target.relation)
    if not target.groups:
        return frozenset(fact.subject for fact in facts)
    if target.groups == ("half",):
        ranked = sorted((fact.subject for fact in facts), key=lambda subject: stable_rank("subjects", subject))
        return frozenset(ranked[::2])
    return frozenset(fact.subject for fact in facts if fact.group in target.groups)


def _half(facts: Sequence[Fact], seed: int) -> list[Fact]:
    ranked = sorted(facts, key=lambda fact: stable_rank(seed, "half", fact.key))
    return ranked[: (len(ranked) + 1) // 2]


def _texts(facts: Sequence[Fact], per_text: int, seed: int) -> tuple[str, ...]:
    told = [text for fact in facts for text in statements_of(fact)]
    told.sort(key=lambda text: stable_rank(seed, "told", text))
    return tuple(" ".join(told[start : start + per_text]) for start in range(0, len(told), per_text))


def _ask(facts: Sequence[Fact], most: int, seed: int, validation: bool) -> tuple[Question, ...]:
    def forms(fact: Fact) -> tuple[str, ...]:
        relation = RELATIONS[fact.relation]
        return relation.validation if validation else relation.questions

    asked = [(fact, form) for fact in facts for form in forms(fact)]
    asked.sort(key=lambda pair: stable_rank(seed, "asked", pair[0].key, pair[1]))
    return tuple(_question(fact, form, seed) for fact, form in asked[:most])


def _question(fact: Fact, form: str, seed: int) -> Question:
    """Wrong choices are other answers of the relation, of the fact's group where it has enough."""
    facts = facts_of(fact.relation)
    near = {other.answer for other in facts if other.group == fact.group} - {fact.answer}
    rivals = near if len(near) >= CHOICES - 1 else {other.answer for other in facts} - {fact.answer}
    wrong = sorted(rivals, key=lambda answer: stable_rank(seed, fact.key, form, answer))[: CHOICES - 1]
    place = int(stable_rank(seed, fact.key, form), 16) % CHOICES
    return Question(
        prompt=fill(form, fact), choices=(*wrong[:place], fact.answer, *wrong[place:]), answer=place, fact=fact.key
    )


def _tells(text: str, fact: Fact) -> bool:
    return fact.answer in text and fact.subject in text
