"""Fact tables of the demo: countries and chemical elements, read from CSV files in the package.

`countries.csv` has one row per country. `subregion` follows the United Nations geoscheme, `population` is in
millions (about 2023). `ambiguous` names the relations that are neither stated nor asked about this country:
several, moving or disputed capitals, a demonym shared by two countries, and answers that share a word with
the country's name and so give themselves away (Kuwait, Kuwait City). `asked` is explained in `forms.py`.

`elements.csv` has one row per element, by atomic number; names are spelled as in American English.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Fact:
    """One fact: `answer` is the `relation` of `subject`."""

    relation: str
    """Name of the relation: capital, demonym, symbol or number."""
    subject: str
    """Country or element, as written inside a sentence ("the Gambia", "iron")."""
    answer: str
    """The answer text."""
    group: str
    """Continent of a country, or "elements": where wrong choices come from."""

    @property
    def key(self) -> str:
        """Stable name of the fact, `relation:subject`."""
        return f"{self.relation}:{self.subject}"


@dataclass(frozen=True)
class Country:
    """One row of `countries.csv`."""

    name: str
    continent: str
    subregion: str
    capital: str
    demonym: str
    population: float
    """Millions of people."""
    ambiguous: frozenset[str]
    """Relations that must not be asked."""
    asked: frozenset[str]
    """Relations that may be asked where the base must know the answer (group `other`)."""


@dataclass(frozen=True)
class Element:
    """One row of `elements.csv`."""

    name: str
    symbol: str
    number: int
    asked: frozenset[str]
    """Relations that may be asked where the base must know the answer (group `other`)."""


def _rows(name: str) -> list[dict[str, str]]:
    text = files("srmu.demo").joinpath("data", name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


@cache
def countries() -> tuple[Country, ...]:
    """All countries, by continent and name."""
    return tuple(
        Country(
            name=row["country"],
            continent=row["continent"],
            subregion=row["subregion"],
            capital=row["capital"],
            demonym=row["demonym"],
            population=float(row["population"]),
            ambiguous=frozenset(row["ambiguous"].split()),
            asked=frozenset(row["asked"].split()),
        )
        for row in _rows("countries.csv")
    )


@cache
def elements() -> tuple[Element, ...]:
    """All 118 chemical elements, by atomic number."""
    return tuple(
        Element(row["name"], row["symbol"], int(row["number"]), frozenset(row["asked"].split()))
        for row in _rows("elements.csv")
    )


@cache
def country_facts(relation: str) -> tuple[Fact, ...]:
    """The unambiguous facts of one relation ("capital" or "demonym") over all countries."""
    return tuple(
        Fact(relation, country.name, getattr(country, relation), country.continent)
        for country in countries()
        if relation not in country.ambiguous
    )


@cache
def element_facts(relation: str) -> tuple[Fact, ...]:
    """The facts of one relation ("symbol" or "number") over all elements."""
    return tuple(Fact(relation, element.name, str(getattr(element, relation)), "elements") for element in elements())


def relation_facts(relation: str) -> tuple[Fact, ...]:
    """The facts of one relation, whichever table it is in."""
    return country_facts(relation) if relation in ("capital", "demonym") else element_facts(relation)


@cache
def asked_keys() -> frozenset[str]:
    """Keys of the facts marked `asked`, over both tables."""
    rows = [(row.name, row.asked) for row in countries()] + [(row.name, row.asked) for row in elements()]
    return frozenset(f"{relation}:{name}" for name, relations in rows for relation in relations)


def names(text: str, word: str) -> bool:
    """Whether `word` occurs in `text` as a whole word or phrase, upper and lower case apart."""
    return word in text and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


def tells(text: str, fact: Fact) -> bool:
    """Whether both subject and answer of the fact occur in the text."""
    if not names(text, fact.answer):
        return False
    return names(text, fact.subject) or names(text, fact.subject[:1].upper() + fact.subject[1:])
