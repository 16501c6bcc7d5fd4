"""TOFU's questions (arXiv 2401.06121) from a folder of JSONL files, checked whole before any model is loaded."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srmu.errors import InputError, nearest_hint
from srmu.inputs.jsonl import parse_object
from srmu.runtime.files import file_sha256
from srmu.runtime.regular import read_regular

Split = Literal["forget01", "forget05", "forget10"]
SetName = Literal["forget", "retain", "real_authors", "world_facts"]
SET_NAMES: tuple[SetName, ...] = typing.get_args(SetName)
FULL_SIZES: Mapping[str, int] = {
    "forget01": 40, "forget05": 200, "forget10": 400, "retain": 400, "real_authors": 100, "world_facts": 117,
}  # fmt: skip
"""Questions of each file as published."""
RETRAINED_ON: Mapping[str, str] = {"forget01": "retain99", "forget05": "retain95", "forget10": "retain90"}
"""The part of the data that a gold standard of each split was trained on."""


@dataclass(frozen=True, kw_only=True)
class TofuQuestion:
    """A question and what may be answered."""

    question: str
    answer: str
    """The answer of the data, which probability and ROUGE are of."""
    right: str
    """What the truth ratio takes as true: the paraphrased answer, or `answer` where the data have none."""
    wrong: tuple[str, ...]
    """Perturbed answers; equally many in all of a set."""
    paraphrase: str = ""
    """The question in other words; empty where the data have none."""


@dataclass(frozen=True, kw_only=True)
class TofuData:
    """The four sets of one split."""

    split: str
    sets: Mapping[SetName, tuple[TofuQuestion, ...]]
    sha256: Mapping[SetName, str]
    """Of the files."""
    limit: int | None
    """Most questions of a set; None = all that the files hold."""

    @property
    def num_questions(self) -> int:
        """Of all sets together."""
        return sum(map(len, self.sets.values()))

    @property
    def is_complete(self) -> bool:
        """Whether every set has as many questions as were published."""
        return all(len(questions) == full_size(self.split, name) for name, questions in self.sets.items())


def full_size(split: str, name: SetName) -> int:
    """Questions that a set has as published."""
    return FULL_SIZES[split if name == "forget" else name]


def file_names(split: str) -> dict[SetName, str]:
    """The file of each set."""
    return {name: f"{split if name == 'forget' else name}_perturbed.jsonl" for name in SET_NAMES}


def check_split(split: str) -> None:
    """Refuse a name that is no split.

    Raises:
        InputError: With the nearest name.
    """
    known = typing.get_args(Split)
    if split not in known:
        raise InputError(
            f"split={split!r} was asked for.{nearest_hint(split, known)} TOFU's splits are {', '.join(known)}."
        )


def read_tofu(folder: str | Path, split: str, *, limit: int | None = None) -> TofuData:
    """Read the four sets that a split is judged on.

    Args:
        folder: With `forgetNN_perturbed.jsonl`, `retain_perturbed.jsonl`, `real_authors_perturbed.jsonl` and
            `world_facts_perturbed.jsonl`.
        split: `forget01`, `forget05` or `forget10`.
        limit: Most questions of a set, from its beginning.

    Raises:
        InputError: A file is missing, a record lacks something (file, line and key are named), or forgotten questions
            are among the retained ones.
    """
    check_split(split)
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit!r} leaves no question. Give 1 or more.")
    folder = Path(folder)
    paths = {name: folder / file for name, file in file_names(split).items()}
    if missing := [path.name for path in paths.values() if not path.is_file()]:
        raise InputError(
            f"TOFU's {split} needs {', '.join(missing)} in {str(folder)!r}, and there is no such file. "
            "Give the folder of the data set's JSONL files with --data."
        )
    sets = {name: _read_set(path, name) for name, path in paths.items()}
    retained = {question.question for question in sets["retain"]}
    if both := [question.question for question in sets["forget"] if question.question in retained]:
        raise InputError(
            f"{len(both)} questions of {paths['forget'].name} are in {paths['retain'].name} too, such as "
            f"{both[0][:80]!r}. Take both files from one copy of the data set."
        )
    return TofuData(
        split=split,
        sets={name: questions[:limit] for name, questions in sets.items()},
        sha256={name: file_sha256(path) for name, path in paths.items()},
        limit=limit,
    )


def _read_set(path: Path, name: SetName) -> tuple[TofuQuestion, ...]:
    try:
        lines = read_regular(path).decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"{str(path)!r} cannot be read: {reason}. Give TOFU's JSONL files.") from None
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not numbered:
        raise InputError(f"{str(path)!r} holds no question. Restore it from the data set.")
    questions = tuple(_parse(line, f"{str(path)!r}, line {number}", name) for number, line in numbered)
    for (number, _), question in zip(numbered, questions, strict=True):
        if len(question.wrong) != len(questions[0].wrong):
            raise InputError(
                f"{str(path)!r}, line {number}: {len(question.wrong)} perturbed answers, and the first question has "
                f"{len(questions[0].wrong)}. Restore the file from the data set."
            )
    return questions


def _parse(line: str, place: str, name: SetName) -> TofuQuestion:
    record = parse_object(line, place)
    # Real authors and world facts have no paraphrase.
    right_key = "paraphrased_answer" if name in ("forget", "retain") else "answer"
    texts = {key: _text(record.get(key), f"{place}: {key!r}") for key in ("question", "answer", right_key)}
    wrong = record.get("perturbed_answer")
    if not isinstance(wrong, list) or not wrong:
        found = "is missing" if wrong is None else f"is {str(wrong)[:60]!r}"
        raise InputError(
            f"{place}: 'perturbed_answer' {found}, and the truth ratio needs a list of wrong answers. Correct it."
        )
    paraphrase = record.get("paraphrased_question")
    return TofuQuestion(
        paraphrase=_text(paraphrase, f"{place}: 'paraphrased_question'") if name == "forget" else "",
        question=texts["question"],
        answer=texts["answer"],
        right=texts[right_key],
        wrong=tuple(_text(text, f"{place}: 'perturbed_answer' {number}") for number, text in enumerate(wrong, 1)),
    )


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        found = "is missing" if value is None else f"is {str(value)[:60]!r}"
        raise InputError(f"{place} {found}, expected a text. Correct that line.")
    return value
