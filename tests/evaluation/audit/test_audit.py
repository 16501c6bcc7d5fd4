"""The collateral audit: nothing is lost where nothing changed, damage is found where it was done."""

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from families import save_family
from measured_runs import make_audit
from srmu.evaluation.audit import audit as audit_module
from srmu.evaluation.audit import base_knowledge
from srmu.evaluation.audit.audit import audit, prepare_audit
from srmu.evaluation.audit.bank import BankFact, choose_facts, read_bank
from srmu.evaluation.audit.known_tokens import find_known_tokens
from srmu.results.audit_records import Audit, audit_part, describe_loss
from srmu.results.schema import from_json, to_json
from srmu.runtime.progress import Reporter
from tiny_tokenizers import make_tokenizer

SENTENCES = [
    "the capital of the red country is silver market .",
    "the capital of the blue country is copper bridge .",
    "the river runs from north to south .",
    "the castle in the forest is old and small .",
    "the engine of the rocket is new and large .",
    "the island holds a violet garden .",
]
COUNTRIES = ("red country", "blue country")
FORMS = ("the capital of the {subject} is", "the capital of the {subject} is")


def fact(field: str, subject: str, answer: str, wrong: str) -> BankFact:
    return BankFact(field, "capital", subject, answer, (wrong, "winter meadow", "two three"), FORMS)


BANK = (
    fact("places", "red country", "silver market", "copper bridge"),
    fact("towns", "blue country", "copper bridge", "silver market"),
    BankFact("rivers", "runs", "river", "north", ("garden", "old", "violet"), ("the {subject} runs from",) * 2),
)


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A tiny model that has learned the sentences by heart, and its tokenizer."""
    tokenizer = make_tokenizer()
    model = AutoModelForCausalLM.from_pretrained(save_family("llama", tmp_path_factory.mktemp("llama")))
    batch = tokenizer(SENTENCES, return_tensors="pt", padding=True)
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for _ in range(120):
        optimizer.zero_grad()
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels).loss.backward()
        optimizer.step()
    return model.eval(), tokenizer


@pytest.fixture(autouse=True)
def small_bank(monkeypatch):
    monkeypatch.setattr(audit_module, "read_bank", lambda: BANK)
    monkeypatch.setattr(base_knowledge, "read_bank", lambda: BANK)
    monkeypatch.setattr(audit_module, "general_paragraphs", lambda: ("the of is in a and .",))
    monkeypatch.setattr(base_knowledge, "OPENINGS", ("the river", "the castle", "the island", "the engine"))


def prepare(learned, forget=("the Red holds a garden .",), file=None):
    model, tokenizer = learned
    return prepare_audit(model, tokenizer, forget, reporter=Reporter(), file=file)


def test_a_result_that_changed_nothing_keeps_everything(learned):
    items = prepare(learned)
    found = audit(*learned, items, reporter=Reporter())
    parts = [*found.fields, *filter(None, (found.touching, found.neighbours, found.written))]
    assert len(found.fields) == 2
    assert found.written is not None
    assert all(part.known > 0 and part.kept == 1.0 for part in parts)
    assert found.bank is not None
    assert found.bank.kept == 1.0


def test_facts_that_touch_the_forget_texts_are_counted_apart(learned):
    found = audit(*learned, prepare(learned), reporter=Reporter())
    assert {part.name for part in found.fields} == {"towns", "rivers"}
    assert found.touching is not None
    assert found.touching.known == 1
    untouched = audit(*learned, prepare(learned, ("a winter meadow .",)), reporter=Reporter())
    assert untouched.touching is None
    assert {part.name for part in untouched.fields} == {"places", "towns", "rivers"}


def test_damage_is_found_and_the_worst_field_comes_first(learned):
    model, tokenizer = learned
    broken = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in broken.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))
    found = audit(broken, tokenizer, prepare(learned), reporter=Reporter())
    assert found.written is not None
    assert found.written.kept < 0.5
    assert found.fields[0].kept == min(part.kept for part in found.fields)
    assert found.fields[0].kept < 1.0


def test_known_tokens_are_predicted_well_and_not_by_the_token_before_alone(learned):
    model, tokenizer = learned
    rows = [tokenizer.encode(text) for text in SENTENCES]
    found = find_known_tokens(model, tokenizer, rows, begin=[1] * len(rows))
    assert found is not None
    words = [tokenizer.decode([token]) for token in rows[0][1:]]
    assert found.begin[0] == 1
    known = dict(zip(words, found.known, strict=False))
    # In "the capital of the red country is silver market ." the other occurrences of "capital" say "of".
    assert known["silver"]
    assert not known["of"]


def test_ids_that_are_left_out_and_tokens_before_the_beginning_never_count(learned):
    model, tokenizer = learned
    rows = [tokenizer.encode(SENTENCES[0])]
    silver = tokenizer.convert_tokens_to_ids("silver")
    with_it = find_known_tokens(model, tokenizer, rows, begin=[1])
    without = find_known_tokens(model, tokenizer, rows, begin=[1], left_out={silver})
    late = find_known_tokens(model, tokenizer, rows, begin=[len(rows[0]) - 1])
    assert with_it is not None
    assert without is not None
    assert with_it.count == without.count + 1
    assert late is None or late.count <= 1


def test_base_and_result_are_asked_the_same_questions_in_the_same_batches(learned, monkeypatch):
    model, tokenizer = learned
    asked = []
    real = base_knowledge.score_questions
    monkeypatch.setattr(
        base_knowledge,
        "score_questions",
        lambda m, t, questions: asked.append(list(questions)) or real(m, t, questions),
    )
    items = prepare(learned)
    audit(model, tokenizer, items, reporter=Reporter())
    assert asked[-1] == asked[-2]
    assert len(asked[-1]) == 3


def test_what_the_base_knows_is_asked_once_and_then_read_from_its_file(learned, tmp_path, monkeypatch):
    file = tmp_path / "audit" / "base.json"
    first = prepare(learned, file=file)
    assert file.is_file()
    monkeypatch.setattr(base_knowledge, "answered_right", None)
    assert prepare(learned, file=file) == first
    other = prepare(learned, ("a winter meadow .",), file=file)
    assert other.facts == first.facts
    assert not any(other.touching)


@pytest.mark.parametrize("content", ["", "[]", '{"facts": ["a:b:c"], "right": [true]}'])
def test_a_file_that_is_damaged_or_of_another_bank_is_made_anew(learned, tmp_path, content):
    file = tmp_path / "base.json"
    file.write_text(content)
    assert prepare(learned, file=file) == prepare(learned)
    assert file.read_text() != content


def test_the_base_is_asked_no_more_facts_of_a_field_than_it_takes(learned, monkeypatch):
    bank = tuple(
        BankFact("places", f"r{number}", "red country", "silver market" if known else "two three",
                 ("winter meadow", "old garden", "violet"), FORMS)
        for number, known in enumerate([True] * 4 + [False] * 4)
    )  # fmt: skip
    monkeypatch.setattr(base_knowledge, "read_bank", lambda: bank)
    monkeypatch.setattr(base_knowledge, "KNOWN_PER_FIELD", 2)
    asked = []
    monkeypatch.setattr(
        base_knowledge, "answered_right",
        lambda m, t, facts, form: asked.extend(facts) or [fact.answer == "silver market" for fact in facts],
    )  # fmt: skip
    found = base_knowledge._find_known_facts(*learned)
    assert len(found) == 2
    last_asked = asked.index(found[-1])
    assert len(asked) <= last_asked + 2


def test_trials_are_asked_a_part(learned):
    model, tokenizer = learned
    items = prepare(learned)
    some = prepare_audit(model, tokenizer, ("the Red holds a garden .",), reporter=Reporter(), is_trial=True)
    assert items.neighbours is not None
    assert (some.facts, some.right) == (items.facts[::2], items.right[::2])
    assert (some.neighbours, some.written) == (None, items.written)
    assert audit(model, tokenizer, some, reporter=Reporter()).kept == 1.0


def test_the_line_about_losses_names_fields_and_remedies_and_is_silent_where_little_is_lost():
    line = describe_loss(make_audit())
    assert line is not None
    assert "4.2 % of the shipped facts (most in rivers and seas)" in line
    assert "25 % of what else the base says of the forget texts' names" in line
    assert "give retain texts about rivers and seas; raise --retain-weight; --retain near" in line
    assert describe_loss(make_audit(bank=0.95, names=0.95)) is None
    only_names = describe_loss(make_audit(bank=0.95))
    assert only_names is not None
    assert "shipped facts" not in only_names
    assert "--retain-weight" not in only_names


def test_the_shipped_bank_is_broad_and_each_fact_can_be_asked():
    bank = read_bank()
    fields = {one.field for one in bank}
    assert len(fields) >= 30
    assert len(bank) >= 1500
    assert len({one.key for one in bank}) == len(bank)
    for one in bank:
        first, second = one.question(0), one.question(-1)
        assert len(set(first.choices)) == 4
        assert first.choices[first.answer] == second.choices[second.answer] == one.answer
        assert first.prompt != second.prompt
        assert one.subject in first.prompt


def test_the_chosen_facts_are_spread_over_fields_and_relations():
    chosen = choose_facts(read_bank(), 8)
    by_field = {name: [one for one in chosen if one.field == name] for name in {one.field for one in chosen}}
    assert all(len(group) == 8 for group in by_field.values())
    for name, group in by_field.items():
        relations = {one.relation for one in read_bank() if one.field == name}
        assert len({one.relation for one in group}) == min(8, len(relations))


def test_the_record_goes_to_json_and_back_and_compares_item_by_item():
    part = audit_part("a", [True, True, True, False], [True, False, True, False])
    assert (part.known, part.base, part.result) == (4, 0.75, 0.5)
    assert part.kept == pytest.approx(2 / 3)
    assert part.stderr == pytest.approx(0.25)  # one loss in four: deviations of -3/4 and thrice 1/4
    found = Audit(part, (part,), None, part, None)
    assert from_json(Audit, to_json(found)) == found
    alone = audit_part("b", [False], [True])
    assert (alone.kept, alone.stderr) == (None, None)
