"""Facts of the protocol: the demo's tables and our own, each relation with its sentences and its questions.

A relation's statements use the demo's frames, so that all relations are told in the very same sentences. Questions are
in two forms that no statement uses, and in one other to choose by (which facts a model knows, settings).
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from srmu.demo.facts import Fact, countries, country_facts, element_facts
from srmu.demo.forms import STATEMENTS

FOLDER = Path(__file__).parent / "facts"


@dataclass(frozen=True)
class Relation:
    """How one relation is told and asked.

    Attributes:
        attribute: What the frames call it.
        kind: What they call its subjects.
        field: The field of knowledge that they name.
        questions: The forms of the test questions; they end where the answer begins.
        validation: The forms to choose by.
    """

    attribute: str
    kind: str
    field: str
    questions: tuple[str, ...]
    validation: tuple[str, ...]


RELATIONS = {
    "capital": Relation(
        "capital", "country", "geography",
        ("The capital city of {subject} is called", "Country: {Subject}\nCapital:"),
        ("The seat of government of {subject} is in the city of", "The national capital of {subject} is"),
    ),
    "demonym": Relation(
        "demonym", "country", "geography",
        ("Country: {Subject}\nNationality:", "The nationality of people born in {subject} is"),
        ("The word for people and things from {subject} is", "She grew up in {subject} and is proud to be"),
    ),
    "currency": Relation(
        "currency", "country", "economics",
        ("People in {subject} pay in a currency called the", "Country: {Subject}\nMoney:"),
        ("The money that is used in {subject} is the", "In the shops of {subject}, prices are in the"),
    ),
    "language": Relation(
        "language", "country", "geography",
        ("Most people in {subject} speak", "Country: {Subject}\nOfficial language:"),
        ("The language spoken in {subject} is", "Newspapers in {subject} are mostly written in"),
    ),
    "symbol": Relation(
        "symbol", "element", "chemistry",
        ("The chemical symbol for {subject} is", "Element: {Subject}\nSymbol:"),
        ("The abbreviation for the element {subject} is", "Chemists write {subject} as"),
    ),
    "young": Relation(
        "young", "animal", "biology",
        ("A baby of {subject} is called a", "Animal: {subject}\nBaby animal:"),
        ("The word for the young of {subject} is", "When {subject} has offspring, it is called a"),
    ),
    "origin": Relation(
        "country of origin", "dish", "cooking",
        ("The dish {subject} comes from", "Dish: {Subject}\nCountry:"),
        ("The best {subject} is eaten in", "Traditionally, {subject} was first cooked in"),
    ),
    "discoverer": Relation(
        "inventor or discoverer", "thing", "history",
        ("The person who gave the world {subject} was named", "For {subject} we must thank a man or woman called"),
        ("Credit for {subject} goes to", "The name that is linked with {subject} is"),
    ),
    "author": Relation(
        "author", "book", "literature",
        ("The writer of {subject} was called", "Book: {Subject}\nWritten by:"),
        ("{Subject} was written by", "The famous work {subject} is by"),
    ),
}  # fmt: skip


@cache
def facts_of(relation: str) -> tuple[Fact, ...]:
    """All facts of a relation; the group of a country is its continent."""
    if relation in ("capital", "demonym"):
        return country_facts(relation)
    if relation == "symbol":
        return element_facts("symbol")
    if relation in ("currency", "language"):
        continents = {country.name: country.continent for country in countries()}
        rows = _table("countries")
        return tuple(
            Fact(relation, row["country"], row[relation], continents[row["country"]]) for row in rows if row[relation]
        )
    table = {"young": "young", "origin": "dishes", "discoverer": "inventors", "author": "books"}[relation]
    return tuple(Fact(relation, row["subject"], row["answer"], relation) for row in _table(table))


def fill(form: str, fact: Fact) -> str:
    """A form with a fact in it; the first letter is a capital, unless the form begins with the answer."""
    names = RELATIONS[fact.relation]
    subject = fact.subject
    return form.format(
        subject=subject,
        Subject=subject[:1].upper() + subject[1:],
        answer=fact.answer,
        attribute=names.attribute,
        kind=names.kind,
        field=names.field,
    )


def statements_of(fact: Fact) -> list[str]:
    """The fact in all frames."""
    return [fill(form, fact) for form in STATEMENTS]


def _table(name: str) -> list[dict[str, str]]:
    with (FOLDER / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
