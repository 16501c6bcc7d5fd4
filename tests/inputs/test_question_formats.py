"""Every format of questions in docs/how-to/formats.md is read, or refused, as the page says."""

from pathlib import Path

import datasets
import pytest

from inputs.question_formats import FORMATS, FOUR, READ, REFUSED, WHO, question_outcome, record
from inputs.text_formats import jsonl, table
from srmu.errors import InputError
from srmu.inputs.questions import Question, read_question_file, read_questions

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "formats.md"


def name_of(each):
    return each.brought


@pytest.fixture
def written(tmp_path):
    def write(content, name="q.jsonl"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


@pytest.mark.parametrize("each", READ, ids=name_of)
def test_a_format_is_read_as_the_page_says(each, written):
    found = read_question_file(written(each.content, each.file))
    assert found.questions == each.questions
    assert found.read_as == each.said
    assert found.num_dropped == each.dropped


@pytest.mark.parametrize("each", REFUSED, ids=name_of)
def test_a_format_is_refused_as_the_page_says(each, written):
    with pytest.raises(InputError) as caught:
        read_questions(written(each.content, each.file))
    message = str(caught.value)
    assert each.said in message
    assert "\n" not in message
    assert message.startswith("Question file '")


def test_formats_have_names_of_their_own_and_are_many():
    assert len({each.brought for each in FORMATS}) == len(FORMATS)
    assert len(FORMATS) >= 20


def test_the_page_has_the_table_of_the_formats():
    page = PAGE.read_text(encoding="utf-8")
    for part in (READ, REFUSED):
        assert table(part, question_outcome) in page, f"put this in {PAGE.name}:\n{table(part, question_outcome)}"


def test_questions_that_were_left_out_are_counted_in_a_warning(written):
    twice = {"question": "?", "choices": ["a", "a"], "answer": "A"}
    with pytest.warns(UserWarning, match="2 of 3 questions were left out, because two of their choices are the same"):
        assert read_questions(written(jsonl(record("C"), twice, twice | {"choices": ["a", " "]}))) == [WHO]


def test_letters_and_numbers_in_one_file_are_decided_apart(written):
    found = read_question_file(written(jsonl(record("C"), record(0), record(2))))
    assert [question.answer for question in found.questions] == [2, 0, 2]
    assert found.read_as.endswith("answers as numbers from 0 and letters")


@pytest.mark.parametrize("answer", [True, 0.5, -1, None, {"a": 1}, [], [None], "E", "²", "9" * 5000])
def test_an_answer_of_another_kind_is_refused_with_its_line(written, answer):
    with pytest.raises(InputError, match="line 2: ") as caught:
        read_questions(written(jsonl(record(0), record(answer))))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("wrong", [[1], "text", 7, None])
def test_a_record_that_is_no_object_is_refused_with_its_line(written, wrong):
    with pytest.raises(InputError, match="line 2: expected a JSON object"):
        read_questions(written(jsonl(record(0), wrong)))


def test_a_wrong_name_gets_the_nearest(written):
    with pytest.raises(InputError, match="Did you mean 'qestion'"):
        read_questions(written(jsonl({"qestion": "a", "choices": ["x", "y"], "answer": 0})))


def test_missing_and_empty_files_and_folders_are_refused(written, tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        read_questions(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match="does not exist"):
        read_questions("x" * 300)
    with pytest.raises(InputError, match="holds no question"):
        read_questions(written(b"\n \n"))
    with pytest.raises(InputError, match="it is a folder or a device"):
        read_questions(tmp_path)


def test_a_prompt_that_is_too_long_or_holds_half_a_surrogate_pair_is_refused(written):
    for content in (
        jsonl(record("C", question="x" * 4_000_001)),
        b'{"question": "\\ud800", "choices": ["a", "b"], "answer": "A"}',
    ):
        with pytest.raises(InputError, match="line 1: "):
            read_questions(written(content))


def test_a_hub_data_set_is_read_at_its_test_split(monkeypatch):
    calls = []

    def load(name, config, *, split):
        calls.append((name, config, split))
        return datasets.Dataset.from_list([record(0), record(2)])

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert read_questions("hub:org/set")[1] == WHO
    assert len(read_questions("hub:org/set:bio:validation[:2]")) == 2
    assert calls == [("org/set", None, "test"), ("org/set", "bio", "validation[:2]")]


def test_our_own_questions_with_a_fact_count_from_0_without_a_doubt(written):
    asked = Question(prompt="Who?", choices=tuple(FOUR), answer=1, fact="a")
    assert read_questions(written(jsonl(record(1, fact="a")))) == [asked]
