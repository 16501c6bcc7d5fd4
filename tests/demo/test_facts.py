"""The demo's fact tables and sentence forms."""

import re

import pytest

from srmu.demo.facts import Fact, countries, country_facts, element_facts, elements, relation_facts
from srmu.demo.forms import (
    ATTRIBUTES,
    HELDOUT_STATEMENTS,
    QUESTIONS,
    STATEMENTS,
    VALIDATION_QUESTIONS,
    fill,
)

CONTINENTS = {"Africa", "Asia", "Europe", "North America", "South America", "Oceania"}


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.casefold())


def gives_itself_away(subject: str, answer: str) -> bool:
    """Whether a longer word of the answer begins a word of the subject, or the other way round."""
    return any(
        len(one) > 3 and len(two) > 3 and (one.startswith(two) or two.startswith(one))
        for one in words(subject)
        for two in words(answer)
    )


def test_there_are_118_elements_with_unique_names_and_symbols_in_order():
    table = elements()
    assert [element.number for element in table] == list(range(1, 119))
    assert len({element.name for element in table}) == 118
    assert len({element.symbol for element in table}) == 118
    assert all(re.fullmatch(r"[A-Z][a-z]?", element.symbol) for element in table)
    assert all(element.name.islower() and element.name.isascii() for element in table)


def test_symbols_of_well_known_elements_are_right():
    symbols = {element.name: element.symbol for element in elements()}
    assert {"W", "Sb", "Hg", "Og"} == {symbols[n] for n in ("tungsten", "antimony", "mercury", "oganesson")}


def test_every_country_row_is_complete():
    table = countries()
    assert len(table) == 197
    assert len({country.name for country in table}) == len(table)
    assert {country.continent for country in table} == CONTINENTS
    for country in table:
        assert all((country.name, country.subregion, country.capital, country.demonym)), country
        assert (country.name + country.capital + country.demonym).isascii()
        assert country.population > 0
        assert country.ambiguous <= {"capital", "demonym"}


def test_africa_has_its_54_countries():
    assert sum(country.continent == "Africa" for country in countries()) == 54


@pytest.mark.parametrize("relation", ["capital", "demonym"])
def test_answers_that_two_countries_share_are_marked_ambiguous(relation):
    answers = [fact.answer for fact in country_facts(relation)]
    assert len(answers) == len(set(answers))


def test_capitals_that_give_themselves_away_are_marked_ambiguous():
    given_away = [fact.subject for fact in country_facts("capital") if gives_itself_away(fact.subject, fact.answer)]
    assert given_away == []
    assert gives_itself_away("Kuwait", "Kuwait City")
    assert gives_itself_away("Tunisia", "Tunis")


def test_demonyms_that_repeat_a_word_of_the_country_are_marked_ambiguous():
    assert [f.subject for f in country_facts("demonym") if set(words(f.subject)) & set(words(f.answer))] == []


@pytest.mark.parametrize("relation", list(ATTRIBUTES))
def test_marked_facts_exist(relation):
    facts = {fact.subject for fact in relation_facts(relation)}
    marked = {row.name for row in (*countries(), *elements()) if relation in row.asked}
    assert marked <= facts


def test_no_form_is_used_twice_and_no_question_begins_a_statement():
    told = [*STATEMENTS, *HELDOUT_STATEMENTS]
    for relation, attributes in ATTRIBUTES.items():
        asked = [*QUESTIONS[relation], *VALIDATION_QUESTIONS[relation]]
        everything = [*told, *asked]
        assert len(everything) == len(set(everything))
        fact = relation_facts(relation)[0]
        statements = [fill(form, fact) for form in told]
        for form in asked:
            assert not any(statement.startswith(fill(form, fact)) for statement in statements), form
        assert attributes.keys() == {"attribute", "kind", "field"}


def test_every_relation_has_enough_forms():
    assert len(STATEMENTS) >= 10
    assert all(len(QUESTIONS[relation]) >= 4 for relation in ATTRIBUTES)
    assert all(len(VALIDATION_QUESTIONS[relation]) >= 2 for relation in ATTRIBUTES)


def test_question_forms_do_not_end_in_a_space_and_do_not_show_the_answer():
    for forms in (*QUESTIONS.values(), *VALIDATION_QUESTIONS.values()):
        for form in forms:
            assert form == form.strip()
            assert "{answer}" not in form


def test_fill_writes_the_subject_with_a_capital_letter_at_the_start_of_a_sentence():
    fact = Fact("capital", "the Gambia", "Banjul", "Africa")
    assert fill("{Subject} has the {attribute} {answer}.", fact) == "The Gambia has the capital Banjul."
    assert fill("{answer} is the {attribute} of {subject}.", fact) == "Banjul is the capital of the Gambia."
    assert fill("The {attribute} is {answer}.", element_facts("symbol")[25]) == "The symbol is Fe."
