"""Sign erasure requests off."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srmu.errors import InputError, nearest_hint
from srmu.export.manifest import now
from srmu.job.erasure.folder import Folder
from srmu.job.erasure.pages import write_pages
from srmu.job.erasure.work import last_checks
from srmu.results.erasure.log import append, entries_of, read_whole_log
from srmu.results.erasure.records import PASSED, Closed
from srmu.runtime.files import readable_errors


@dataclass(frozen=True)
class ClosedRequests:
    """Requests that were signed off.

    Attributes:
        closed: One for each, as the log has it.
        pages: The pages that say so now.
        head: Hash of the log's last entry; keep it elsewhere.
    """

    closed: tuple[Closed, ...]
    pages: tuple[Path, ...]
    head: str


def close_requests(
    folder: str | Path, ids: Sequence[str], *, by: str, note: str = "", anyway: bool = False
) -> ClosedRequests:
    """Sign requests off: who, when, on which check.

    Args:
        folder: Folder of requests.
        ids: Requests that were carried out.
        by: Who signs.
        note: What who signs has to say.
        anyway: Sign although the last check failed; that needs a note.

    Raises:
        InputError: A request is unknown, closed already, was not carried out, or its last check failed; or the log is
            damaged. Then none is closed.
    """
    place = Folder(folder)
    place.check()
    by, note = " ".join(by.split()), " ".join(note.split())
    if not by:
        raise InputError("Nobody was named who signs. Give --by NAME.")
    log = read_whole_log(place.log)
    known = [each.request for each in entries_of(log, "received")]
    runs = {check.request: checked.run for checked in entries_of(log, "checked") for check in checked.checks}
    checks, closed = last_checks(log), {each.request for each in entries_of(log, "closed")}
    records = []
    for name in dict.fromkeys(ids):
        if name not in known:
            raise InputError(f"There is no request {name!r}.{nearest_hint(name, known)}")
        if name in closed:
            raise InputError(f"Request {name!r} is closed already.")
        if name not in checks:
            raise InputError(f"Request {name!r} was not carried out. Do that with srmu request run {place.path}.")
        outcome = checks[name].outcome
        if outcome not in PASSED and not (anyway and note):
            raise InputError(
                f"The last check of request {name!r} says {outcome!r}. Carry it out again with srmu request run "
                "--again (or sign it with --anyway and say why with --note)."
            )
        records.append(Closed(request=name, by=by, run=runs[name], outcome=outcome, note=note))
    if not records:
        raise InputError("No request was named. Give their ids.")
    pages: list[Path] = []
    with readable_errors(place.path):
        for record in records:
            append(place.log, record, now())
        for run in dict.fromkeys(record.run for record in records):
            pages += write_pages(place, run)
    return ClosedRequests(tuple(records), tuple(pages), read_whole_log(place.log).head)
