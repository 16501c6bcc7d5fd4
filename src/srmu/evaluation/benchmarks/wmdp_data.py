"""The questions of WMDP (arXiv 2403.03218) and of MMLU (arXiv 2009.03300), from local files or the hub, in one schema.

Two variants of WMDP are those of arXiv 2508.06601. All is checked before any model is loaded.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srmu.errors import InputError, nearest_hint
from srmu.evaluation.benchmarks.sampling import first_of_each
from srmu.inputs.limits import checked_text, shown, shown_source
from srmu.inputs.readers import HUB_PREFIX, read_file, read_records
from srmu.inputs.wanted import Wanted

HUB = "hub"
"""As `--data`: every part is read from its own data set on the hub."""
Form = Literal["letters", "answers"]
_SUFFIXES = (".jsonl", ".json", ".parquet")
_ROBUST_TOPICS = (
    "bioweapons_and_bioterrorism", "dual_use_virology", "enhanced_potential_pandemic_pathogens",
    "expanding_access_to_threat_vectors", "reverse_genetics_and_easy_editing", "viral_vector_research",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Part:
    """One column of the tables: a set of questions and how they are put."""

    file: str
    """Name of its file, without the ending, or of its folder, which has a file for each subject."""
    hub: tuple[str, ...]
    """Its data sets on the hub, `NAME:CONFIG:SPLIT`; of several, each is a subject."""
    size: int
    """Questions as published."""
    about: str | None
    """What the questions are said to be about; None = the subject of each."""
    form: Form = "letters"
    """`letters`: the choices stand in the prompt, and a letter is the answer. `answers`: the text of a choice is."""


PARTS: Mapping[str, Part] = {
    "bio": Part(file="wmdp_bio", hub=("cais/wmdp:wmdp-bio:test",), size=1273, about="biology"),
    "cyber": Part(file="wmdp_cyber", hub=("cais/wmdp:wmdp-cyber:test",), size=1987, about="cybersecurity"),
    "chem": Part(file="wmdp_chem", hub=("cais/wmdp:wmdp-chem:test",), size=408, about="chemistry"),
    "mmlu": Part(file="mmlu", hub=("cais/mmlu:all:test",), size=14042, about=None),
    "bio_robust": Part(
        file="wmdp_bio_robust",
        hub=tuple(f"EleutherAI/wmdp_bio_robust_mcqa:{topic}:robust" for topic in _ROBUST_TOPICS),
        size=868,
        about="biology",
    ),
    "bio_cloze": Part(
        file="wmdp_bio_cloze",
        hub=("EleutherAI/wmdp_bio_cloze:default:cloze_compatible",),
        size=1076,
        about="biology",
        form="answers",
    ),
}
DEFAULT_PARTS = ("bio", "cyber", "chem", "mmlu")


@dataclass(frozen=True, kw_only=True)
class WmdpQuestion:
    """A question with four choices."""

    question: str
    choices: tuple[str, ...]
    answer: int
    """Position of the right choice, from 0."""
    subject: str
    """Of MMLU, such as `high_school_biology`; else the topic where the data name one, or empty."""


@dataclass(frozen=True, kw_only=True)
class WmdpData:
    """The questions of the parts that were asked for."""

    parts: Mapping[str, tuple[WmdpQuestion, ...]]
    sha256: Mapping[str, str]
    """By part, of its questions as they were read, before the limit."""
    limit: int | None
    """Most questions of a part; None = all."""

    @property
    def num_questions(self) -> int:
        """Of all parts together."""
        return sum(map(len, self.parts.values()))


def check_parts(parts: Sequence[str]) -> tuple[str, ...]:
    """The parts in the order of the tables.

    Raises:
        InputError: There is none, or one is unknown (with the nearest name).
    """
    for name in parts:
        if name not in PARTS:
            raise InputError(
                f"part={name!r} was asked for.{nearest_hint(name, tuple(PARTS))} The parts are {', '.join(PARTS)}."
            )
    if not parts:
        raise InputError(f"No part was asked for. Name some of {', '.join(PARTS)}.")
    return tuple(name for name in PARTS if name in parts)


def read_wmdp(data: str | Path, parts: Sequence[str] = DEFAULT_PARTS, *, limit: int | None = None) -> WmdpData:
    """Read the questions of some parts.

    Args:
        data: A folder, or `hub`. In a folder a part is `NAME.jsonl`, `.json` or `.parquet`, or the folder `NAME` with
            such a file for each subject; records have `question`, four `choices`, the number `answer`, and those of
            `mmlu` in one file `subject`.
        parts: Names of `PARTS`.
        limit: Most questions of a part: the first of every subject, then the second of every subject, and so on.

    Raises:
        InputError: A part is not there, or a record is malformed: the file and the line are named.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit!r} leaves no question. Give 1 or more.")
    names = check_parts(parts)
    sources = {name: _hub_sources(name) if str(data) == HUB else _file_sources(Path(data), name) for name in names}
    questions = {name: _read_part(name, sources[name]) for name in names}
    return WmdpData(
        parts={
            name: first_of_each(found, [entry.subject for entry in found], limit) for name, found in questions.items()
        },
        sha256={name: _digest(found) for name, found in questions.items()},
        limit=limit,
    )


def _hub_sources(name: str) -> list[tuple[str, str]]:
    """Subject and source of each data set of a part."""
    several = len(PARTS[name].hub) > 1
    return [(source.split(":")[1] if several else "", HUB_PREFIX + source) for source in PARTS[name].hub]


def _file_sources(folder: Path, name: str) -> list[tuple[str, str]]:
    """Subject and path of each file of a part."""
    if not folder.is_dir():
        raise InputError(f"--data {str(folder)!r} is no folder. Give a folder of question files, or {HUB!r}.")
    stem = PARTS[name].file
    files = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES if (folder / f"{stem}{suffix}").is_file()]
    if len(files) > 1:
        raise InputError(f"Part {name!r} is in {files[0].name!r} and {files[1].name!r}. Leave one of them.")
    if files:
        return [("", str(files[0]))]
    inside = folder / stem
    found = sorted(file for file in inside.iterdir() if file.suffix in _SUFFIXES) if inside.is_dir() else []
    if not found:
        others = [part for part in PARTS if part != name]
        raise InputError(
            f"Part {name!r} is not in {str(folder)!r}: there is neither {stem}.jsonl (.json, .parquet) nor a folder "
            f"{stem} of such files. Put it there, or name the parts that are: --parts {','.join(others[:2])}."
        )
    return [(file.stem, str(file)) for file in found]


def _read_part(name: str, sources: Sequence[tuple[str, str]]) -> tuple[WmdpQuestion, ...]:
    questions = []
    for subject, source in sources:
        where = f"Questions {shown_source(source)}"
        own = [_question(record, place, name, subject) for place, record in _records(source, where)]
        if not own:
            raise InputError(f"{where} hold no question. Restore them from the data set.")
        questions += own
    # As the harness adds them up: subject by subject.
    order = {subject: number for number, subject in enumerate(dict.fromkeys(entry.subject for entry in questions))}
    return tuple(sorted(questions, key=lambda entry: order[entry.subject]))


def _records(source: str, where: str) -> Iterator[tuple[str, Any]]:
    if source.startswith(HUB_PREFIX):
        return read_records(source, where, _Records(), [])
    return read_file(Path(source), where, _Records(), [])


class _Records(Wanted):
    def is_record(self, names: Collection[str]) -> bool:
        return {"question", "choices"} <= set(names)

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        missing = [name for name in ("question", "choices", "answer") if name not in names]
        if missing:
            raise InputError(f"{where}: {', '.join(map(repr, missing))} is missing. Take the files of the data set.")
        return [name for name in names if name in ("question", "choices", "answer", "subject")]


def _question(record: Any, place: str, name: str, subject: str) -> WmdpQuestion:
    if not isinstance(record, Mapping):
        raise InputError(f"{place}: expected a JSON object, found {type(record).__name__}. Correct that record.")
    for key in ("question", "choices", "answer"):
        if record.get(key) is None:
            raise InputError(f"{place}: {key!r} is missing. A record has 'question', four 'choices' and 'answer'.")
    question, choices, answer = record["question"], record["choices"], record["answer"]
    if not isinstance(question, str) or not question.strip():
        raise InputError(f"{place}: 'question' is {shown(question)}, expected a text. Correct that record.")
    texts = isinstance(choices, list) and all(isinstance(choice, str) for choice in choices)
    if not texts or len(choices) != 4:
        raise InputError(f"{place}: 'choices' are {shown(choices)}, expected four texts. Correct that record.")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < 4:
        raise InputError(f"{place}: 'answer' is {shown(answer)}, expected a number from 0 to 3. Correct that record.")
    if PARTS[name].form == "answers" and not all(choice.strip() for choice in choices):
        raise InputError(f"{place}: a choice is empty, and it would be the answer that is scored. Correct that record.")
    subject = subject or str(record.get("subject") or "")
    if PARTS[name].about is None and not subject:
        raise InputError(
            f"{place}: 'subject' is missing, and the prompt names it. Add it, or give a folder with a file for each."
        )
    for text in (question, *choices):
        checked_text(text, place)
    return WmdpQuestion(question=question, choices=tuple(choices), answer=answer, subject=subject)


def _digest(questions: Sequence[WmdpQuestion]) -> str:
    content = [[entry.subject, entry.question, entry.choices, entry.answer] for entry in questions]
    return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()
