"""Records of RWKU's sets (arXiv 2406.10890, appendices E and F), one type for each schema."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from srmu.errors import InputError
from srmu.inputs.limits import checked_text, shown


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question about a person, or about what neighbours that person, with the expected answer."""

    query: str
    answer: str
    kind: str
    """`type` in the data: `cloze`, `simple question`, or one of nine kinds of adversarial attack."""
    subject: str


@dataclass(frozen=True, kw_only=True)
class Passage:
    """A text of the membership sets."""

    text: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class MultipleChoice:
    """A question of MMLU with its examples."""

    question: str
    choices: tuple[str, ...]
    answer: int
    task: str
    """Of MMLU, such as `high_school_biology`."""
    examples: tuple["MultipleChoice", ...]
    subject: str


@dataclass(frozen=True, kw_only=True)
class OpenQuestion:
    """A question with the answers that count as right; of BBH also the examples with their reasoning."""

    question: str
    answers: tuple[str, ...]
    examples: str
    subject: str


@dataclass(frozen=True, kw_only=True)
class TruthfulQuestion:
    """A question of TruthfulQA's MC1 task."""

    question: str
    right: str
    wrong: tuple[str, ...]
    subject: str


@dataclass(frozen=True, kw_only=True)
class Instruction:
    """An instruction of AlpacaEval."""

    instruction: str
    subject: str


Fields = Mapping[str, Any]


def fields(record: Any, place: str) -> Fields:
    """A record's fields.

    Raises:
        InputError: It is no object.
    """
    if not isinstance(record, Mapping):
        raise InputError(f"{place}: expected a JSON object, found {type(record).__name__}. Correct that record.")
    return record


def probe(record: Fields, place: str) -> Probe:
    """A record of the forget and neighbour sets."""
    query, answer = _text(record, "query", place), _text(record, "answer", place)
    return Probe(query=query, answer=answer, kind=str(record.get("type") or ""), subject=_subject(record))


def passage(record: Fields, place: str) -> Passage:
    """A record of the membership sets."""
    return Passage(text=_text(record, "text", place), subject=_subject(record))


def multiple_choice(record: Fields, place: str) -> MultipleChoice:
    """A record of `utility_general`."""
    examples = record.get("examples")
    if not isinstance(examples, list):
        raise InputError(f"{place}: 'examples' {_found(examples)}, expected a list of questions. Correct that record.")
    task = _text(record, "task", place)
    shots = [fields(entry, f"{place}: 'examples' {number}") for number, entry in enumerate(examples, 1)]
    return _choice(
        record,
        place,
        task,
        tuple(_choice(shot, f"{place}: 'examples' {n}", task, ()) for n, shot in enumerate(shots, 1)),
    )


def reasoning(record: Fields, place: str) -> OpenQuestion:
    """A record of `utility_reason`."""
    return OpenQuestion(
        question=_text(record, "question", place),
        answers=_answers(record, "answer", place),
        examples=_text(record, "cot", place),
        subject=_subject(record),
    )


def open_question(record: Fields, place: str) -> OpenQuestion:
    """A record of `utility_factuality`."""
    return OpenQuestion(
        question=_text(record, "question", place),
        answers=_answers(record, "answers", place),
        examples="",
        subject=_subject(record),
    )


def truthful_question(record: Fields, place: str) -> TruthfulQuestion:
    """A record of `utility_truthfulness`."""
    targets = record.get("mc1_targets")
    choices = targets.get("choices") if isinstance(targets, Mapping) else None
    labels = targets.get("labels") if isinstance(targets, Mapping) else None
    if not isinstance(choices, list) or not isinstance(labels, list) or len(choices) != len(labels):
        raise InputError(
            f"{place}: 'mc1_targets' {_found(targets)}, expected 'choices' and as many 'labels'. Correct that record."
        )
    right = [choice for choice, label in zip(choices, labels, strict=True) if label == 1]
    wrong = [choice for choice, label in zip(choices, labels, strict=True) if label != 1]
    if len(right) != 1 or not wrong or not all(isinstance(choice, str) and choice.strip() for choice in choices):
        raise InputError(
            f"{place}: 'mc1_targets' has {len(right)} right and {len(wrong)} wrong choices, expected texts, one right "
            "and some wrong. Correct that record."
        )
    return TruthfulQuestion(
        question=_text(record, "question", place), right=right[0], wrong=tuple(wrong), subject=_subject(record)
    )


def instruction(record: Fields, place: str) -> Instruction:
    """A record of `utility_fluency`."""
    return Instruction(instruction=_text(record, "instruction", place), subject=_subject(record))


def _choice(record: Fields, place: str, task: str, examples: tuple[MultipleChoice, ...]) -> MultipleChoice:
    choices, answer = record.get("choices"), record.get("answer")
    if not isinstance(choices, list) or len(choices) != 4 or not all(isinstance(choice, str) for choice in choices):
        raise InputError(f"{place}: 'choices' {_found(choices)}, expected four texts. Correct that record.")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < 4:
        raise InputError(f"{place}: 'answer' {_found(answer)}, expected a number from 0 to 3. Correct that record.")
    return MultipleChoice(
        question=_text(record, "question", place),
        choices=tuple(choices),
        answer=answer,
        task=task,
        examples=examples,
        subject=_subject(record),
    )


def _answers(record: Fields, key: str, place: str) -> tuple[str, ...]:
    value = record.get(key)
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise InputError(f"{place}: {key!r} {_found(value)}, expected a list of texts. Correct that record.")
    return tuple(value)


def _text(record: Fields, key: str, place: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{place}: {key!r} {_found(value)}, expected a text. Correct that record.")
    return checked_text(value, place)


def _subject(record: Fields) -> str:
    return str(record.get("subject") or record.get("target") or "")


def _found(value: Any) -> str:
    return "is missing" if value is None else f"is {shown(value)}"
