"""What is wrong with TOFU's files is said before a model is loaded."""

import json

import pytest

from evaluation.benchmarks.conftest import SLICE
from srmu.errors import InputError
from srmu.evaluation.benchmarks.tofu_data import full_size, read_tofu


def change(folder, file, line, **changes):
    """Set keys of one record, numbered from 1; None removes one."""
    path = folder / file
    lines = path.read_text().splitlines()
    record = {**json.loads(lines[line - 1]), **changes}
    lines[line - 1] = json.dumps({key: value for key, value in record.items() if value is not None})
    path.write_text("\n".join(lines))
    return folder


def test_the_slice_is_read_with_the_answers_that_each_set_has(data):
    assert {name: len(questions) for name, questions in data.sets.items()} == {
        "forget": 8, "retain": 8, "real_authors": 6, "world_facts": 6,
    }  # fmt: skip
    assert data.num_questions == 28
    first = data.sets["forget"][0]
    assert first.right != first.answer
    assert [len(first.wrong), len(data.sets["world_facts"][0].wrong)] == [5, 3]
    assert data.sets["real_authors"][0].right == data.sets["real_authors"][0].answer == "William Shakespeare"


def test_a_part_of_the_files_is_not_taken_for_the_whole(data):
    assert not data.is_complete
    assert full_size("forget01", "forget") == 40
    assert full_size("forget10", "retain") == 400


def test_a_limit_takes_the_first_of_every_set(data):
    limited = read_tofu(SLICE, "forget01", limit=3)
    assert all(limited.sets[name] == questions[:3] for name, questions in data.sets.items())
    with pytest.raises(InputError, match="limit=0"):
        read_tofu(SLICE, "forget01", limit=0)


def test_an_unknown_split_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'forget10'"):
        read_tofu(SLICE, "forget1O")


def test_every_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"forget05_perturbed\.jsonl in .*there is no such file"):
        read_tofu(SLICE, "forget05")
    with pytest.raises(InputError, match=r"forget01_perturbed.*retain_perturbed.*real_authors.*world_facts"):
        read_tofu(tmp_path, "forget01")


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("forget01_perturbed.jsonl", {"perturbed_answer": None}, "line 2: 'perturbed_answer' is missing"),
        ("forget01_perturbed.jsonl", {"perturbed_answer": []}, "line 2: 'perturbed_answer' is"),
        ("forget01_perturbed.jsonl", {"perturbed_answer": ["a", " "]}, "line 2: 'perturbed_answer' 2 is"),
        ("retain_perturbed.jsonl", {"perturbed_answer": ["a"]}, "line 2: 1 perturbed answers.* has 5"),
        ("retain_perturbed.jsonl", {"paraphrased_answer": None}, "line 2: 'paraphrased_answer' is missing"),
        ("world_facts_perturbed.jsonl", {"answer": 7}, "line 2: 'answer' is '7'"),
        ("real_authors_perturbed.jsonl", {"question": ""}, "line 2: 'question' is ''"),
    ],
)
def test_a_damaged_record_is_named_with_file_line_and_key(file, changes, message, slice_copy):
    folder = change(slice_copy(), file, 2, **changes)
    with pytest.raises(InputError, match=message):
        read_tofu(folder, "forget01")


def test_a_line_that_is_no_json_and_an_empty_file_are_refused(slice_copy):
    folder = slice_copy()
    (folder / "world_facts_perturbed.jsonl").write_text('{"question": ')
    with pytest.raises(InputError, match="line 1: not JSON"):
        read_tofu(folder, "forget01")
    (folder / "world_facts_perturbed.jsonl").write_text("\n")
    with pytest.raises(InputError, match="holds no question"):
        read_tofu(folder, "forget01")
    (folder / "world_facts_perturbed.jsonl").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        read_tofu(folder, "forget01")


def test_forgotten_questions_among_the_retained_are_refused(slice_copy):
    folder = slice_copy()
    forgotten = json.loads((folder / "forget01_perturbed.jsonl").read_text().splitlines()[4])["question"]
    change(folder, "retain_perturbed.jsonl", 1, question=forgotten)
    with pytest.raises(InputError, match=r"1 questions of forget01_perturbed\.jsonl are in retain_perturbed\.jsonl"):
        read_tofu(folder, "forget01")
