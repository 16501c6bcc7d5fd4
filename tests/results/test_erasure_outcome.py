"""What numbers say about a request: guessing against the oracle, and every outcome."""

import pytest

from oracle.formulas import guessing_tail
from srmu.results.erasure.outcome import GUESSING, LEAST_RISE, guessing_probability, judge
from srmu.results.erasure.records import QuestionCheck, TextCheck
from srmu.results.groups import Change

TEXTS = TextCheck(tokens=40, before=2.0, after=3.0)


def answered(before: int, after: int, n: int = 8) -> QuestionCheck:
    chances = [0.25] * n
    guessing = [guessing_probability(right, chances) for right in (before, after)]
    return QuestionCheck(
        n=n, before=before / n, after=after / n, guessing_before=guessing[0], guessing_after=guessing[1]
    )


@pytest.mark.parametrize("chances", [[0.25] * 6, [0.5, 0.25, 0.2, 1 / 3, 0.75], [0.1], [1.0, 0.0, 0.3]])
def test_the_probability_of_guessing_is_that_of_the_oracle(chances: list[float]) -> None:
    for right in range(len(chances) + 2):
        assert guessing_probability(right, chances) == pytest.approx(guessing_tail(right, chances), abs=1e-14)
    assert guessing_probability(0, []) == 1.0


def test_with_four_questions_guessing_gets_three_right_about_once_in_twenty_times() -> None:
    # The page says so, and the limit is just below it.
    assert guessing_probability(3, [0.25] * 4) == pytest.approx(0.0508, abs=1e-4)
    assert guessing_probability(4, [0.25] * 4) < GUESSING < guessing_probability(3, [0.25] * 4)


@pytest.mark.parametrize(
    ("before", "after", "at_most", "outcome"),
    [
        (8, 2, None, "forgotten"),
        (8, 0, None, "forgotten"),
        (8, 4, None, "forgotten"),
        (8, 5, None, "still known"),
        (2, 2, None, "not known before"),
        (2, 7, None, "still known"),
        (8, 2, 0.125, "still known"),
        (8, 1, 0.125, "forgotten"),
        (1, 1, 0.125, "not known before"),
    ],
)
def test_questions_decide_where_there_are_any(before: int, after: int, at_most: float | None, outcome: str) -> None:
    rose = Change(2.0, 9.0, 7.0, 0.1)
    assert judge(answered(before, after), TEXTS, rose, at_most) == outcome


@pytest.mark.parametrize(
    ("difference", "stderr", "outcome"),
    [
        (0.5, 0.2, "less likely"),
        (0.5, 0.3, "still known"),
        (-0.5, 0.1, "still known"),
        (LEAST_RISE, None, "less likely"),
        (0.9 * LEAST_RISE, None, "still known"),
        (None, None, "not measured"),
    ],
)
def test_without_questions_the_loss_of_the_texts_decides(
    difference: float | None, stderr: float | None, outcome: str
) -> None:
    assert judge(None, TEXTS, Change(2.0, 2.5, difference, stderr), None) == outcome


def test_what_could_not_be_measured_is_no_success() -> None:
    assert judge(None, None, None, None) == "not measured"
