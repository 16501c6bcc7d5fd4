"""Texts as Python objects."""

from itertools import repeat

import datasets
import pandas
import pyarrow
import pytest

from srmu.errors import InputError
from srmu.inputs import objects
from srmu.inputs.objects import documents_of

RECORDS = [{"question": "Who?", "answer": "Ito."}, {"question": "Where?", "answer": "Here."}]
TEXTS = ["Question: Who?\nAnswer: Ito.", "Question: Where?\nAnswer: Here."]


@pytest.mark.parametrize(
    "given",
    [
        RECORDS,
        tuple(RECORDS),
        iter(RECORDS),
        (record for record in RECORDS),
        {"question": ["Who?", "Where?"], "answer": ["Ito.", "Here."]},
        pandas.DataFrame(RECORDS),
        datasets.Dataset.from_list(RECORDS),
        datasets.Dataset.from_list(RECORDS).to_iterable_dataset(),
        pyarrow.Table.from_pylist(RECORDS),
    ],
    ids=lambda given: type(given).__name__,
)
def test_records_in_any_object_are_the_same_texts(given):
    corpus = documents_of(given)
    assert [document.text for document in corpus.documents] == TEXTS
    assert corpus.read_as == "read as question and answer, 2 records"
    assert corpus.sha256 == documents_of(RECORDS).sha256


@pytest.mark.parametrize("given", [["one", "two"], pandas.Series(["one", None, "two"]), {"text": ["one", "two"]}])
def test_strings_need_no_form(given):
    assert [document.text for document in documents_of(given).documents] == ["one", "two"]


def test_a_path_is_read_as_a_file(tmp_path):
    (tmp_path / "a.txt").write_text("one\n\ntwo")
    assert len(documents_of(tmp_path / "a.txt").documents) == 2


def test_a_field_can_be_named():
    frame = pandas.DataFrame({"body": ["one", float("nan")], "id": [1, 2]})
    corpus = documents_of(frame, text_field="body")
    assert [document.text for document in corpus.documents] == ["one"]
    assert corpus.num_dropped == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("one", "are one text. Put it in a list"),
        (7, "Forget texts given as int cannot be read"),
        ([], "hold no document"),
        ([{"title": "x"}], "item 1: field 'text' is missing; there is 'title'"),
        (["one", 7], "item 2: found int"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_list(RECORDS)}), r"hold the splits 'train'. Give one"),
    ],
)
def test_what_holds_no_texts_is_refused(given, said):
    with pytest.raises(InputError, match=said):
        documents_of(given)


def test_conversations_and_numbers_in_a_frame_are_read(tmp_path):
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Ito."}]
    pandas.DataFrame({"messages": [turns], "id": [1]}).to_parquet(tmp_path / "a.parquet")
    frame = pandas.read_parquet(tmp_path / "a.parquet")
    assert documents_of(frame).documents == documents_of([{"messages": turns}]).documents
    assert documents_of(pandas.DataFrame({"question": ["How many?"], "answer": [7]})).documents[0].text.endswith("7")


def test_an_iterator_without_an_end_is_refused(monkeypatch):
    monkeypatch.setattr(objects, "MOST_ITERATED", 100)
    with pytest.raises(InputError, match=r"do not end after 100 items. Give a part: itertools.islice"):
        documents_of(repeat("one"))
