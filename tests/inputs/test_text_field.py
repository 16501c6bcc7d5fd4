"""Text from a field, or from a template of several, from every kind of source."""

import json

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from srmu.errors import InputError
from srmu.inputs import readers
from srmu.inputs.corpora import Document, Message, read_corpus
from srmu.inputs.text_field import parse_text_field

TEMPLATE = "Question: {question}\nAnswer: {answer}"
RECORDS = [{"question": "Who?", "answer": "Ito.", "id": 1}, {"question": "Where?", "answer": "Here.", "id": 2}]
TEXTS = ["Question: Who?\nAnswer: Ito.", "Question: Where?\nAnswer: Here."]


def texts(source, text_field=TEMPLATE):
    return [document.text for document in read_corpus([str(source)], text_field=text_field, role="forget").documents]


def refusal(source, text_field=TEMPLATE):
    with pytest.raises(InputError) as caught:
        read_corpus([str(source)], text_field=text_field, role="forget")
    return str(caught.value)


@pytest.fixture
def written(tmp_path):
    def write(records, name="a.jsonl"):
        path = tmp_path / name
        text = json.dumps(records) if name.endswith(".json") else "".join(json.dumps(item) + "\n" for item in records)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_template_puts_the_fields_of_a_record_together(written, name):
    assert texts(written(RECORDS, name)) == TEXTS


def test_a_json_object_is_one_record_or_holds_the_list_of_them(written):
    assert texts(written(RECORDS[0], "a.json")) == TEXTS[:1]
    assert texts(written({"version": 1, "data": RECORDS}, "b.json")) == TEXTS


def test_a_template_reads_parquet_and_hub_columns(tmp_path, monkeypatch):
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == TEXTS
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(RECORDS))
    assert texts("hub:org/set") == TEXTS


def test_a_line_break_that_a_shell_passed_as_two_characters_is_one(written):
    assert texts(written(RECORDS), r"Question: {question}\nAnswer: {answer}") == TEXTS


def test_a_field_may_stand_twice_and_doubled_braces_are_braces(written):
    assert texts(written(RECORDS[:1]), "{{{answer}}} {answer}") == ["{Ito.} Ito."]
    assert parse_text_field("{a} {b} {a}").names == ("a", "b")


def test_a_name_between_braces_is_taken_as_it_stands(written):
    assert texts(written([{"a.b": "dot", "a": {"b": "x"}}]), "{a.b}") == ["dot"]


def test_braces_in_the_texts_stay(written):
    assert texts(written([{"question": "{answer}", "answer": "{"}]), "{question} {answer}") == ["{answer} {"]


def test_a_missing_field_of_a_template_is_named_with_its_line_and_the_nearest(written):
    message = refusal(written([RECORDS[0], {"question": "Who?", "answr": "Ito."}]))
    assert "line 2: field 'answer' is missing; there is 'question', 'answr'. Did you mean 'answr'?" in message


def test_a_missing_column_of_a_template_is_named(tmp_path, monkeypatch):
    columns = {"question": ["Who?"], "answers": ["Ito."]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_dict(columns))
    for source in (tmp_path / "a.parquet", "hub:org/set"):
        assert "field 'answer' is missing" in refusal(source)
        assert "Did you mean 'answers'?" in refusal(source)


def test_a_record_without_any_text_in_its_fields_is_dropped_and_counted(written):
    path = written([{"question": " ", "answer": None}, *RECORDS, {"question": "What?", "answer": None}])
    corpus = read_corpus([str(path)], text_field=TEMPLATE, role="forget")
    assert [document.text for document in corpus.documents] == [*TEXTS, "Question: What?\nAnswer: "]
    assert corpus.num_dropped == 1


def test_a_field_that_is_no_text_is_refused_with_its_line(written):
    message = refusal(written([RECORDS[0], {"question": "Who?", "answer": ["Ito."]}]))
    assert "line 2: field 'answer' holds list, and a template needs text" in message


def test_a_chat_record_without_the_fields_stays_a_chat(written):
    chat = [{"role": "user", "content": "Who?"}]
    path = written([{"messages": chat}, {"messages": chat, **RECORDS[0]}])
    corpus = read_corpus([str(path)], text_field=TEMPLATE, role="forget")
    assert corpus.documents == (Document(messages=(Message("user", "Who?"),)), Document(text=TEXTS[0]))


def test_plain_strings_need_no_template(written):
    assert texts(written(["one"])) == ["one"]


@pytest.mark.parametrize("wrong", ["{question", "question}", "{}", "{question!r}", "{question:>9}", "{{question}}"])
def test_a_malformed_template_is_refused_with_the_way_to_write_it(written, wrong):
    message = refusal(written(RECORDS), wrong)
    assert repr(wrong) in message
    assert "Write each field as {name}, and a brace itself twice." in message


def test_a_plain_field_may_hold_messages(written):
    assert parse_text_field("text").names == ("text",)
    chat = [{"role": "user", "content": "Who?"}]
    documents = read_corpus([str(written([{"talk": chat}]))], text_field="talk", role="forget").documents
    assert documents == (Document(messages=(Message("user", "Who?"),)),)


# Hub data of unusual size or name


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("hub:org/set", "hub:org/set::train[:2000]"),
        ("hub:org/set:bio:test", "hub:org/set:bio:test[:2000]"),
        ("hub:org/set:bio:train[10%:]", "hub:org/set:bio:train[:2000]"),
    ],
)
def test_a_very_large_hub_data_set_is_read_with_a_word_on_how_to_read_a_part(monkeypatch, source, part):
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset.from_list(RECORDS))
    monkeypatch.setattr(readers, "_MANY_BYTES", 4)
    with pytest.warns(UserWarning, match="hold 2 documents") as caught:
        assert texts(source) == TEXTS
    assert part in str(caught[0].message)


def test_the_size_is_that_of_the_part_and_of_the_fields_that_are_read(monkeypatch):
    table = datasets.Dataset.from_dict({"text": ["one"] * 1000, "pages": ["x" * 1000] * 1000})
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: datasets.Dataset(table.data.slice(0, 10)))
    monkeypatch.setattr(readers, "_MANY_BYTES", 500)
    assert texts("hub:org/set::train[:10]", "text") == ["one"] * 10


def test_a_missing_data_set_with_gated_in_its_name_is_not_called_gated(monkeypatch):
    def fail(*_, **__):
        raise datasets.exceptions.DatasetNotFoundError("Dataset 'org/aggregated' doesn't exist on the Hub.")

    monkeypatch.setattr(datasets, "load_dataset", fail)
    assert "no such data set" in refusal("hub:org/aggregated")
