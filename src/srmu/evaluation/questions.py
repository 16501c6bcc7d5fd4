"""Four-choice questions, scored by the likelihood of the answer text."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Question:
    """One multiple-choice question.

    The continuation that is scored for a choice is a space followed by the choice.
    """

    prompt: str
    """Text before the answer, without a trailing space."""
    choices: tuple[str, ...]
    """Answer texts, distinct."""
    answer: int
    """Position of the right answer in `choices`, from 0."""
    fact: str = ""
    """Key of the fact that is asked, `relation:subject`; empty if unknown."""
