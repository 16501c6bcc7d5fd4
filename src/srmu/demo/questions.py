"""Four-choice questions about the demo's facts."""

from collections.abc import Iterable, Mapping, Sequence

from srmu.demo.facts import Fact, element_facts, relation_facts
from srmu.demo.forms import fill
from srmu.errors import InputError
from srmu.inputs.questions import Question, place_answer
from srmu.runtime.stable_order import stable_rank

NUM_CHOICES = 4


def likely_symbols(fact: Fact) -> list[str]:
    """Wrong symbols that an element's name suggests as much as its own: its first letter, alone or with another.

    Symbols of other elements come first. Who has only learned that symbols are made of a name's letters answers nine in
    ten questions whose wrong choices are drawn from all symbols, and as many as chance has it among these.
    """
    letters = [letter for letter in fact.subject.lower() if letter.isalpha()]
    made = {letters[0].upper(), *(letters[0].upper() + letter for letter in letters[1:])} - {fact.answer}
    real = {other.answer for other in element_facts("symbol")}
    return sorted(made, key=lambda symbol: (symbol not in real, stable_rank(fact.key, symbol)))


def make_question(fact: Fact, form: str, pool: Iterable[Fact], seed: int, *, alike: bool = False) -> Question:
    """One four-choice question; wrong choices and the answer's place are fixed by fact, form and seed.

    Args:
        fact: The fact that is asked.
        form: A question form, see `forms.py`.
        pool: Facts whose answers may serve as wrong choices; the fact itself may be among them.
        seed: Draws other wrong choices.
        alike: Wrong symbols are `likely_symbols`, as far as there are three, instead of the pool's.

    Raises:
        InputError: If the pool has fewer than three other answers.
    """
    likely = likely_symbols(fact)[: NUM_CHOICES - 1] if alike and fact.relation == "symbol" else []
    others = set(likely) if len(likely) == NUM_CHOICES - 1 else {other.answer for other in pool} - {fact.answer}
    if len(others) < NUM_CHOICES - 1:
        raise InputError(
            f"A question about {fact.subject!r} needs {NUM_CHOICES - 1} wrong choices and its group has"
            f" {len(others)}: choose a larger group."
        )
    wrong = sorted(others, key=lambda answer: stable_rank(seed, fact.key, form, answer))[: NUM_CHOICES - 1]
    choices, answer = place_answer(fact.answer, wrong, seed, fact.key, form)
    return Question(prompt=fill(form, fact), choices=choices, answer=answer, fact=fact.key)


def make_questions(
    facts: Sequence[Fact],
    forms: Mapping[str, tuple[str, ...]],
    *,
    pool: Sequence[Fact],
    limit: int,
    seed: int,
    alike: bool = False,
) -> tuple[Question, ...]:
    """At most `limit` questions over the facts, each fact in as many different forms as fit, at least one.

    Wrong choices come from the facts of `pool` with the same relation and group, or, where these are fewer
    than four, from all facts of that relation and group. Of more facts than `limit`, the first in a
    stable random order are asked. `alike` is `make_question`'s.
    """
    chosen = sorted(facts, key=lambda fact: stable_rank(seed, "asked", fact.key))[:limit]
    per_fact = max(1, limit // max(1, len(chosen)))
    questions = []
    for fact in chosen:
        rivals = [other for other in pool if (other.relation, other.group) == (fact.relation, fact.group)]
        if len({other.answer for other in rivals}) < NUM_CHOICES:
            rivals = [other for other in relation_facts(fact.relation) if other.group == fact.group]
        ranked = sorted(forms[fact.relation], key=lambda form: stable_rank(seed, fact.key, form))
        questions += [make_question(fact, form, rivals, seed, alike=alike) for form in ranked[:per_fact]]
    return tuple(questions)
