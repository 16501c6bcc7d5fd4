"""Parity with lm-evaluation-harness itself, item by item, and tasks that do not exist."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest

from export.conftest import write_run
from srmu.errors import InputError
from srmu.evaluation.harness import _collect, run_tasks
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.evaluation.questions import score_questions
from srmu.inputs import harness_tasks
from srmu.inputs.harness_tasks import find_tasks
from srmu.inputs.questions import read_questions
from tiny_tokenizers import WORDS

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")

TASK = """
task: four_choice
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
output_type: multiple_choice
test_split: test
doc_to_text: question
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
  - metric: acc_norm
"""


@pytest.fixture
def local_task(tmp_path, monkeypatch):
    """A local four-choice task of 24 items, and its data file."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    rng = np.random.default_rng(0)
    data = tmp_path / "questions.jsonl"
    lines = []
    for _ in range(24):
        sizes = rng.permutation([1, 2, 3, 4])
        choices = [" ".join(rng.choice(WORDS[:40], size, replace=False)) for size in sizes]
        lines.append(
            {"question": " ".join(rng.choice(WORDS[:40], 5)), "choices": choices, "answer": int(rng.integers(4))}
        )
    data.write_text("\n".join(map(json.dumps, lines)))
    file = tmp_path / "four_choice.yaml"
    file.write_text(TASK.format(data=data))
    return file, data


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("tokenizer_name", ["words", pytest.param("bytes_no_bos", marks=pytest.mark.slow)])
def test_accuracy_of_an_exported_checkpoint_is_the_harnesss_on_every_item(
    saved_family, tmp_path, local_task, tokenizer_name
):
    file, data = local_task
    run = write_run(saved_family("llama", tokenizer=tokenizer_name), tmp_path / "run")
    model, tokenizer = load_causal_lm(run / "model"), load_tokenizer(run / "model")
    theirs = run_tasks(model, tokenizer, find_tasks([str(file)]))["four_choice"]
    ours = score_questions(model, tokenizer, read_questions(data))
    assert theirs.num_items == 24
    np.testing.assert_array_equal(theirs.items["acc,none"], ours.correct_raw)
    np.testing.assert_array_equal(theirs.items["acc_norm,none"], ours.correct_norm)
    assert theirs.metrics["acc_norm,none"] == ours.accuracy
    assert theirs.metrics["acc,none"] == ours.accuracy_raw
    # Neither all right nor all wrong, and the two rules differ: the comparison could fail.
    assert 0 < ours.accuracy < 1
    assert (ours.correct_norm != ours.correct_raw).any()


@pytest.mark.filterwarnings("default")
def test_a_tasks_documents_are_the_questions_of_its_file(local_task):
    file, data = local_task
    expected = read_questions(data)
    assert read_questions(f"task:{file}") == expected
    file.write_text(file.read_text() + 'description: "Choose. "\n')
    assert read_questions(f"task:{file}")[3] == replace(expected[3], prompt=f"Choose. {expected[3].prompt}")
    assert len(expected) == 24


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("output_type: multiple_choice", "output_type: loglikelihood", "does not choose among answers"),
        ("doc_to_text: question", "doc_to_text: question\ntarget_delimiter: ''", "puts '' before an answer"),
    ],
)
def test_what_is_no_question_after_a_space_is_refused(local_task, old, new, message):
    file, _ = local_task
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(InputError, match=message):
        read_questions(f"task:{file}")


@pytest.mark.filterwarnings("default")
def test_several_tasks_under_one_name_are_refused_as_questions(local_task, small_index, tmp_path):
    file, _ = local_task
    for name in ("wmdp_bio", "wmdp_cyber"):
        text = file.read_text().replace("task: four_choice", f"task: {name}\ntag: both")
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(InputError, match="'both' is 2 tasks"):
        read_questions("task:both")
    assert len(read_questions("task:wmdp_bio")) == 24


@pytest.fixture
def small_index(tmp_path, monkeypatch):
    """A task manager of one local folder, in place of the harness's thousands of files."""
    from lm_eval.tasks import TaskManager

    for name in ("wmdp_bio", "wmdp_cyber", "mmlu"):
        (tmp_path / f"{name}.yaml").write_text(TASK.format(data="none").replace("four_choice", name))
    monkeypatch.setattr(
        harness_tasks, "_make_manager", lambda *, named: TaskManager(include_path=str(tmp_path), include_defaults=False)
    )


def test_an_unknown_task_is_refused_with_the_nearest_names(small_index):
    with pytest.raises(InputError, match=r"'wmpd_bio' is unknown.*'wmdp_bio'"):
        find_tasks(["mmlu", "wmpd_bio"])
    assert find_tasks(["mmlu"]).names == ("mmlu",)


def test_a_missing_task_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        find_tasks([str(tmp_path / "none.yaml")])


@pytest.mark.filterwarnings("default")
def test_a_task_whose_data_is_missing_is_an_input_error(saved_family, tmp_path, local_task):
    file, data = local_task
    data.unlink()
    model, tokenizer = (load(saved_family("llama")) for load in (load_causal_lm, load_tokenizer))
    with pytest.raises(InputError, match="could not run"):
        run_tasks(model, tokenizer, find_tasks([str(file)]))


def test_a_missing_harness_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval.tasks", None)
    with pytest.raises(InputError, match=r"srmu\[eval\]"):
        find_tasks(["wmdp_bio"])


def test_a_groups_items_are_its_tasks_one_after_another():
    rows = {
        "one": [{"doc_id": 0, "filter": "none", "acc": 1.0}, {"doc_id": 1, "filter": "none", "acc": 0.0}],
        "two": [{"doc_id": 0, "filter": "none", "acc": 1.0}, {"doc_id": 0, "filter": "other", "acc": 0.0}],
    }
    found = {
        "results": {"both": {"alias": "both", "acc,none": 2 / 3, "acc_stderr,none": "N/A"}},
        "samples": rows,
        "group_subtasks": {"both": ["inner", "two"], "inner": ["one"]},
    }
    scores = _collect(found)["both"]
    assert scores.items["acc,none"].tolist() == [1, 0, 1]
    assert scores.num_items == 3
    assert np.isnan(scores.stderr["acc,none"])
