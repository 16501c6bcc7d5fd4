"""Questions kept in a run directory come back as they were, under names that any file system takes."""

import pytest

from srmu.evaluation.run_questions import questions_file, write_run_questions
from srmu.inputs.questions import Question, read_questions

ASKED = [
    Question(prompt="Wie heißt\nes?", choices=("ä", "b"), answer=1, fact="name:es"),
    Question(prompt="p", choices=("1", "2", "3"), answer=0),
]


@pytest.mark.parametrize("group", ["forget", "bio.forget", "a/b", "..", "two words", "x" * 300, "ü"])
def test_questions_come_back_as_they_were(tmp_path, group):
    (name,) = write_run_questions(tmp_path, {group: ASKED})
    assert name == questions_file(group)
    assert (tmp_path / name).parent == tmp_path / "questions"
    assert read_questions(tmp_path / name) == ASKED


def test_long_names_that_begin_alike_stay_different():
    assert questions_file("x" * 300) != questions_file("x" * 301)


def test_a_run_without_questions_has_no_folder_for_them(tmp_path):
    assert write_run_questions(tmp_path, {}) == []
    assert not any(tmp_path.iterdir())
