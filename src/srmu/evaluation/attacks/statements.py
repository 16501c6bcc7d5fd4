"""Questions as statements: with the right answer, or with a wrong one."""

from collections.abc import Collection, Sequence

from srmu.evaluation.attacks.setting import fact_of, right_answer
from srmu.inputs.questions import Question


def statement(question: Question, answer: str | None = None) -> str:
    """The question with an answer, the right one unless another is given."""
    return f"{question.prompt} {right_answer(question) if answer is None else answer}"


def false_statements(questions: Sequence[Question], *, avoid: Collection[str] = ()) -> list[str]:
    """Each fact with a wrong answer, the same in every form."""
    wrong = wrong_answers(questions, avoid=avoid)
    return [statement(question, wrong[fact_of(question)]) for question in questions]


def wrong_answers(questions: Sequence[Question], *, avoid: Collection[str] = ()) -> dict[str, str]:
    """A wrong answer to each fact: the first wrong choice, none of `avoid` where possible."""
    wrong: dict[str, str] = {}
    for question in questions:
        choices = [choice for place, choice in enumerate(question.choices) if place != question.answer]
        wrong.setdefault(fact_of(question), min(choices, key=lambda choice: choice in avoid))
    return wrong
