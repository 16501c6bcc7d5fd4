"""Which choice is right: answers given as letters, texts or numbers, read in the one way that suits the whole file."""

from collections.abc import Callable, Sequence

from srmu.errors import InputError
from srmu.inputs.limits import shown
from srmu.inputs.question_forms import LETTERS, RawQuestion

Reading = Callable[[RawQuestion, str | int], int | None]
"""Position of the choice that an answer means; None where it means none."""


def _label(question: RawQuestion, answer: str | int) -> int | None:
    return question.labels.index(str(answer)) if str(answer) in question.labels else None


def _text(question: RawQuestion, answer: str | int) -> int | None:
    return question.choices.index(str(answer)) if str(answer) in question.choices else None


def _stripped_text(question: RawQuestion, answer: str | int) -> int | None:
    """The text apart from spaces around it, and from its letter in front, as in `B. blue`."""
    choices = [choice.strip() for choice in question.choices]
    given = str(answer).strip()
    if given in choices:
        return choices.index(given)
    letter, mark, rest = given[:1], given[1:2], given[2:].strip()
    found = LETTERS.find(letter) if letter and mark in (".", ")", ":") and rest else -1
    return found if 0 <= found < len(choices) and choices[found] == rest else None


def _letter(question: RawQuestion, answer: str | int) -> int | None:
    letter = str(answer).strip().strip("().").upper()
    place = LETTERS.find(letter) if len(letter) == 1 else -1
    return place if 0 <= place < len(question.choices) else None


def _from(first: int) -> Reading:
    def read(question: RawQuestion, answer: str | int) -> int | None:
        digits = str(answer).strip()
        if question.first not in (None, first) or not (digits.isascii() and digits.isdigit() and len(digits) < 4):
            return None
        place = int(digits) - first
        return place if 0 <= place < len(question.choices) else None

    return read


# In the order in which they are named where several suit.
WORDS: dict[str, Reading] = {
    "names of the choices": _label, "texts": _text, "letters": _letter, "texts apart from spaces": _stripped_text,
}  # fmt: skip
NUMBERS: dict[str, Reading] = {
    "names of the choices": _label, "texts": _text, "numbers from 0": _from(0), "numbers from 1": _from(1),
}  # fmt: skip


def resolve_answers(questions: Sequence[RawQuestion], where: str) -> tuple[list[tuple[int, ...]], str]:
    """The right choices of every question, the first of several being the one whose likelihood is measured.

    Numbers and words are decided apart, each for all questions of the file together: a reading is possible if every
    answer means a choice in it. Of two possible readings that differ, none is taken.

    Args:
        questions: With distinct choices.
        where: The words that begin an error about the whole file.

    Returns:
        Positions of the right choices, one tuple per question; and how answers were read, in words.

    Raises:
        InputError: An answer means no choice (with its place), or two readings are possible.
    """
    given = [(question, answer) for question in questions for answer in question.answers]
    readings: dict[bool, tuple[str, Reading]] = {}
    for numeric in (True, False):
        part = [(question, answer) for question, answer in given if _is_number(answer) == numeric]
        if part:
            readings[numeric] = _choose(part, NUMBERS if numeric else WORDS, where)
    right = []
    for question in questions:
        places = [readings[_is_number(answer)][1](question, answer) for answer in question.answers]
        right.append(question.right or tuple(dict.fromkeys(place for place in places if place is not None)))
    return right, " and ".join(name for name, _ in readings.values()) or "marks"


def _is_number(answer: str | int) -> bool:
    return isinstance(answer, int) or answer.strip().isdecimal()


def _choose(part: list[tuple[RawQuestion, str | int]], readings: dict[str, Reading], where: str) -> tuple[str, Reading]:
    """The one reading in which all answers mean a choice."""
    possible: dict[str, list[int]] = {}
    for name, read in readings.items():
        places = [read(question, answer) for question, answer in part]
        if all(place is not None for place in places):
            possible[name] = [place for place in places if place is not None]
    # A name that the record itself gives to its choices needs no further thought.
    if "names of the choices" in possible:
        return "names of the choices", readings["names of the choices"]
    if not possible:
        raise _meaningless(part, readings)
    first, *others = possible
    differing = [name for name in others if possible[name] != possible[first]]
    if not differing:
        return first, readings[first]
    raise InputError(
        f"{where}: the answers can be read as {first} or as {differing[0]}, and both suit every one of the "
        f"{len(part)} answers. Write the {'texts of the right choices' if first != 'texts' else 'letters'}, or add a "
        "question that settles it" + (" (an answer 0 counts from 0)." if "numbers" in differing[0] else ".")
    )


def _meaningless(part: list[tuple[RawQuestion, str | int]], readings: dict[str, Reading]) -> InputError:
    """The error of the first answer that means nothing in the reading that suits most answers."""
    counts = {name: sum(read(*item) is not None for item in part) for name, read in readings.items()}
    best = max(counts, key=lambda name: counts[name])
    question, answer = next(item for item in part if readings[best](*item) is None)
    most = len(question.choices)
    return InputError(
        f"{question.place}: 'answer' must be the letter (A to {LETTERS[min(most, 26) - 1]}), the text or the number "
        f"(0 to {most - 1}) of a choice; found {shown(answer)}. Correct that line."
    )
