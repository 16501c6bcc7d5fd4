"""Whatever JSON a file holds: texts, questions and completions are read, or refused in one sentence."""

import json
import warnings
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srmu.errors import InputError
from srmu.inputs.completions import read_completions
from srmu.inputs.corpora import read_corpus
from srmu.inputs.questions import read_questions

FIELDS = (
    "text", "messages", "tools", "conversations", "system", "prompt", "completion", "response", "question", "answer",
    "instruction", "input", "output", "context", "choices", "options", "endings", "label", "labels", "answerKey",
    "role", "content", "from", "value", "type", "tool_calls", "function", "arguments", "A", "B", "C", "stem", "ctx",
    "mc1_targets", "target_scores", "correct_answer", "distractor1", "also_right", "fact", "chosen", "rejected",
)  # fmt: skip
words = st.sampled_from(
    ["", " ", "A", "b", "0", "1", "2", "user", "assistant", "gpt", "human", "text", "one two", "[1]"]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 5), st.floats(allow_nan=False), words, st.text(max_size=4)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)),
    max_leaves=12,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.one_of(words, values), "content": values},
        optional={"from": words, "value": values, "tool_calls": values},
    ),
    max_size=3,
)
shapes = st.one_of(
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=6),
    st.fixed_dictionaries({"messages": messages}, optional={"tools": values}),
    st.fixed_dictionaries(
        {"conversations": st.lists(st.fixed_dictionaries({"from": words, "value": values}), max_size=2)}
    ),
    st.fixed_dictionaries({"prompt": st.one_of(messages, values), "completion": st.one_of(messages, values)}),
    st.fixed_dictionaries({"question": values, "answer": values}),
    st.fixed_dictionaries({"question": words, "choices": values, "answer": values}, optional={"also_right": values}),
    st.fixed_dictionaries({"question": words, "choices": st.lists(words, max_size=4), "answer": values}),
    st.fixed_dictionaries({"question": values, "mc1_targets": values}),
    st.fixed_dictionaries({"input": words, "target_scores": values}),
    st.fixed_dictionaries({"question": words, "correct_answer": values, "distractor1": values}),
    st.fixed_dictionaries({"question": words, "A": values, "B": values, "answer": values}),
)
records = st.lists(st.one_of(shapes, values), max_size=3)
READERS = {
    "texts": lambda source: read_corpus([source], role="forget"),
    "texts by field": lambda source: read_corpus([source], role="forget", text_field="text"),
    "texts by form": lambda source: read_corpus([source], role="forget", text_field="question+answer"),
    "texts by template": lambda source: read_corpus([source], role="forget", text_field="{question} {answer}"),
    "questions": read_questions,
    "completions": read_completions,
}


def refusal_of(read, source):
    """The sentence of a refusal, or none; anything else that is raised is the test's failure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            read(str(source))
        except InputError as error:
            return str(error)
    return None


@pytest.mark.parametrize("kind", READERS)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=records, name=st.sampled_from(["a.jsonl", "a.json"]))
def test_records_of_any_kind_are_read_or_refused_in_a_sentence(kind, name, content, tmp_path: Path):
    text = json.dumps(content) if name == "a.json" else "\n".join(map(json.dumps, content))
    (tmp_path / name).write_text(text)
    sentence = refusal_of(READERS[kind], tmp_path / name)
    assert sentence is None or ("\n" not in sentence and sentence.endswith((".", "?")))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=60),
    suffix=st.sampled_from([".txt", ".md", ".csv", ".tsv", ".json", ".jsonl", ".jsonl.gz", ".csv.zst", ".parquet"]),
)
def test_bytes_of_any_kind_are_read_or_refused_in_a_sentence(data, suffix, tmp_path: Path):
    (tmp_path / f"a{suffix}").write_bytes(data)
    for kind in ("texts", "questions"):
        sentence = refusal_of(READERS[kind], tmp_path / f"a{suffix}")
        assert sentence is None or "\n" not in sentence
