"""Files of prompts and expected answers."""

import json

import pytest

from srmu.errors import InputError
from srmu.inputs.completions import Completion, read_completions


def test_completion_file_is_read(tmp_path):
    file = tmp_path / "c.jsonl"
    file.write_text('{"prompt": "a", "answer": "b"}\n\n{"question": "c", "answer": "d", "more": 1}\n')
    assert read_completions(file) == [Completion(prompt="a", answer="b"), Completion(prompt="c", answer="d")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": ', "line 2: not JSON"),
        ("[1]", "line 2: expected a JSON object, found list"),
        ('{"promt": "a", "answer": "b"}', "line 2: 'prompt' must be a text, found None. Did you mean 'promt'"),
        ('{"prompt": "a", "answer": 3}', "line 2: 'answer' must be a text, found 3"),
        ('{"prompt": "a", "answer": " "}', "line 2: 'answer' must be a text, found ' '"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    file = tmp_path / "c.jsonl"
    file.write_text(json.dumps({"prompt": "a", "answer": "b"}) + "\n" + line)
    with pytest.raises(InputError) as error:
        read_completions(file)
    assert message in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_missing_empty_or_binary_file_is_refused(tmp_path, content):
    file = tmp_path / "c.jsonl"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match="Completion file"):
        read_completions(file)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.csv", "question,answer\nWho?,Ito\n"),
        ("c.tsv", "prompt\tcompletion\nWho?\tIto\n"),
        ("c.json", '[{"instruction": "Who?", "output": "Ito"}]'),
    ],
)
def test_tables_and_the_forms_of_texts_are_read(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert read_completions(tmp_path / name) == [Completion(prompt="Who?", answer="Ito")]
