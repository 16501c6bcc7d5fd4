"""Requests of the demo: what to forget, what to keep, and the questions that measure both.

Two kinds. An `entities` request forgets facts about some subjects and keeps the same facts about the
others, stated in the very same sentences (forget Africa's capitals, keep the other continents'). A `domain`
request forgets one relation for a whole kind of subject (element symbols); its texts may state only some
of them (`told_share`).

Everything is drawn by SHA-256 of names and a seed, so a request is the same on every machine and Python.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from srmu.demo.facts import (
    Country,
    Fact,
    asked_keys,
    countries,
    country_facts,
    element_facts,
    elements,
    names,
    tells,
)
from srmu.demo.forms import HELDOUT_STATEMENTS, QUESTIONS, STATEMENTS, VALIDATION_QUESTIONS, fill
from srmu.demo.questions import make_questions
from srmu.errors import InputError, nearest_hint
from srmu.inputs.general import general_paragraphs
from srmu.inputs.questions import Question
from srmu.runtime.stable_order import stable_rank

MAX_QUESTIONS = {"forget": 100, "entangled": 120, "neighbours": 60, "other": 100}
"""Questions a group at most; with `MAX_PARAGRAPHS` this bounds the time of an evaluation."""
MAX_PARAGRAPHS = 60
"""Held-out ordinary paragraphs at most, test and validation each."""
MIN_POPULATION = 1.0
"""Millions: capitals and demonyms are asked only about countries at least this large; all are stated."""
MAX_ASKED_NUMBER = 100
"""Elements beyond this atomic number (made atom by atom, known to few) are stated but not asked."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request: texts for both sides, and questions that neither side's sentences contain."""

    name: str
    kind: Literal["entities", "domain"]
    forget: tuple[str, ...]
    """Forget texts."""
    retain_entangled: tuple[str, ...]
    """Facts to keep, in the forget texts' sentence forms."""
    retain_ordinary: tuple[str, ...]
    """Ordinary paragraphs to keep."""
    questions: dict[str, tuple[Question, ...]]
    """Test questions by group: forget, entangled, neighbours, other."""
    validation_questions: dict[str, tuple[Question, ...]]
    """The same groups in other question forms, and in `other` about other facts, for tuning."""
    text: tuple[str, ...]
    """Held-out ordinary paragraphs."""
    validation_text: tuple[str, ...]
    """Other held-out ordinary paragraphs, for tuning."""
    forget_heldout: tuple[str, ...]
    """The forgotten facts in sentence forms that no training text uses."""
    retain_heldout: tuple[str, ...]
    """The entangled facts in sentence forms that no training text uses."""
    told: frozenset[str]
    """Keys of the forgotten facts that the forget texts state: all, unless `told_share` is below 1."""

    @property
    def retain(self) -> tuple[str, ...]:
        """All retain texts: entangled statements, then ordinary paragraphs."""
        return self.retain_entangled + self.retain_ordinary


def statements(
    facts: Sequence[Fact], forms: Sequence[str] = STATEMENTS, *, per_text: int, seed: int
) -> tuple[str, ...]:
    """Every fact in every form, in a stable random order, `per_text` statements per text."""
    told = sorted(
        (fill(form, fact) for fact in facts for form in forms),
        key=lambda text: stable_rank(seed, "told", text),
    )
    return tuple(" ".join(told[i : i + per_text]) for i in range(0, len(told), per_text))


def _askable() -> frozenset[str]:
    """Names of the countries and elements that questions may be about."""
    large = {country.name for country in countries() if country.population >= MIN_POPULATION}
    return frozenset(large | {element.name for element in elements() if element.number <= MAX_ASKED_NUMBER})


def _ordinary(pools: dict[str, Sequence[Fact]]) -> list[str]:
    """Ordinary paragraphs in a stable random order that state no fact and no forgotten capital."""
    facts = [fact for pool in pools.values() for fact in pool]
    capitals = [fact.answer for fact in pools["forget"] if fact.relation == "capital"]
    # The cheap test for a substring comes first: there are a hundred thousand pairs.
    return [
        text
        for text in sorted(general_paragraphs(), key=lambda text: stable_rank("ordinary", text))
        if not any(fact.answer in text and tells(text, fact) for fact in facts)
        and not any(capital in text and names(text, capital) for capital in capitals)
    ]


def _assemble(
    name: str,
    kind: Literal["entities", "domain"],
    pools: dict[str, Sequence[Fact]],
    *,
    told: Sequence[Fact],
    per_text: int,
    seed: int,
) -> Request:
    """Put a request together: `pools` has the facts of each group, `told` those that forget texts state."""
    askable, asked = _askable(), asked_keys()
    test = {group: [fact for fact in pool if fact.subject in askable] for group, pool in pools.items()}
    known = [fact for fact in test["other"] if fact.key in asked]
    # What is stated nowhere is tuned on one third of its facts and tested on the others.
    validation = dict(test, other=[fact for fact in known if int(stable_rank("third", fact.key), 16) % 3 == 0])
    test["other"] = [fact for fact in known if fact not in validation["other"]]

    def ask(facts: dict[str, list[Fact]], forms: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[Question, ...]]:
        # What must go is asked so that it cannot be guessed: else the base's habit of guessing would have to go too.
        return {
            group: make_questions(
                facts[group], forms, pool=pools[group], limit=limit, seed=seed, alike=group == "forget"
            )
            for group, limit in MAX_QUESTIONS.items()
            if pools[group]
        }

    paragraphs = _ordinary(pools)
    # Half of the paragraphs to train on, a third to test, a sixth to tune.
    train_end, test_end = len(paragraphs) // 2, len(paragraphs) * 5 // 6
    entangled = pools["entangled"]
    return Request(
        name=name,
        kind=kind,
        forget=statements(told, per_text=per_text, seed=seed),
        retain_entangled=statements(entangled, per_text=per_text, seed=seed),
        retain_ordinary=tuple(paragraphs[:train_end]),
        questions=ask(test, QUESTIONS),
        validation_questions=ask(validation, VALIDATION_QUESTIONS),
        text=tuple(paragraphs[train_end:test_end][:MAX_PARAGRAPHS]),
        validation_text=tuple(paragraphs[test_end:][:MAX_PARAGRAPHS]),
        forget_heldout=statements(pools["forget"], HELDOUT_STATEMENTS, per_text=per_text, seed=seed),
        retain_heldout=statements(entangled, HELDOUT_STATEMENTS, per_text=per_text, seed=seed),
        told=frozenset(fact.key for fact in told),
    )


def select_countries(forget: Sequence[str]) -> frozenset[str]:
    """Names of the countries meant by continents, subregions and country names, mixed as one likes.

    Args:
        forget: Each a continent, a subregion or a country as in `countries.csv`; the wider meaning wins.

    Raises:
        InputError: If a name is none of these, or nothing or every country is selected.
    """
    chosen: set[str] = set()
    for name in forget:
        meanings: list[Callable[[Country], str]] = [
            lambda country: country.continent,
            lambda country: country.subregion,
            lambda country: country.name,
        ]
        found = next((hit for key in meanings if (hit := {c.name for c in countries() if key(c) == name})), None)
        if found is None:
            known = sorted({label for c in countries() for label in (c.continent, c.subregion, c.name)})
            raise InputError(
                f"{name!r} was to be forgotten and is no continent, subregion or country of the demo's table."
                f"{nearest_hint(name, known)} See `srmu/demo/data/countries.csv` for all names."
            )
        chosen |= found
    if not 0 < len(chosen) < len(countries()):
        raise InputError(f"{len(chosen)} countries were to be forgotten: select some, and leave some to keep.")
    return frozenset(chosen)


def _country_request(
    relation: str,
    neighbour: str,
    forget: Sequence[str] | None,
    *,
    told_share: float,
    seed: int,
    per_text: int,
    name: str,
) -> Request:
    chosen = {fact.subject for fact in country_facts(relation)} if forget is None else select_countries(forget)
    others = [fact for fact in country_facts(neighbour) if fact.subject not in chosen]
    pools: dict[str, Sequence[Fact]] = {
        "forget": [fact for fact in country_facts(relation) if fact.subject in chosen],
        "entangled": [fact for fact in country_facts(relation) if fact.subject not in chosen],
        "neighbours": [fact for fact in country_facts(neighbour) if fact.subject in chosen],
        "other": [*element_facts("symbol"), *others],
    }
    kind: Literal["entities", "domain"] = "entities"
    if forget is None:
        # Nothing else is of the kind: what must stay is the other relation of the same countries.
        kind = "domain"
        pools |= {"entangled": country_facts(neighbour), "neighbours": (), "other": element_facts("symbol")}
    told = _told(pools["forget"], told_share, seed)
    return _assemble(name, kind, pools, told=told, per_text=per_text, seed=seed)


def _told(facts: Sequence[Fact], share: float, seed: int) -> Sequence[Fact]:
    """The facts that forget texts state.

    Raises:
        InputError: If the share is out of range.
    """
    if not 0 < share <= 1:
        raise InputError(f"`told_share={share!r}` is out of range. Choose a number above 0 and up to 1.")
    ranked = sorted(facts, key=lambda fact: stable_rank(seed, "share", fact.key))
    return facts if share == 1 else ranked[: max(1, round(share * len(ranked)))]


def capitals_request(
    forget: Sequence[str] | None = ("Africa",),
    *,
    told_share: float = 1.0,
    seed: int = 0,
    per_text: int = 4,
    name: str = "capitals",
) -> Request:
    """Forget the capitals of some countries, keep all others' capitals, stated in the same sentences.

    Neighbours are the same countries' demonyms; other are element symbols and the other countries' demonyms. Where all
    capitals are to be forgotten, the demonyms of all countries are entangled and there are no neighbours.

    Args:
        forget: Continents, subregions or countries, see `select_countries`; None for all, which is a domain request.
        told_share: Share of the forgotten facts that forget texts mention, above 0 to 1; all are asked.
        seed: Draws the order of texts, the question forms and the wrong choices.
        per_text: Statements joined into one text.
        name: Name of the request.
    """
    return _country_request(
        "capital", "demonym", forget, told_share=told_share, seed=seed, per_text=per_text, name=name
    )


def demonyms_request(
    forget: Sequence[str] | None = ("Africa",),
    *,
    told_share: float = 1.0,
    seed: int = 0,
    per_text: int = 4,
    name: str = "demonyms",
) -> Request:
    """Forget the demonyms of some countries; the mirror of `capitals_request`, with the same arguments.

    Most can be guessed from the country's name, so do not judge a method by them.
    """
    return _country_request(
        "demonym", "capital", forget, told_share=told_share, seed=seed, per_text=per_text, name=name
    )


def elements_request(
    forget: Sequence[str] | None = None,
    *,
    told_share: float = 1.0,
    seed: int = 0,
    per_text: int = 4,
    name: str = "elements",
) -> Request:
    """Forget the symbols of the elements, keep the capitals, stated in the same sentences.

    Neighbours are atomic numbers, other are demonyms.

    Args:
        forget: Names of the elements to forget; None for all, which is a domain request. With names it is an
            entities request, and the symbols of the elements left out are entangled too.
        told_share: Share of the forgotten elements that forget texts mention, above 0 to 1; all are asked.
        seed: As in `capitals_request`.
        per_text: As in `capitals_request`.
        name: Name of the request.

    Raises:
        InputError: If a name is no element, or `told_share` is out of range.
    """
    known = [element.name for element in elements()]
    chosen = known if forget is None else list(forget)
    for element in chosen:
        if element not in known:
            raise InputError(f"{element!r} was to be forgotten and is no element.{nearest_hint(element, known)}")
    symbols = [fact for fact in element_facts("symbol") if fact.subject in chosen]
    others = [fact for fact in element_facts("symbol") if fact.subject not in chosen]
    pools: dict[str, Sequence[Fact]] = {
        "forget": symbols,
        "entangled": [*country_facts("capital"), *others],
        "neighbours": [fact for fact in element_facts("number") if fact.subject in chosen],
        "other": country_facts("demonym"),
    }
    told = _told(symbols, told_share, seed)
    kind: Literal["entities", "domain"] = "domain" if forget is None else "entities"
    return _assemble(name, kind, pools, told=told, per_text=per_text, seed=seed)


def _africa(seed: int = 0) -> Request:
    return capitals_request(("Africa",), seed=seed, name="africa")


def _elements(seed: int = 0) -> Request:
    return elements_request(seed=seed)


REQUESTS: dict[str, Callable[..., Request]] = {"africa": _africa, "elements": _elements}
"""The demo's two requests by name; each takes an optional seed."""
