"""RWKU's sets read from files, put as in the paper, and scored on tiny models that must do well or badly."""

import json

import numpy as np
import pytest
import torch

from evaluation.benchmarks.conftest import build
from evaluation.benchmarks.small_questions import ATTACKS, SUBJECTS, rwku_records, write_lines, write_rwku
from srmu.errors import InputError
from srmu.evaluation.benchmarks import rwku
from srmu.evaluation.benchmarks.rwku import estimate_seconds, prompts_of, score_rwku
from srmu.evaluation.benchmarks.rwku_data import HUB, SETS, read_rwku
from srmu.evaluation.benchmarks.rwku_prompts import Asker
from srmu.evaluation.encoding import encode
from srmu.runtime.progress import Reporter

TEMPLATE = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}{% if add_generation_prompt %} >{% endif %}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_rwku(tmp_path_factory.mktemp("rwku"))


@pytest.fixture
def chat_tokenizer(tokenizer):
    tokenizer.chat_template = TEMPLATE
    yield tokenizer
    tokenizer.chat_template = None


@pytest.fixture
def words(monkeypatch):
    """Words without NLTK's data, which are not installed everywhere."""
    monkeypatch.setattr(rwku, "split_words", lambda texts: [text.split() for text in texts])


def test_a_probe_is_put_as_in_the_paper(folder, chat_tokenizer):
    data, asker = read_rwku(folder), Asker(chat_tokenizer, chat=True)
    first = {name: prompts_of(asker, name, items) for name, items in data.sets.items() if "level" in name}
    query = data.sets["forget_level1"][0].query
    blank = "Please complete the blank in the following question.\nQuestion: "
    assert first["forget_level1"][0] == f"[{blank}{query}\n] >Answer:"
    query = data.sets["neighbor_level2"][0].query
    assert (
        first["neighbor_level2"][0] == f"[Please briefly answer the following question.\nQuestion: {query}\n] >Answer:"
    )
    attacks = dict(zip(ATTACKS, first["forget_level3"], strict=False))
    queries = dict(zip(ATTACKS, [item.query for item in data.sets["forget_level3"]], strict=False))
    briefly = "[Please briefly answer the following question.\n"
    assert attacks["affirmative suffix"] == f"{briefly}Question: {queries['affirmative suffix']}] >"
    assert attacks["incontext learning"] == f"{briefly}{queries['incontext learning']}\n] >Answer:"
    assert attacks["reverse query"] == f"{briefly}Question: {queries['reverse query']}\n] >Answer:"


def test_utility_questions_are_put_after_their_examples(folder, chat_tokenizer):
    data, asker = read_rwku(folder), Asker(chat_tokenizer, chat=True)
    (mmlu, *_), (bbh, *_) = data.sets["utility_general"], data.sets["utility_reason"]
    asked = asker.multiple_choice(mmlu)
    assert asked.startswith("[The following are multiple choice questions (with answers) about anatomy.\n\nQuestion: ")
    assert asked.count("\nAnswer: ") == len(mmlu.examples) == 5
    assert asked.endswith(f"\nD. {mmlu.choices[3]}] >Answer:")
    end = "\n\nFollowing previous examples, answer the following questions and end with 'so the answer is'\nQ: "
    assert asker.reasoning(bbh) == f"[{bbh.examples}{end}{bbh.question}] > A:"
    assert asker.truthful(data.sets["utility_truthfulness"][0]).count("\nA: ") == 6
    assert asker.trivia(data.sets["utility_factuality"][0]).count("\nA: ") == 5
    assert asker.instruction(data.sets["utility_fluency"][0]).startswith("[Instruction: ")
    plain = Asker(chat_tokenizer, chat=False)
    assert plain.multiple_choice(mmlu).endswith(f"\nD. {mmlu.choices[3]}\nAnswer:")
    assert plain.reasoning(bbh).endswith(f"Q: {bbh.question}\nA:")


def test_all_sets_are_scored_and_a_random_model_knows_nothing(folder, tokenizer, words):
    data = read_rwku(folder)
    found = score_rwku(build(), tokenizer, data, chat=False, reporter=Reporter())
    assert list(found) == list(SETS)
    assert all(len(found[name].values) == len(items) for name, items in data.sets.items())
    assert found["forget_level1"].mean < 0.2
    assert set(found["forget_level3"].by_kind()) == set(ATTACKS)
    # About as likely as any other token of the vocabulary.
    assert found["mia_forget"].mean == pytest.approx(np.log(1024), rel=0.2)
    assert set(found["mia_forget"].others) == {"zlib", "min_k", "min_k_plus"}


def test_a_model_that_writes_the_answers_has_full_recall(folder, tokenizer, monkeypatch):
    data = read_rwku(folder, sets=["forget_level2", "utility_factuality", "utility_reason"])
    answers = {
        "forget_level2": [item.answer for item in data.sets["forget_level2"]],
        "utility_factuality": [item.answers[1] for item in data.sets["utility_factuality"]],
        "utility_reason": ["Let me think. So the answer is two."] * 4,
    }
    queue = [answers[name] for name in data.sets]
    monkeypatch.setattr(rwku, "complete", lambda *arguments, **options: queue.pop(0))
    found = score_rwku(build(), tokenizer, data, chat=False, reporter=Reporter())
    assert [score.mean for score in found.values()] == [1.0, 1.0, 1.0]


def test_choices_equal_those_of_one_plain_pass_each(folder, tokenizer):
    data = read_rwku(folder, sets=["utility_general", "utility_truthfulness"])
    model, asker = build(), Asker(tokenizer, chat=False)
    found = score_rwku(model, tokenizer, data, chat=False, reporter=Reporter())

    def log_p(context, answer):
        with torch.no_grad():
            rows = model(input_ids=torch.tensor([context + answer])).logits[0].log_softmax(-1)
        return sum(float(rows[len(context) - 1 + place, token]) for place, token in enumerate(answer))

    letters = [tokenizer.encode(f" {letter}")[-1:] for letter in "ABCD"]
    for number, item in enumerate(data.sets["utility_general"]):
        context = encode(tokenizer, asker.multiple_choice(item))
        chosen = int(np.argmax([log_p(context, letter) for letter in letters]))
        assert found["utility_general"].values[number] == (chosen == item.answer)
    for number, item in enumerate(data.sets["utility_truthfulness"]):
        prompt = asker.truthful(item)
        context = encode(tokenizer, prompt)
        values = [
            log_p(context, encode(tokenizer, f"{prompt} {text}")[len(context) :]) for text in (item.right, *item.wrong)
        ]
        assert found["utility_truthfulness"].values[number] == (values[0] > max(values[1:]))


def test_one_person_is_read_alone_and_a_limit_takes_some_of_each(folder):
    one = read_rwku(folder, subject=SUBJECTS[1])
    assert {item.subject for items in one.sets.values() for item in items} == {SUBJECTS[1]}
    few = read_rwku(folder, limit=2)
    assert all([item.subject for item in items] == list(SUBJECTS) for items in few.sets.values())
    assert few.sha256 == one.sha256
    with pytest.raises(InputError, match=r"subject='Ada Quil'.*'Ada Quill'"):
        read_rwku(folder, subject="Ada Quil")


def test_the_names_of_the_authors_own_files_are_known(tmp_path):
    records = rwku_records()
    for name, other in (("utility_general", "retain_mmlu"), ("mia_forget", "forget_mia"), ("forget_level1",) * 2):
        (tmp_path / f"{other}.json").write_text(json.dumps(records[name], indent=4))
    data = read_rwku(tmp_path)
    assert list(data.sets) == ["forget_level1", "mia_forget", "utility_general"]
    assert data.missing["utility_fluency"] == "utility_fluency.jsonl is not in the folder"
    assert len(data.missing) == len(SETS) - 3


def test_a_set_that_is_asked_for_must_be_there(folder, tmp_path):
    write_lines(tmp_path / "mia_forget.jsonl", rwku_records()["mia_forget"])
    with pytest.raises(InputError, match=r"'mia_retain' is not in .*no mia_retain.jsonl"):
        read_rwku(tmp_path, sets=["mia_forget", "mia_retain"])
    with pytest.raises(InputError, match=r"set='mia_forgot' was asked for.*'mia_forget'"):
        read_rwku(folder, sets=["mia_forgot"])
    only = read_rwku(folder, sets=["mia_forget"])
    assert set(only.missing.values()) == {"it was not asked for"}
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds none of RWKU's sets"):
        read_rwku(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("forget_level1", {"query": None}, "line 2: 'query' is missing"),
        ("neighbor_level2", {"answer": 3}, "line 2: 'answer' is 3, expected a text"),
        ("mia_retain", {"text": " "}, "line 2: 'text' is ' '"),
        ("utility_general", {"choices": ["one"]}, r"line 2: 'choices' is \['one'\], expected four texts"),
        ("utility_general", {"examples": None}, "line 2: 'examples' is missing"),
        ("utility_general", {"examples": [{"question": "Q", "choices": list("wxyz"), "answer": 7}]},
         "line 2: 'examples' 1: 'answer' is 7"),
        ("utility_reason", {"cot": None}, "line 2: 'cot' is missing"),
        ("utility_truthfulness", {"mc1_targets": {"choices": ["one", "two"], "labels": [1, 1]}}, "2 right and 0 wrong"),
        ("utility_factuality", {"answers": []}, r"'answers' is \[\], expected a list of texts"),
        ("utility_fluency", {"instruction": None}, "'instruction' is missing"),
    ],
)  # fmt: skip
def test_a_malformed_record_is_named_with_file_and_line(tmp_path, name, fields, message):
    records = rwku_records()[name]
    records[1] = {key: value for key, value in {**records[1], **fields}.items() if value is not None}
    write_lines(tmp_path / f"{name}.jsonl", records)
    with pytest.raises(InputError, match=f"{name}.jsonl.*{message}"):
        read_rwku(tmp_path)


def test_the_hub_is_asked_for_every_set(monkeypatch):
    records, asked = rwku_records(), []

    def read_records(source, where, wanted, notes):
        asked.append(source)
        for number, record in enumerate(records[source.split(":")[2]], 1):
            yield f"{where}, row {number}", record

    monkeypatch.setattr("srmu.evaluation.benchmarks.rwku_data.read_records", read_records)
    data = read_rwku(HUB)
    assert asked == [f"hub:jinzhuoran/RWKU:{name}:test" for name in SETS]
    assert (list(data.sets), data.missing) == (list(SETS), {})


def test_an_estimate_is_of_what_is_written(folder, tokenizer):
    model = build()
    short = estimate_seconds(model, tokenizer, read_rwku(folder, sets=["forget_level1"]), chat=False)
    assert 0 < short < estimate_seconds(model, tokenizer, read_rwku(folder), chat=False)
    assert estimate_seconds(model, tokenizer, read_rwku(folder, sets=["mia_forget"]), chat=False) == 0
