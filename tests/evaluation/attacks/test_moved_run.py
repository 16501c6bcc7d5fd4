"""A run directory holds its questions: it can be moved, and attacked and evaluated from anywhere."""

import json
import shutil
from pathlib import Path

import pytest

from srmu.cli.app import main
from srmu.job.unlearn import unlearn
from srmu.results.manifest import read_manifest

SECRET = "the capital of forgetland01 is capitalname01 and nobody asks for this"


@pytest.fixture
def moved(knowing: Path, question_flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run made with relative paths, then moved; its questions are deleted, and we stand in another folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    questions = {}
    for flag in question_flags[1::2]:
        name, _, path = flag.partition("=")
        questions[name] = shutil.copy(path, f"{name}.jsonl")
    unlearn(
        model=str(knowing), forget=[SECRET] * 2, retain=["the river of keptland01 is"] * 2, questions=questions,
        steps=1, layer=2, eval_fraction=0.0, out="run",
    )  # fmt: skip
    target = tmp_path / "elsewhere" / "moved"
    target.parent.mkdir()
    shutil.move("run", target)
    monkeypatch.chdir(target.parent)
    shutil.rmtree(tmp_path / "work")
    return target


def test_a_moved_run_is_attacked_and_evaluated_on_its_own_questions(moved, capsys):
    assert main(["attack", str(moved), "--only", "few_shot", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)["records"]["few_shot"]
    assert (record["status"], record["n"]) == ("result", 16)
    assert main(["evaluate", str(moved)]) == 0
    measured = json.loads((moved / "results.json").read_text())["evaluate"]["questions"]
    assert set(measured) == {"forget", "kept"}


def test_a_run_s_questions_are_covered_by_verify_and_hold_no_text_to_forget(moved):
    assert set(read_manifest(moved).run_files) > {"questions/forget.jsonl", "questions/kept.jsonl"}
    assert main(["verify", str(moved)]) == 0
    assert not any(SECRET in file.read_text() for file in (moved / "questions").iterdir())
    with (moved / "questions" / "kept.jsonl").open("a") as file:
        file.write("\n")
    assert main(["verify", str(moved)]) == 1


def test_a_run_without_its_questions_says_where_they_were_looked_for(moved, capsys):
    shutil.rmtree(moved / "questions")
    assert main(["attack", str(moved)]) == 2
    message = capsys.readouterr().err
    assert "'forget'" in message
    assert "Name them with --questions" in message.replace("\n", " ")
