"""Make the record of a new erasure request."""

import calendar
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srmu.errors import InputError
from srmu.export.manifest import now
from srmu.inputs.corpora import read_corpus
from srmu.inputs.questions import read_question_file
from srmu.job.erasure.folder import Folder, check_new, parse_date, read_requests, write_request
from srmu.results.erasure.log import append, read_whole_log
from srmu.results.erasure.records import ErasureRequest, HashedFile, Received
from srmu.runtime.files import copy_file, file_sha256, readable_errors


@dataclass(frozen=True)
class NewRequest:
    """A request that was made.

    Attributes:
        request: Its record.
        file: Its YAML file.
        same_subject: Ids of earlier requests of the same subject.
    """

    request: ErasureRequest
    file: Path
    same_subject: tuple[str, ...]


def new_request(
    folder: str | Path,
    *,
    subject: str,
    texts: Sequence[str | Path],
    ground: str,
    id: str | None = None,
    received: str | None = None,
    due: str | None = None,
    approved_by: str = "",
    questions: str | Path | None = None,
    retain: Sequence[str] = (),
    at_most: float | None = None,
    copy: bool = False,
) -> NewRequest:
    """Write down a request to erase texts, and begin its log.

    Args:
        folder: Folder of requests; made where it is missing, with settings to be filled in.
        subject: Who asks; only a keyed hash of it is stored.
        texts: Files to forget; stored by path and SHA-256.
        ground: Legal ground, such as "GDPR Art. 17(1)(b), consent withdrawn".
        id: Name of the request; none = year and number, as 2026-001. It is shown everywhere, so let it name nobody.
        received: Date as 2026-11-26; none = today.
        due: Date; none = a month later (GDPR Art. 12(3)).
        approved_by: Who approved it; a request without waits, and may be approved in its YAML file.
        questions: File of multiple-choice questions on what is to be forgotten.
        retain: Texts to keep beside it, as for `srmu unlearn --retain`.
        at_most: Accuracy on the questions that may remain; none = what guessing gives.
        copy: Copy texts and questions into the folder, under names that say nothing.

    Raises:
        InputError: Something is missing, unreadable or out of range; nothing has been written of the request.
    """
    place = Folder(folder)
    for path in texts:
        if not Path(path).is_file():
            raise InputError(f"Texts {str(path)!r} are no file. A request names its texts file by file.")
        read_corpus([str(path)], role="forget")
    if questions is not None:
        read_question_file(questions)
    day = parse_date(received, "--received") if received else datetime.datetime.now(datetime.UTC).date()
    until = parse_date(due, "--due") if due else a_month_after(day)
    place.make()
    requests = read_requests(place)
    read_whole_log(place.log)
    name = id or _next_id(day.year, list(requests))
    hashed = place.subject(subject)
    record = ErasureRequest(
        id=name,
        subject=hashed,
        ground=" ".join(ground.split()),
        received=day.isoformat(),
        due=until.isoformat(),
        approved_by=" ".join(approved_by.split()),
        texts=tuple(_file(place, Path(path), f"{name}-{number}", copy) for number, path in enumerate(texts, 1)),
        questions=None if questions is None else _file(place, Path(questions), f"{name}-questions", copy),
        retain=tuple(_source(place, source) for source in retain),
        at_most=at_most,
    )
    check_new(place, record)
    if copy:
        _copy(place, [*texts, *([] if questions is None else [questions])], record)
    file = write_request(place, record)
    append(place.log, received_record(record, file), now())
    same = tuple(each.id for each in requests.values() if each.subject == hashed)
    return NewRequest(record, file, same)


def received_record(request: ErasureRequest, file: Path) -> Received:
    """What the log says of a request when it first sees it."""
    return Received(
        request=request.id,
        subject=request.subject,
        ground=request.ground,
        received=request.received,
        due=request.due,
        approved_by=request.approved_by,
        texts=tuple(each.sha256 for each in request.texts),
        questions=request.questions.sha256 if request.questions else None,
        record_sha256=file_sha256(file),
    )


def a_month_after(day: datetime.date) -> datetime.date:
    """The same day of the next month, or its last day."""
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return datetime.date(year, month, min(day.day, calendar.monthrange(year, month)[1]))


def _next_id(year: int, known: Sequence[str]) -> str:
    number = 1
    while f"{year}-{number:03}" in known:
        number += 1
    return f"{year}-{number:03}"


def _file(folder: Folder, path: Path, name: str, copy: bool) -> HashedFile:
    """How the record names a file, as it lies there or as its copy will."""
    if not copy:
        return folder.hashed(path)
    return HashedFile(folder.relative(folder.texts / (name + "".join(path.suffixes))), file_sha256(path))


def _copy(folder: Folder, sources: Sequence[str | Path], request: ErasureRequest) -> None:
    files = [*request.texts, *([request.questions] if request.questions else [])]
    with readable_errors(folder.path):
        folder.texts.mkdir(mode=0o700, exist_ok=True)
        for source, each in zip(sources, files, strict=True):
            copy_file(Path(source), folder.resolve(each.path))


def _source(folder: Folder, source: str) -> str:
    """A retain source: a file as the record names it, anything else as it is."""
    return folder.relative(Path(source)) if Path(source).expanduser().exists() else source
