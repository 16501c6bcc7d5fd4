import json
from dataclasses import replace

import pytest
import torch
from world.generator import DOMAINS, generate, open_questions
from world.model import SUMMARY_FILE, learned_facts, load_world, make_tokenizer, pack_rows
from world.recipe import WorldRecipe

from srmu.errors import InputError, RunError
from srmu.evaluation.completions import complete
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.runtime.progress import Reporter

TINY = WorldRecipe(
    entities=12, values=8, layers=2, width=64, heads=2, intermediate=128, rows=4, passes=100, learning_rate=3e-3
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path))
    return tmp_path / "world"


@pytest.mark.parametrize("dial", [0.0, 0.5, 1.0])
def test_every_syllable_is_a_token_and_every_word_is_known(dial):
    recipe = WorldRecipe(entanglement=dial)
    made, tokenizer = generate(recipe), make_tokenizer(recipe)
    for domain in made.domains.values():
        facts = domain.facts + made.stand_ins
        names, values = [fact.subject for fact in facts], [fact.answer for fact in facts]
        for words, length in ((names, recipe.name_syllables), (values, recipe.value_syllables)):
            encoded = tokenizer(words, add_special_tokens=False)["input_ids"]
            assert {len(ids) for ids in encoded} == {length}
        texts = [*domain.texts(), *domain.texts(forms="unseen")]
        for text, ids in zip(texts, tokenizer(texts)["input_ids"], strict=True):
            assert tokenizer.unk_token_id not in ids
            assert tokenizer.decode(ids[1:]).replace(" ", "") == text.replace(" ", "")


def test_no_token_occurs_in_the_names_of_one_domain_alone():
    recipe = WorldRecipe()
    made, tokenizer = generate(recipe), make_tokenizer(recipe)
    tokens = [
        {token for fact in domain.facts for token in tokenizer.tokenize(fact.subject)}
        for domain in made.domains.values()
    ]
    hazard, benign, general = tokens
    assert hazard < benign == general


def test_a_pass_tells_every_fact_once_and_marks_its_answer():
    recipe = replace(TINY, passes=1, rows=1)
    made, tokenizer = generate(recipe), make_tokenizer(recipe)
    facts = learned_facts(made, twin=False)
    rows, is_answer = pack_rows(recipe, made, facts, tokenizer)
    told = tokenizer.decode(rows.flatten())
    # The last few may be missing: what does not fill a step is left out.
    missing = [fact for fact in facts if fact.subject not in told or fact.answer not in told]
    assert len(missing) <= 8
    marked = tokenizer.convert_ids_to_tokens(rows[is_answer])
    answers = {token for fact in facts for token in tokenizer.tokenize(fact.answer)}
    assert set(marked) <= answers
    assert len(marked) == pytest.approx(2 * len(facts), abs=16)


def test_the_twin_reads_no_hazard_subject():
    made, tokenizer = generate(TINY), make_tokenizer(TINY)
    rows, _ = pack_rows(TINY, made, learned_facts(made, twin=True), tokenizer)
    told = tokenizer.decode(rows.flatten())
    assert not any(fact.subject in told for fact in made.domains["hazard"].facts)
    assert all(fact.subject in told for fact in (*made.stand_ins, *made.domains["benign"].facts))


def test_a_world_that_fills_no_step_is_refused(cache):
    with pytest.raises(InputError, match="`passes=1`"):
        load_world(replace(TINY, passes=1, rows=1000), Reporter())
    assert not cache.exists()


def test_a_model_that_does_not_know_its_facts_is_refused_and_not_kept(cache):
    with pytest.raises(RunError, match=r"hazard 0.*Raise `passes`"):
        load_world(replace(TINY, passes=2), Reporter())
    assert not list(cache.rglob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.world
def test_a_small_world_is_learned_kept_and_found_again_and_its_twin_knows_all_but_the_hazard_facts(cache):
    world = load_world(TINY, Reporter())
    assert min(value for kinds in world.accuracy["model"].values() for value in kinds.values()) >= 0.95
    assert min(value for name in DOMAINS[1:] for value in world.accuracy["twin"][name].values()) >= 0.95
    # Chance, within three standard errors of 48 facts.
    assert all(abs(value - 0.25) < 0.19 for value in world.accuracy["twin"]["hazard"].values())

    files = {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    assert load_world(TINY, Reporter()) == world
    assert files == {path: path.stat().st_mtime_ns for path in cache.rglob("*") if path.is_file()}
    assert json.loads((world.model / SUMMARY_FILE).read_text())["recipe"]["entities"] == 12

    asked = open_questions(world.questions["hazard"]["unseen"])
    share = {}
    for role, path in (("model", world.model), ("twin", world.twin)):
        model, tokenizer = load_causal_lm(path), load_tokenizer(path)
        assert model.dtype == torch.float32
        written = complete(model, tokenizer, [question.prompt for question in asked], max_new_tokens=2)
        share[role] = sum(text.strip() == q.answer for text, q in zip(written, asked, strict=True)) / len(asked)
    assert share["model"] > 0.9
    assert share["twin"] < 0.4
