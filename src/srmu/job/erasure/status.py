"""Where every erasure request of a folder stands, and whether log, records, pages and results are as written."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from srmu.job.erasure.folder import Folder, read_requests
from srmu.job.erasure.work import last_checks, unfinished_run
from srmu.results.erasure.log import Log, entries_of, find_hash, read_log
from srmu.results.erasure.records import PASSED, Checked, ErasureRequest, Outcome, RequestCheck, Written
from srmu.results.run_files import MANIFEST_FILE
from srmu.runtime.files import file_sha256

State = Literal["waits for approval", "waits", "begun", "carried out", "failed", "closed"]


@dataclass(frozen=True, kw_only=True)
class RequestLine:
    """Where one request stands.

    Attributes:
        id: Its name.
        received: Date.
        due: Date.
        days_left: Until it is due, negative where that is past; of a closed request as of that day.
        state: `failed` was carried out, and its last check says that it is not forgotten.
        run: The last run that it was checked on.
        outcome: Of that check.
        came_back: Whether it had passed an earlier check and fails the last one.
        closed_by: Who signed it.
    """

    id: str
    received: str
    due: str
    days_left: int
    state: State
    run: str | None = None
    outcome: Outcome | None = None
    came_back: bool = False
    closed_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class FolderStatus:
    """Where a folder of requests stands.

    Attributes:
        requests: By name.
        entries: Entries of the log.
        head: Hash of the last one; keep it elsewhere.
        problems: What is not as it was written; empty = all of it is.
        unfinished: A run that was interrupted.
    """

    requests: tuple[RequestLine, ...]
    entries: int
    head: str
    problems: tuple[str, ...]
    unfinished: str | None = None

    @property
    def late(self) -> list[str]:
        """Ids of open requests that are past due."""
        return [line.id for line in self.requests if line.state != "closed" and line.days_left < 0]


def request_status(
    folder: str | Path, *, contains: str | None = None, today: datetime.date | None = None
) -> FolderStatus:
    """Show where every request stands, and verify what was written.

    Args:
        folder: Folder of requests.
        contains: A hash of the log that was kept elsewhere, or its first digits; a log without it is another one.
        today: None = the date in UTC.

    Raises:
        InputError: It is no such folder, or one of its records is not readable.
    """
    place = Folder(folder)
    place.check()
    requests, log = read_requests(place), read_log(place.log)
    day = today or datetime.datetime.now(datetime.UTC).date()
    problems = [f"log.jsonl, {damage}" for damage in log.damage]
    if contains and find_hash(log, contains) is None:
        problems.append(f"log.jsonl has no entry with the hash {contains[:70]!r}: entries were removed or rewritten")
    problems += _changed_records(place, log, requests) + _changed_results(place, log)
    unfinished = unfinished_run(log)
    return FolderStatus(
        requests=tuple(_line(request, log, day) for request in requests.values()),
        entries=len(log.entries),
        head=log.head,
        problems=tuple(problems),
        unfinished=unfinished.run if unfinished else None,
    )


def _line(request: ErasureRequest, log: Log, day: datetime.date) -> RequestLine:
    check = last_checks(log).get(request.id)
    runs: list[Checked] = [each for each in entries_of(log, "checked") if _find(each, request.id)]
    passed = [_find(each, request.id).outcome in PASSED for each in runs]  # type: ignore[union-attr]
    signed = next((entry for entry in log.entries if entry.closed and entry.closed.request == request.id), None)
    unfinished = unfinished_run(log)
    if signed is not None:
        day = datetime.datetime.fromisoformat(signed.time).date()
    state: State = "waits" if request.approved_by.strip() else "waits for approval"
    if check is not None:
        state = "carried out" if passed[-1] else "failed"
    elif unfinished is not None and request.id in unfinished.roles:
        state = "begun"
    return RequestLine(
        id=request.id,
        received=request.received,
        due=request.due,
        days_left=(datetime.date.fromisoformat(request.due) - day).days,
        state="closed" if signed else state,
        run=runs[-1].run if runs else None,
        outcome=check.outcome if check else None,
        came_back=bool(passed) and not passed[-1] and any(passed),
        closed_by=signed.closed.by if signed and signed.closed else None,
    )


def _find(checked: Checked, name: str) -> RequestCheck | None:
    return next((check for check in checked.checks if check.request == name), None)


def _changed_records(folder: Folder, log: Log, requests: Mapping[str, ErasureRequest]) -> list[str]:
    """Requests whose files are gone, or changed after they were carried out; before, approval may be written in."""
    problems = [
        f"requests/{each.request}.yaml is gone, and the log has it"
        for each in entries_of(log, "received")
        if each.request not in requests
    ]
    used = {
        name: began.records[name]
        for began in entries_of(log, "began")
        for name, role in began.roles.items()
        if role != "earlier"
    }
    return problems + [
        f"requests/{name}.yaml changed after the request was carried out"
        for name, digest in used.items()
        if name in requests and file_sha256(folder.records / f"{name}.yaml") != digest
    ]


def _changed_results(folder: Folder, log: Log) -> list[str]:
    """Pages and manifests that are gone or changed."""
    pages: dict[str, Written] = {each.run: each for each in entries_of(log, "written")}
    wanted = {folder.pages / name: digest for each in pages.values() for name, digest in each.files.items()}
    runs: list[Checked] = entries_of(log, "checked")  # type: ignore[assignment]
    wanted |= {folder.runs / each.run / MANIFEST_FILE: each.manifest_sha256 for each in runs}
    # The results before the last one are not needed any more, and take room.
    may_be_gone = {folder.runs / each.run / MANIFEST_FILE for each in runs[:-1]}
    problems = []
    for file, digest in wanted.items():
        name = str(file.relative_to(folder.path))
        if file in may_be_gone and not file.exists():
            continue
        if not file.is_file():
            problems.append(f"{name} is gone")
        elif file_sha256(file) != digest:
            problems.append(f"{name} is not as it was written")
    return problems
