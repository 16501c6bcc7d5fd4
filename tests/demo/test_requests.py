"""The demo's requests: what each side is told, and what is asked."""

import hashlib
import json
from dataclasses import asdict
from functools import cache

import pytest

from srmu.demo.facts import countries, relation_facts
from srmu.demo.forms import HELDOUT_STATEMENTS, STATEMENTS, fill
from srmu.demo.questions import NUM_CHOICES, likely_symbols
from srmu.demo.requests import (
    REQUESTS,
    capitals_request,
    demonyms_request,
    elements_request,
    names,
    select_countries,
    tells,
)
from srmu.errors import InputError
from srmu.inputs.general import general_paragraphs

DIGESTS = {
    "africa": "5961ad752829686ac0bd2a3eb97a5400d4f03d160a3e69493bb47e4e938cd284",
    "elements": "4abfa58ed81f013ea443bf3c2314c864330639eb62de0096c27c7430a1901ad3",
}
"""SHA-256 of the requests at seed 0. A change moves every number of the demo: say so in the changelog."""


@cache
def facts_by_key():
    return {
        fact.key: fact for relation in ("capital", "demonym", "symbol", "number") for fact in relation_facts(relation)
    }


def told_in(texts, fact):
    return any(fact.answer in text and tells(text, fact) for text in texts)


def digest(request):
    record = asdict(request) | {"told": sorted(request.told)}
    # Each question of the demo has one right answer, and the digests are older than the field for others.
    for groups in (record["questions"], record["validation_questions"]):
        for question in (question for questions in groups.values() for question in questions):
            assert question.pop("also_right") == ()
            assert not question.pop("machine_made")
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def all_questions(request):
    for groups in (request.questions, request.validation_questions):
        for group, questions in groups.items():
            for question in questions:
                yield group, question


@pytest.fixture(scope="module", params=list(REQUESTS))
def request_(request):
    return REQUESTS[request.param]()


@pytest.fixture(scope="module")
def africa():
    return REQUESTS["africa"]()


def test_requests_are_the_same_on_every_machine(request_):
    assert digest(request_) == DIGESTS[request_.name]


def test_another_seed_draws_other_questions(africa):
    assert digest(REQUESTS["africa"](seed=1)) != digest(africa)


def test_every_group_is_asked_within_its_limit(request_):
    sizes = {group: len(questions) for group, questions in request_.questions.items()}
    assert 60 <= sizes["forget"] <= 120
    assert 60 <= sizes["entangled"] <= 150
    assert 40 <= sizes["neighbours"] <= 60
    assert 60 <= sizes["other"] <= 100
    assert request_.validation_questions.keys() == request_.questions.keys()
    assert all(request_.validation_questions.values())


def test_choices_are_distinct_answers_of_the_facts_own_group(request_):
    facts = facts_by_key()
    for group, question in all_questions(request_):
        fact = facts[question.fact]
        own = set(likely_symbols(fact)) if fact.relation == "symbol" and group == "forget" else set()
        own |= {
            other.answer for other in facts.values() if (other.relation, other.group) == (fact.relation, fact.group)
        }
        assert len(set(question.choices)) == len(question.choices) == NUM_CHOICES
        assert set(question.choices) <= own
        assert question.choices[question.answer] == fact.answer


def test_the_right_answer_stands_at_every_place(request_):
    places = [question.answer for _, question in all_questions(request_)]
    assert {places.count(place) > len(places) / 8 for place in range(NUM_CHOICES)} == {True}


def test_no_answer_stands_in_its_own_prompt(request_):
    for _, question in all_questions(request_):
        assert not names(question.prompt, question.choices[question.answer]), question


def test_no_question_is_asked_twice_and_none_is_a_validation_question(request_):
    test = [question.prompt for questions in request_.questions.values() for question in questions]
    validation = [question.prompt for questions in request_.validation_questions.values() for question in questions]
    assert len(test) == len(set(test))
    assert len(validation) == len(set(validation))
    assert not set(test) & set(validation)


def test_other_is_tuned_and_tested_on_different_facts(request_):
    test = {question.fact for question in request_.questions["other"]}
    assert not test & {question.fact for question in request_.validation_questions["other"]}


def test_facts_of_other_and_neighbours_stand_in_no_training_text(request_):
    facts = facts_by_key()
    texts = (*request_.forget, *request_.retain)
    for group, question in all_questions(request_):
        if group in ("other", "neighbours"):
            assert not told_in(texts, facts[question.fact]), question.fact


def test_forgotten_facts_are_told_in_forget_texts_and_in_no_retain_text(request_):
    facts = facts_by_key()
    for question in request_.questions["forget"]:
        fact = facts[question.fact]
        assert told_in(request_.forget, fact)
        assert not told_in(request_.retain, fact)


def test_entangled_facts_are_told_in_retain_texts(request_):
    facts = facts_by_key()
    for question in request_.questions["entangled"]:
        assert told_in(request_.retain_entangled, facts[question.fact])


def test_ordinary_text_names_no_forgotten_capital(africa):
    capitals = [facts_by_key()[key].answer for key in africa.told]
    ordinary = (*africa.retain_ordinary, *africa.text, *africa.validation_text)
    assert len(capitals) > 40
    assert not any(names(text, capital) for text in ordinary for capital in capitals)


def test_ordinary_paragraphs_are_split_without_overlap(request_):
    parts = (request_.retain_ordinary, request_.text, request_.validation_text)
    assert sum(map(len, parts)) == len(set().union(*parts)) <= len(general_paragraphs())
    assert all(len(part) >= 30 for part in parts)


def test_heldout_statements_use_other_forms_than_training_texts(request_):
    facts = facts_by_key()
    training = "\n".join((*request_.forget, *request_.retain))
    for question in request_.questions["forget"]:
        told = [fill(form, facts[question.fact]) for form in HELDOUT_STATEMENTS]
        assert not any(sentence in training for sentence in told)
        assert any(told[0] in text for text in request_.forget_heldout)


def test_both_sides_are_told_in_the_same_forms():
    single = capitals_request(("Africa",), per_text=1)
    kenya = {text.replace("Kenya", "X").replace("Nairobi", "Y") for text in single.forget if "Kenya" in text}
    japan = {text.replace("Japan", "X").replace("Tokyo", "Y") for text in single.retain_entangled if "Japan" in text}
    assert kenya == japan
    assert len(kenya) == len(STATEMENTS)


def test_countries_are_selected_by_continent_subregion_and_name():
    northern = {country.name for country in countries() if country.subregion == "Northern Africa"}
    assert select_countries(("Northern Africa", "Kenya")) == northern | {"Kenya"}
    with pytest.raises(InputError, match="Did you mean 'Kenya'"):
        select_countries(("Kenia",))
    with pytest.raises(InputError, match="select some"):
        select_countries(())


@pytest.mark.parametrize("continent", sorted({country.continent for country in countries()}))
def test_any_continent_can_be_forgotten(continent):
    request = capitals_request((continent,))
    assert all(request.questions.values())
    chosen = select_countries((continent,))
    facts = facts_by_key()
    assert {facts[question.fact].subject for question in request.questions["forget"]} <= chosen
    assert not {facts[question.fact].subject for question in request.questions["entangled"]} & chosen


def test_wrong_choices_of_a_kept_half_are_not_of_the_forgotten_half():
    request = capitals_request(("Western Africa",))
    facts = facts_by_key()
    forgotten = {facts[key].answer for key in request.told}
    assert not any(set(question.choices) & forgotten for question in request.questions["entangled"])
    assert all(set(question.choices) <= forgotten for question in request.questions["forget"])


def test_demonyms_mirror_capitals():
    request = demonyms_request(("Africa",))
    assert all(question.fact.startswith("demonym:") for question in request.questions["forget"])
    assert all(question.fact.startswith("capital:") for question in request.questions["neighbours"])


def test_a_domain_may_be_told_in_part_and_is_asked_as_a_whole():
    request = elements_request(told_share=0.5)
    assert request.kind == "domain"
    assert len(request.told) == 59
    assert {question.fact in request.told for question in request.questions["forget"]} == {True, False}
    with pytest.raises(InputError, match="told_share"):
        elements_request(told_share=0)


def test_all_capitals_can_be_forgotten_while_the_same_countries_demonyms_stay():
    request = capitals_request(None, told_share=0.5)
    assert request.kind == "domain"
    assert {question.fact in request.told for question in request.questions["forget"]} == {True, False}
    assert {question.fact.split(":")[0] for question in request.questions["entangled"]} == {"demonym"}
    assert "neighbours" not in request.questions


def test_who_only_guesses_from_the_name_knows_no_symbol():
    request = elements_request()
    for question in (*request.questions["forget"], *request.validation_questions["forget"]):
        name = question.fact.removeprefix("symbol:")
        wrong = [choice for place, choice in enumerate(question.choices) if place != question.answer]
        assert all(choice[0].lower() == name[0] and set(choice[1:]) <= set(name[1:]) for choice in wrong)


def test_some_elements_can_be_forgotten_and_the_others_kept():
    request = elements_request(("iron", "gold", "neon", "tin", "lead"))
    assert request.kind == "entities"
    assert told_in(request.retain_entangled, facts_by_key()["symbol:silver"])
    with pytest.raises(InputError, match="no element"):
        elements_request(("phlogiston",))
