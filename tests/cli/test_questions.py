"""`srmu questions`: nothing is accepted that nobody saw, and nothing is written that is of no use."""

import json

import pytest

from main_job import call, write_texts
from srmu.cli import questions as command
from srmu.cli.questions import parse_numbers
from srmu.evaluation.made_questions import MadeItem, MadeQuestions
from srmu.inputs.questions import Question, read_questions


def item(number, *, known=True):
    questions = [
        Question(prompt=f"{form} {number}", choices=("w", "x", "y", "z"), answer=3, fact=str(number), machine_made=True)
        for form in ("cloze", "question")
    ]
    return MadeItem(("cloze", "what"), tuple(questions), known)


MADE = MadeQuestions(tuple(item(number, known=number < 12) for number in range(14)), found=20, without_choices=2)


@pytest.fixture
def texts(tmp_path, monkeypatch):
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    return ["--forget", "forget.txt", "--out", "made.jsonl"]


@pytest.fixture
def made(monkeypatch):
    monkeypatch.setattr("srmu.job.questions.make_questions", lambda *_, **__: MADE)


@pytest.fixture
def terminal(monkeypatch):
    """`terminal(*answers)`: a user who answers so."""

    def use(*answers):
        said = iter(answers)
        monkeypatch.setattr(command.sys, "stdin", type("In", (), {"isatty": lambda self: True})())
        monkeypatch.setattr(command.sys.stdout, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(command.typer, "prompt", lambda *_, **__: next(said))

    return use


def test_without_a_terminal_nothing_is_accepted_unless_it_is_said(texts, capsys):
    code, out, err = call(capsys, "questions", "./none", *texts)
    assert (code, out) == (2, "")
    assert err.startswith(
        "error: Each question is shown for approval, and there is no terminal to answer at. Add --yes"
    )


def test_yes_accepts_what_is_known_and_says_the_counts(texts, made, tmp_path, capsys):
    code, out, _ = call(capsys, "questions", "./none", *texts, "--yes")
    assert code == 0
    assert "cloze 3" in out
    words = " ".join(out.split())
    assert "14 facts of 20 that can be asked were made into questions (2 left out" in words
    assert "the base answers 12 right in both forms (by guessing 4 at most); 12 were kept." in words
    read = read_questions(tmp_path / "made.jsonl")
    assert len(read) == 24
    assert all(question.machine_made for question in read)
    code, out, _ = call(capsys, "questions", "./none", *texts, "--yes", "--overwrite", "--json")
    assert json.loads(out) == {
        "found": 20, "made": 14, "without_choices": 2, "known": 12, "beyond_chance": True, "kept": 12,
        "questions": 24, "out": "made.jsonl",
    }  # fmt: skip


def test_what_the_user_leaves_out_is_not_written(texts, made, tmp_path, terminal, capsys):
    terminal("2,4-6", "twelve", "")
    code, _, err = call(capsys, "questions", "./none", *texts)
    assert code == 0
    assert "no list of numbers from 11 to 12" in err
    kept = {question.fact for question in read_questions(tmp_path / "made.jsonl")}
    assert kept == {str(number) for number in range(12)} - {"1", "3", "4", "5"}


def test_a_user_who_wants_none_gets_no_file(texts, made, tmp_path, terminal, capsys):
    terminal("all", "all")
    code, _, _ = call(capsys, "questions", "./none", *texts)
    assert code == 1
    assert not (tmp_path / "made.jsonl").exists()


def test_a_model_that_knows_nothing_gets_no_file_and_is_told_why(texts, tmp_path, monkeypatch, capsys):
    nothing = MadeQuestions(tuple(item(number, known=False) for number in range(14)), 14, 0)
    monkeypatch.setattr("srmu.job.questions.make_questions", lambda *_, **__: nothing)
    code, _, err = call(capsys, "questions", "./none", *texts, "--yes")
    assert code == 1
    assert "cannot show that it forgot" in " ".join(err.split())
    assert not (tmp_path / "made.jsonl").exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--out", "forget.txt"], "is there already"),
        (["--out", "."], "is there already"),
        (["--out", "made.csv"], "ends with .jsonl"),
        (["--out", "no/made.jsonl"], "folder that does not exist"),
        (["--limit", "0"], "leaves nothing to ask"),
        (["--forget", "missing.txt"], "do not exist"),
        (["--forget", "hub:"], "hub"),
    ],
)
def test_what_is_wrong_is_one_sentence_before_the_model_is_loaded(changes, words, texts, tmp_path, capsys):
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, err = call(capsys, "questions", "./none", *texts, "--yes", *changes)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_texts_that_name_nothing_are_refused_in_a_sentence(small_base, texts, capsys):
    code, _, err = call(capsys, "questions", str(small_base), *texts, "--yes")
    assert code == 2
    assert "No question could be made of the forget texts (forget.txt)" in " ".join(err.split())


@pytest.mark.parametrize(
    ("said", "expected"),
    [("", set()), ("3", {3}), ("3, 5-7", {3, 5, 6, 7}), ("ALL", set(range(1, 11))), ("0", None), ("11", None),
     ("7-5", None), ("x", None), ("3-", None)],
)  # fmt: skip
def test_numbers_are_read_as_people_write_them(said, expected):
    assert parse_numbers(said, 1, 10) == expected
