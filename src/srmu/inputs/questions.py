"""Multiple-choice questions from files and hub data sets (docs/how-to/formats.md).

Records are read in the forms of the field's data sets (`question_forms.py`); how their answers are given, as a letter,
a text or a number, is decided for the file as a whole (`right_answers.py`).
"""

import dataclasses
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srmu.errors import InputError
from srmu.inputs.harness_tasks import TASK_PREFIX, read_task
from srmu.inputs.limits import checked_text, shown_source
from srmu.inputs.question_forms import QuestionRecords, RawQuestion
from srmu.inputs.readers import HUB_PREFIX, SUFFIXES, read_records
from srmu.inputs.right_answers import resolve_answers
from srmu.runtime.stable_order import stable_rank


@dataclass(frozen=True, kw_only=True)
class Question:
    """One multiple-choice question.

    The continuation that is scored for a choice is a space followed by the choice.
    """

    prompt: str
    """Text before the answer, without a trailing space."""
    choices: tuple[str, ...]
    """Texts of the choices, all different."""
    answer: int
    """Position of the right answer in `choices`, from 0."""
    fact: str = ""
    """Key of the fact that the question is about, `relation:subject`; empty if unknown."""
    also_right: tuple[int, ...] = ()
    """Positions of further right answers, where there are several."""
    machine_made: bool = False
    """Whether srmu made it from texts, with the help of a model."""


@dataclass(frozen=True)
class QuestionFile:
    """What was read from one source.

    Attributes:
        questions: In the order of the file.
        read_as: How they were read, for people: "read as ARC, 120 records, answers as letters".
        num_dropped: Questions that were left out because two of their choices are the same, or one is empty.
    """

    questions: tuple[Question, ...]
    read_as: str
    num_dropped: int


def place_answer(answer: str, wrong: Sequence[str], *key: object) -> tuple[tuple[str, ...], int]:
    """The choices with the right one at a place that the key fixes, and that place."""
    place = int(stable_rank(*key), 16) % (len(wrong) + 1)
    return (*wrong[:place], answer, *wrong[place:]), place


def question_line(question: Question) -> str:
    """A question as a line of JSON, which `read_questions` reads."""
    fields = dataclasses.asdict(question)
    if not question.machine_made:
        del fields["machine_made"]
    return json.dumps({"question": fields.pop("prompt"), **fields}, ensure_ascii=False) + "\n"


def read_questions(source: str | Path) -> list[Question]:
    """The questions of a file, as `read_question_file` reads them; warns of those that were left out.

    Raises:
        InputError: See `read_question_file`.
    """
    found = read_question_file(source)
    if found.num_dropped:
        warnings.warn(
            f"Question file {shown_source(str(source))}: {found.num_dropped} of "
            f"{found.num_dropped + len(found.questions)} questions were left out, because two of their choices are the "
            "same or one is empty. Correct them to use them.",
            stacklevel=2,
        )
    return list(found.questions)


def read_question_file(source: str | Path) -> QuestionFile:
    """Read questions from JSON lines, JSON, CSV, TSV or Parquet, packed or not, or from a hub data set or a task.

    A hub data set is written `hub:NAME[:CONFIG[:SPLIT]]` and read at its split `test` where none is named; a task of
    lm-evaluation-harness is written `task:NAME`, where the name may be that of its YAML file.

    Args:
        source: The path or the name.

    Raises:
        InputError: Naming the file and the line: a missing or empty file, a malformed record, fewer than two choices,
            an answer that is none of the choices, or one that could mean two of them.
    """
    source = str(source)
    where = f"Question file {shown_source(source)}"
    raw = read_task(source.removeprefix(TASK_PREFIX)) if source.startswith(TASK_PREFIX) else _read_raw(source, where)
    if not raw:
        raise InputError(f"{where} holds no question. Give one JSON object a line.")
    whole = [question for question in raw if _is_askable(question)]
    if not whole:
        raise InputError(
            f"{where} holds no question that can be used: in all {len(raw)}, two choices are the same or one is "
            "empty. Give choices that differ."
        )
    answers, given_as = resolve_answers(whole, where)
    forms = Counter(question.form for question in whole)
    read_as = "; ".join(f"{form}, {count:,} record{'s' * (count != 1)}" for form, count in forms.items())
    return QuestionFile(
        tuple(_question(question, right) for question, right in zip(whole, answers, strict=True)),
        f"read as {read_as}, answers as {given_as}",
        len(raw) - len(whole),
    )


def _read_raw(source: str, where: str) -> list[RawQuestion]:
    if source.startswith(HUB_PREFIX) and source.count(":") == 1:
        source += "::test"
    _check_file(source, where)
    wanted = QuestionRecords()
    return [wanted.read(record, place) for place, record in read_records(source, where, wanted, [])]


def _check_file(source: str, where: str) -> None:
    """Refuse what is not a file, or a file of a kind that holds no records."""
    if source.startswith(HUB_PREFIX):
        return
    path = Path(source).expanduser()
    try:
        is_file, exists = path.is_file(), path.exists()
    except (OSError, ValueError):
        is_file = exists = False
    if not exists:
        raise InputError(
            f"{where} does not exist. Check the path; a hub data set is written {HUB_PREFIX}NAME, a "
            f"task of lm-evaluation-harness {TASK_PREFIX}NAME."
        )
    if not is_file:
        raise InputError(f"{where} cannot be read: it is a folder or a device. Give a file.")
    if not source.lower().endswith(SUFFIXES) or source.lower().endswith((".txt", ".md")):
        raise InputError(f"{where}: unknown kind of file {path.suffix!r}. Give .jsonl, .json, .csv, .tsv or .parquet.")


def _is_askable(question: RawQuestion) -> bool:
    return len(set(question.choices)) == len(question.choices) and all(choice.strip() for choice in question.choices)


def _question(raw: RawQuestion, right: tuple[int, ...]) -> Question:
    for text in (raw.prompt, *raw.choices):
        checked_text(text, raw.place)
    return Question(
        prompt=raw.prompt, choices=raw.choices, answer=right[0], fact=raw.fact, also_right=tuple(right[1:]),
        machine_made=raw.machine_made,
    )  # fmt: skip
