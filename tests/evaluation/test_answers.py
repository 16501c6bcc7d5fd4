"""Completion files, exact match and ROUGE-L."""

import json
import sys

import numpy as np
import pytest

from srmu.errors import InputError
from srmu.evaluation.answers import Completion, read_completions, score_answers


def test_exact_match_ignores_case_punctuation_and_what_follows_the_line():
    scores = score_answers(
        ["Accra", "Accra", "Accra", "red\nblue"], [" accra.\nThe capital of", "Accra is", "", "Red,\nBlue\nGreen"]
    )
    assert scores.exact_match.tolist() == [1, 0, 0, 1]


def test_rouge_l_is_as_counted_by_hand():
    # Longest common subsequence of 3 words, of 4 expected and 6 given.
    scores = score_answers(["the river runs south"], ["a river that runs very south"])
    assert scores.rouge_l_recall[0] == 3 / 4
    assert scores.rouge_l_f1[0] == pytest.approx(2 * (3 / 4) * (3 / 6) / (3 / 4 + 3 / 6))


def test_rouge_equals_the_package_on_english_and_does_not_drop_other_scripts():
    from rouge_score import rouge_scorer

    target, given = "The cat's hat, 2 dogs.", "the hat of cats and 2 dogs"
    own = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False).score(target, given)["rougeL"]
    assert score_answers([target], [given]).rouge_l_f1[0] == own.fmeasure
    assert score_answers(["Москва река"], ["река Москва"]).rouge_l_recall[0] == 0.5


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(InputError, match=r"rouge-score.*srmu\[eval\]"):
        score_answers(["a"], ["a"])


def test_completion_file_is_read(tmp_path):
    file = tmp_path / "c.jsonl"
    file.write_text('{"prompt": "a", "answer": "b"}\n\n{"question": "c", "answer": "d", "more": 1}\n')
    assert read_completions(file) == [Completion(prompt="a", answer="b"), Completion(prompt="c", answer="d")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": ', "line 2: malformed JSON"),
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


def test_scores_are_one_entry_an_answer():
    scores = score_answers(["a b", "c"], ["a b", "d"])
    np.testing.assert_array_equal(scores.rouge_l_f1, [1, 0])
