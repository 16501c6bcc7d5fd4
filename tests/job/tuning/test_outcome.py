"""What a trial is judged by: bounds, both sides of chance, and groups that are bounded by their content."""

import numpy as np
import pytest
import torch

from srmu.errors import InputError
from srmu.evaluation.measure import Measurement
from srmu.evaluation.questions import QuestionScores
from srmu.evaluation.texts import TextScores
from srmu.inputs.questions import Question
from srmu.inputs.rows import TokenRows
from srmu.job.tuning.outcome import (
    GUESS,
    BigramModel,
    Validation,
    judge,
    make_validation,
    remaining_text,
    shortfall,
    some_rows,
)

ASKED = tuple(Question(prompt=f"q{n}", choices=("a", "b", "c", "d"), answer=0) for n in range(20))


def answers(accuracy: float, nll: float = 1.0) -> QuestionScores:
    """Scores of `ASKED` with so many right."""
    right = np.arange(20) < round(accuracy * 20)
    likelihoods = tuple((-1.0, -9.0, -9.0, -9.0) if hit else (-9.0, -1.0, -9.0, -9.0) for hit in right)
    return QuestionScores(
        log_likelihoods=likelihoods,
        correct_norm=right,
        correct_raw=right,
        answer_nll=np.full(20, nll),
        facts=("",) * 20,
    )


def text(nll: float) -> TextScores:
    zeros = np.zeros(4, dtype=np.int32)
    return TextScores(
        token_nll=np.full(4, nll, dtype=np.float32), top_ids=zeros, target_ids=zeros, document_tokens=np.array([4])
    )


def rows(*lengths: int) -> TokenRows:
    return TokenRows(tuple(torch.arange(n, dtype=torch.int32) for n in lengths), tuple(range(len(lengths))))


QUESTIONS = Validation({"forget": ASKED, "kept": ASKED}, {}, {})


@pytest.mark.parametrize("score", ["accuracy", "loss"])
def test_the_base_itself_remains_and_is_kept_whole(score):
    base = Measurement({}, {"forget": answers(0.9), "kept": answers(0.8)}, [])
    outcome = judge(base, base, QUESTIONS, score)
    assert (outcome.remaining, outcome.kept, outcome.lost) == pytest.approx((1, 1, 0))


@pytest.mark.parametrize("score", ["accuracy", "loss"])
def test_below_chance_counts_as_far_from_it_as_above(score):
    base = Measurement({}, {"forget": answers(1.0), "kept": answers(0.8)}, [])
    above, below, at = (
        judge(base, Measurement({}, {"forget": answers(share), "kept": answers(0.8)}, []), QUESTIONS, score).remaining
        for share in (0.5, 0.0, 0.25)
    )
    assert above == pytest.approx(below, abs=0.01)
    assert at < 0.01 < 0.3 < above


def test_the_worst_kept_group_counts_and_a_gain_makes_up_for_nothing():
    validation = Validation({"forget": ASKED, "one": ASKED, "two": ASKED}, {}, {})
    base = Measurement({}, {"forget": answers(1), "one": answers(0.8), "two": answers(0.8)}, [])
    result = Measurement({}, {"forget": answers(1), "one": answers(1.0), "two": answers(0.6, nll=1.5)}, [])
    outcome = judge(base, result, validation)
    assert outcome.kept == pytest.approx(0.75)
    assert outcome.groups["one"] == 1
    assert outcome.lost == pytest.approx(0.5)


def test_of_texts_the_advantage_over_bigrams_remains_and_a_guess_that_fits_counts_as_nothing():
    ignorant, known = np.array([5.0, 5.0, 5.0, 1.0]), np.array([0.0, 0.0, 4.0, 0.5])
    # The third token the base does not predict, the fourth takes no knowledge.
    assert remaining_text(known, known, ignorant) == pytest.approx(1)
    assert remaining_text(known, np.array([5.0, 5.0, 0.0, 0.0]), ignorant) == 0
    assert remaining_text(known, np.array([2.5, 2.5, 9.0, 9.0]), ignorant) == pytest.approx((0.5 - GUESS) / (1 - GUESS))
    assert remaining_text(known, np.array([0.0, 99.0, 9.0, 9.0]), ignorant) == pytest.approx(
        (0.5 - GUESS) / (1 - GUESS)
    )
    assert remaining_text(ignorant, ignorant, known) == 0


def test_kept_texts_count_by_their_perplexity():
    validation = Validation({}, {"forget": rows(5), "told": rows(5)}, {"forget": np.full(4, 6.0)})
    base = Measurement({"forget": text(0.5), "told": text(3.0)}, {}, [])
    outcome = judge(base, Measurement({"forget": text(0.5), "told": text(3.1)}, {}, []), validation)
    assert outcome.kept == pytest.approx(np.exp(-0.1), rel=1e-5)
    assert outcome.remaining == pytest.approx(1)


def test_a_bigram_model_counts_pairs_and_falls_back_on_frequencies():
    trained = TokenRows((torch.tensor([1, 2, 1, 2], dtype=torch.int32),), (0,))
    found = BigramModel([trained], vocab_size=4).nll(TokenRows((torch.tensor([1, 2, 3], dtype=torch.int32),), (0,)))
    # Frequencies with one added: 1, 3, 3, 1 of 8. The pair (1, 2) was seen twice, (2, 3) never.
    assert found == pytest.approx(-np.log([(2 + 2 * 3 / 8) / (2 + 2), (2 * 1 / 8) / (1 + 2)]))


def test_questions_about_what_is_to_go_stand_for_it_alone():
    found = make_validation({"forget": ASKED}, {"forget": rows(4), "told": rows(4)}, [rows(4)], 8)
    assert list(found.texts) == ["told"]
    assert list(found.questions) == ["forget"]


def test_groups_are_bounded_by_content_not_by_order():
    found = make_validation({"forget": ASKED, "kept": ASKED[::-1]}, {}, [rows(4)], 8, group_questions=5)
    chosen = [{question.prompt for question in asked} for asked in found.questions.values()]
    assert len(chosen[0]) == 5
    assert chosen[0] == chosen[1]
    assert sum(some_rows(rows(10, 20, 30, 40), 60).lengths) <= 60
    assert len(some_rows(rows(50), 10)) == 1


@pytest.mark.parametrize("groups", [{"kept": ASKED}, {"forget": ASKED}])
def test_one_side_alone_is_refused(groups):
    with pytest.raises(InputError, match="something to forget and something to keep"):
        make_validation(groups, {}, [rows(4)], 8)


def test_the_shortfall_is_zero_where_enough_is_forgotten_and_kept_and_grows_with_both():
    assert shortfall(0.05, 0.98) == 0
    assert 0 < shortfall(0.10, 0.98) < shortfall(0.10, 0.97)
