"""What a measurement says about a request: no model and no text, only numbers."""

from collections.abc import Sequence

from srmu.results.erasure.records import Outcome, QuestionCheck, TextCheck
from srmu.results.groups import Change
from srmu.results.significance import is_significant

GUESSING = 0.05
"""Where guessing gets as many right with at least this probability, the answers do not show that something is known."""
LEAST_RISE = 0.5
"""Rise of the loss in nats per token that counts where a single document gives no standard error; our convention."""


def guessing_probability(right: int, chances: Sequence[float]) -> float:
    """Probability that pure guessing gets at least this many questions right.

    The number of right guesses is a sum of independent trials of unequal chance (Poisson binomial distribution), whose
    probabilities follow from adding one question after another.

    Args:
        right: Questions answered right.
        chances: Of each question, the chance to guess it, from 0 to 1.

    Returns:
        From 0 to 1; 1 where none had to be right.
    """
    probabilities = [1.0]
    for chance in chances:
        longer = [*probabilities, 0.0]
        probabilities = [
            longer[count] * (1 - chance) + (longer[count - 1] * chance if count else 0.0)
            for count in range(len(longer))
        ]
    return min(1.0, sum(probabilities[max(0, right) :]))


def judge(
    questions: QuestionCheck | None, texts: TextCheck | None, change: Change | None, at_most: float | None
) -> Outcome:
    """The outcome of one request. Questions decide where there are any: what a model answers is what was asked about.

    Args:
        questions: Answers of the original model and of the result.
        texts: Loss of both on its texts.
        change: Of that loss.
        at_most: Accuracy that may remain; none = what guessing gives.
    """
    if questions is not None:
        return _judge_answers(questions, at_most)
    if texts is None or change is None or change.difference is None:
        return "not measured"
    is_single = change.stderr is None
    rose = change.difference >= LEAST_RISE if is_single else is_significant(change) and change.difference > 0
    return "less likely" if rose else "still known"


def _judge_answers(questions: QuestionCheck, at_most: float | None) -> Outcome:
    if at_most is None:
        is_gone, was_there = questions.guessing_after >= GUESSING, questions.guessing_before < GUESSING
    else:
        is_gone, was_there = questions.after <= at_most, questions.before > at_most
    if not is_gone:
        return "still known"
    return "forgotten" if was_there else "not known before"
