import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest
from world.forms import RELATIONS
from world.generator import DOMAINS, OpenQuestion, generate, open_questions, syllables, tell
from world.recipe import WorldRecipe

from srmu.cli.app import main
from srmu.errors import InputError
from srmu.inputs.questions import Question

DIAL = (0.0, 0.25, 0.5, 0.75, 1.0)
SMALL = WorldRecipe(hazard_entities=12, entities=12, values=8)


@pytest.fixture(scope="module")
def worlds():
    return {dial: generate(WorldRecipe(entanglement=dial)) for dial in DIAL}


@pytest.fixture(scope="module")
def world(worlds):
    return worlds[0.75]


def all_facts(world):
    return [fact for domain in world.domains.values() for fact in domain.facts] + list(world.stand_ins)


def syllables_of(word):
    return [word[i : i + 2].lower() for i in range(0, len(word), 2)]


def test_the_overlap_grows_with_the_dial_from_below_5_to_above_25_percent(worlds):
    measured = [worlds[dial].overlap().jaccard for dial in DIAL]
    assert all(low + 0.03 < high for low, high in pairwise(measured))
    assert measured[0] < 0.05
    assert measured[-1] > 0.25


@pytest.mark.slow
def test_the_overlap_command_counts_what_the_dial_says_and_grows_with_it(worlds, tmp_path, capsys):
    measured = []
    for dial in DIAL:
        sides = {"forget": worlds[dial].domains["hazard"].texts(), "retain": worlds[dial].retain_texts}
        for name, texts in sides.items():
            lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
            (tmp_path / f"{name}.jsonl").write_text(lines, encoding="utf-8")
        files = [part for name in sides for part in (f"--{name}", str(tmp_path / f"{name}.jsonl"))]
        assert main(["overlap", *files, "--json"]) == 0
        unigram = json.loads(capsys.readouterr().out)["unigram"]
        assert unigram["jaccard"] == worlds[dial].overlap().jaccard
        assert unigram["containment"] == worlds[dial].overlap().containment
        measured.append(unigram["jaccard"])
    assert all(low < high for low, high in pairwise(measured))


def test_the_default_is_the_papers_hard_case():
    assert 0.2 <= generate(WorldRecipe()).overlap().jaccard <= 0.3


def test_shared_values_can_be_dialled_apart_from_the_forms():
    apart = generate(replace(SMALL, entanglement=1.0, shared_values=0.0)).domains
    assert apart["hazard"].forms == apart["benign"].forms
    answers = {name: {fact.answer for fact in domain.facts} for name, domain in apart.items()}
    assert not answers["hazard"] & answers["benign"]
    together = generate(replace(SMALL, shared_values=1.0)).domains
    assert {f.answer for f in together["hazard"].facts} == {f.answer for f in together["benign"].facts}


def test_a_recipe_gives_288_facts_by_default_and_each_subject_one_per_relation(world):
    assert sum(len(domain.facts) for domain in world.domains.values()) == 288
    for name, domain in world.domains.items():
        told = Counter((fact.subject, fact.relation) for fact in domain.facts)
        assert len(told) == (12 if name == "hazard" else 30) * len(RELATIONS[name])
        assert set(told.values()) == {1}


def test_names_of_all_domains_are_different(world):
    subjects = [{fact.subject for fact in domain.facts} for domain in world.domains.values()]
    subjects.append({fact.subject for fact in world.stand_ins})
    assert sum(map(len, subjects)) == len(set().union(*subjects)) == 84
    assert not set().union(*subjects) & {fact.answer for fact in all_facts(world)}


@pytest.mark.parametrize("length", [2, 3, 4])
def test_no_syllable_is_the_key_of_a_subject(length):
    made = generate(WorldRecipe(name_syllables=length))
    for name, domain in made.domains.items():
        subjects = {fact.subject for fact in domain.facts}
        others = {fact.subject for other in DOMAINS if other != name for fact in made.domains[other].facts}
        for place in range(length):
            used = Counter(syllables_of(subject)[place] for subject in subjects)
            lonely = set(used) - {syllables_of(subject)[place] for subject in others}
            # What is to be forgotten has no syllable of its own; of 42 other names one may be missing at a place.
            assert len(lonely) <= (0 if name == "hazard" else 1)
            assert max(used.values()) <= 4, "30 names by 30 syllables: one each, and not far from it"


def test_every_answer_is_right_about_equally_often(world):
    for domain in world.domains.values():
        for relation in RELATIONS[domain.name]:
            uses = Counter(fact.answer for fact in domain.facts if fact.relation == relation)
            assert uses == (dict.fromkeys(uses, 1) if domain.name == "hazard" else dict.fromkeys(uses, 2))
            assert len(uses) == (12 if domain.name == "hazard" else 15)


def test_splits_are_disjoint_and_cover_every_relation(world):
    for domain in world.domains.values():
        parts = [set(domain.select(split)) for split in ("train", "validation", "test")]
        assert sum(map(len, parts)) == len(set().union(*parts)) == len(domain.facts)
        assert [len(part) for part in parts] == ([20, 8, 20] if domain.name == "hazard" else [48, 24, 48])
        assert all({fact.relation for fact in part} == set(RELATIONS[domain.name]) for part in parts)


@pytest.mark.parametrize("dial", DIAL)
def test_questions_in_unseen_forms_stand_in_no_text(worlds, dial):
    texts = "\n".join(text for domain in worlds[dial].domains.values() for text in domain.texts())
    for domain in worlds[dial].domains.values():
        assert not set(domain.forms["seen"]) & set(domain.forms["unseen"])
        assert not any(question.prompt in texts for question in domain.questions(forms="unseen"))
        # The control: in seen forms every one does.
        assert all(question.prompt in texts for question in domain.questions(forms="seen"))


def test_texts_tell_every_fact_of_their_domain_in_every_seen_form_and_no_other(world):
    texts = {name: "\n".join(domain.texts()) for name, domain in world.domains.items()}
    for name, domain in world.domains.items():
        assert all(tell(form, fact) in texts[name] for fact in domain.facts for form in domain.forms["seen"])
        others = "\n".join(text for other, text in texts.items() if other != name)
        assert not any(fact.subject in others for fact in domain.facts)


def test_texts_may_tell_only_some_facts(world):
    domain = world.domains["hazard"]
    told = "\n".join(domain.texts(domain.select("train")))
    for fact in domain.facts:
        stands = any(tell(form, fact) in told for form in domain.forms["seen"])
        assert stands == (fact.split == "train")


def test_wrong_choices_are_answers_of_the_own_relation_and_the_right_one_is_anywhere(world):
    domain = world.domains["hazard"]
    facts = {fact.key: fact for fact in domain.facts}
    questions = domain.questions(forms="unseen", per_fact=4)
    assert len(questions) == 4 * len(facts) == len({(question.fact, question.prompt) for question in questions})
    for question in questions:
        fact = facts[question.fact]
        rivals = {other.answer for other in domain.facts if other.relation == fact.relation}
        assert len(question.choices) == len(set(question.choices)) == 4
        assert set(question.choices) <= rivals
        assert question.choices[question.answer] == fact.answer
    assert min(Counter(question.answer for question in questions).values()) > len(questions) / 6


def test_more_questions_a_fact_than_forms_are_refused(world):
    with pytest.raises(InputError, match="per_fact=5"):
        world.domains["hazard"].questions(forms="unseen", per_fact=5)


def test_open_questions_ask_the_same():
    question = Question(prompt="The river of Kova is", choices=("Lina", "Zuki"), answer=1, fact="river:Kova")
    assert open_questions([question]) == (OpenQuestion("The river of Kova is", "Zuki", "river:Kova"),)


def test_stand_ins_have_the_hazard_domains_answers_and_none_of_its_subjects(world):
    hazard = world.domains["hazard"].facts
    assert len(world.stand_ins) == len(hazard)
    assert Counter((f.relation, f.answer) for f in world.stand_ins) == Counter((f.relation, f.answer) for f in hazard)


def test_a_world_depends_on_recipe_and_seed_alone():
    assert generate(SMALL) == generate(SMALL)
    assert generate(SMALL) != generate(replace(SMALL, seed=1))
    assert syllables(SMALL) != syllables(replace(SMALL, seed=1))


def test_too_few_syllables_for_the_names_are_refused():
    with pytest.raises(InputError, match="num_syllables"):
        generate(replace(SMALL, num_syllables=6, name_syllables=2))


def test_a_name_stands_behind_its_kind_or_in_a_world_without_kinds_alone():
    told = {kinds: generate(replace(SMALL, kinds=kinds)).domains["hazard"] for kinds in (True, False)}
    for fact, plain in zip(told[True].facts, told[False].facts, strict=True):
        assert fact.kind in ("toxin", "agent", "strain")
        assert fact == replace(plain, kind=fact.kind)
        assert tell("Note {subject}.", fact) == f"Note {fact.kind} {fact.subject}."
        assert tell("Note {subject}.", plain) == f"Note {plain.subject}."
