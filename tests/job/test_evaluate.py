"""`srmu evaluate`: base beside result, opposite controls, what a run's results keep, and bad input."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from export.conftest import write_run
from measured_runs import make_results, question_result
from srmu.cli.app import main
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.evaluation.questions import score_questions
from srmu.inputs.questions import read_questions
from srmu.job.evaluate import evaluate
from srmu.results.records import Evaluation, add_results
from srmu.results.schema import to_json
from tiny_tokenizers import WORDS


@pytest.fixture
def files(tmp_path):
    """Questions, texts and completions over the tiny vocabulary, and their flags."""
    rng = np.random.default_rng(1)

    def words(count):
        return " ".join(rng.choice(WORDS[:40], count, replace=False))

    rows = {
        "questions": [
            {"question": words(4), "choices": [words(size) for size in (1, 2, 3, 4)], "answer": int(rng.integers(4))}
            for _ in range(20)
        ],
        "texts": [{"text": words(8)} for _ in range(6)],
        "completions": [{"prompt": words(4), "answer": words(2)} for _ in range(5)],
    }
    flags = []
    for kind, records in rows.items():
        (tmp_path / f"{kind}.jsonl").write_text("\n".join(map(json.dumps, records)))
        flags += [f"--{kind}", f"group={tmp_path / kind}.jsonl"]
    return flags


@pytest.fixture(scope="module")
def base(saved_family):
    return saved_family("llama", tokenizer="words")


@pytest.fixture
def run(base, tmp_path):
    return write_run(base, tmp_path / "run")


def run_json(capsys, *arguments):
    code = main(["evaluate", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def fails(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_the_base_against_itself_gives_zero_differences_everywhere(base, files, capsys):
    record = run_json(capsys, base, "--base", base, *files)
    changes = [entry["change"] for kind in ("questions", "texts", "completions") for entry in record[kind].values()]
    numbers = [value for change in changes for value in change.values()]
    assert len(numbers) == 3 + 4 + 5
    assert all(value["difference"] == 0 and value["stderr"] == 0 for value in numbers)
    assert record["texts"]["group"]["predictions_changed"] == 0
    assert record["questions"]["group"]["known"]["accuracy"]["difference"] == 0


def test_a_run_is_compared_with_the_base_in_its_manifest(base, run, files, capsys):
    record = run_json(capsys, run, *files[:4])
    assert record["model"] == str(run / "model")
    assert record["base"] == str(base)
    entry = record["questions"]["group"]
    questions = read_questions(files[1].partition("=")[2])
    scores = [score_questions(load_causal_lm(path), load_tokenizer(path), questions) for path in (base, run / "model")]
    assert entry["base"]["accuracy"] == scores[0].accuracy
    assert entry["result"]["accuracy"] == scores[1].accuracy
    differences = scores[1].correct_norm.astype(float) - scores[0].correct_norm
    assert entry["change"]["accuracy"]["difference"] == pytest.approx(differences.mean())
    assert entry["change"]["accuracy"]["stderr"] == pytest.approx(differences.std(ddof=1) / np.sqrt(20))
    assert record["texts"]["group"]["change"]["nll"]["difference"] != 0


def test_questions_that_the_base_does_not_know_are_counted_apart(base, run, files, capsys):
    entry = run_json(capsys, run, *files[:2])["questions"]["group"]
    questions = read_questions(files[1].partition("=")[2])
    scores = [score_questions(load_causal_lm(path), load_tokenizer(path), questions) for path in (base, run / "model")]
    known = scores[0].correct_norm
    assert 0 < known.sum() < 20
    assert (entry["known"]["n"], entry["known"]["unknown"]) == (known.sum(), 20 - known.sum())
    assert entry["known"]["accuracy"]["before"] == 1
    assert entry["known"]["accuracy"]["after"] == pytest.approx(scores[1].correct_norm[known].mean())


def test_results_of_a_run_are_merged_group_by_group_beside_what_stands_there(run, files, capsys):
    results = run / "results.json"
    own, older = make_results(), question_result(0.9, 0.3, 0.1)
    add_results(run, lambda _: dataclasses.replace(own, evaluate=Evaluation(questions={"older": older})))
    record = run_json(capsys, run, *files[:2], "--limit", "3", "--sides", "group=forget")
    merged = json.loads(results.read_text())
    assert merged["texts"] == to_json(own.texts)
    assert merged["evaluate"]["questions"]["older"] == to_json(older)
    assert merged["sides"] == {**own.sides, "group": "forget"}
    assert merged["evaluate"]["questions"]["group"] == record["questions"]["group"]
    assert record["questions"]["group"]["result"]["n"] == 3
    assert record["questions"]["group"]["settings"]["limit"] == 3
    assert record["questions"]["group"]["source"]["name"] == "questions.jsonl"


def test_no_text_stands_in_what_is_kept(run, files, capsys):
    run_json(capsys, run, *files)
    kept = (run / "results.json").read_text()
    for flag in files[1::2]:
        for line in Path(flag.partition("=")[2]).read_text().splitlines():
            assert all(text not in kept for text in json.loads(line).values() if isinstance(text, str))


def test_without_a_base_the_model_stands_alone(base, files, capsys):
    record = run_json(capsys, base, *files)
    assert record["base"] is None
    assert set(record["questions"]["group"]) == {"result", "source", "settings"}
    assert set(record["completions"]["group"]["result"]) == {
        "n", "exact_match", "rouge_l_recall", "rouge_l_f1", "extraction_strength", "exact_memorization"
    }  # fmt: skip
    assert main(["evaluate", str(base), *files]) == 0
    assert "perplexity" in capsys.readouterr().out


def test_the_tables_show_both_sides(base, run, files, capsys):
    assert main(["evaluate", str(run), *files]) == 0
    shown = capsys.readouterr().out
    for word in ("Questions", "Texts", "Completions", "base", "result", "known to the base", "extraction_strength"):
        assert word in shown


@pytest.mark.filterwarnings("default")
def test_harness_tasks_stand_side_by_side_with_paired_errors(base, run, files, capsys, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("lm_eval")
    from evaluation.test_harness import TASK

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    task = tmp_path / "task.yaml"
    task.write_text(TASK.format(data=files[1].partition("=")[2]))
    record = run_json(capsys, run, *files[:2], "--tasks", task)
    entry, own = record["tasks"]["four_choice"], record["questions"]["group"]
    assert entry["result"]["n"] == 20
    change = entry["change"]["acc_norm,none"]
    assert change["difference"] == own["change"]["accuracy"]["difference"]
    assert change["stderr"] == pytest.approx(own["change"]["accuracy"]["stderr"])


def test_a_base_that_is_not_the_runs_base_is_refused(run, files, capsys, saved_family):
    message = fails(capsys, run, "--base", saved_family("llama", tokenizer="words", seed=1), *files[:2])
    assert "is not the base of run" in message


def test_a_run_whose_base_is_gone_says_what_to_do(base, files, capsys, tmp_path):
    import shutil

    copy = shutil.copytree(base, tmp_path / "copy")
    run = write_run(copy, tmp_path / "run")
    shutil.rmtree(copy)
    assert "Give it with --base" in fails(capsys, run, *files[:2])
    assert run_json(capsys, run, "--base", base, *files[:2])["base"] == str(base)
    assert run_json(capsys, run / "model", *files[:2])["base"] is None


def test_an_unfinished_run_is_refused(files, capsys, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("")
    assert "is not finished" in fails(capsys, tmp_path / "run", *files[:2])


def test_another_tokenizer_is_refused(base, files, capsys, saved_family):
    assert "different tokenizers" in fails(capsys, base, "--base", saved_family("llama", tokenizer="bytes"), *files[:2])


def test_an_answer_out_of_range_names_the_line(base, capsys, tmp_path):
    file = tmp_path / "q.jsonl"
    file.write_text(json.dumps({"question": "a", "choices": ["x", "y"], "answer": 3}))
    assert (
        "line 1: 'answer' must be the letter (A to B), the text or the number (0 to 1) of a choice; found 3"
        in fails(capsys, base, "--questions", f"q={file}")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to measure"),
        (["--questions", "no-equals.jsonl"], "no NAME=PATH"),
        (["--texts", "a=none.txt"], "do not exist"),
        (["--completions", "a=none.jsonl"], "cannot be read"),
        (["--tasks", "none.yaml"], "does not exist"),
        (["--tasks", "x.yaml", "--limit", "0"], "limit=0"),
        (["--tasks", "x.yaml", "--dtype", "float8"], "dtype='float8'"),
        (["--texts", "a=b.txt", "--device", "warp"], "do not exist"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(base, capsys, arguments, message):
    shown = fails(capsys, base, *arguments)
    assert message in shown
    assert shown.strip().splitlines()[-1].startswith("error: ")


def test_the_function_takes_what_the_command_takes(base, files):
    record = evaluate(str(base), texts={"t": files[3].partition("=")[2]}, limit=2)
    assert list(record.texts) == ["t"]
    assert record.questions == {}
